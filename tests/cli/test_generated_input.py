"""Two hundred generated mistakes, in configs and in data: each costs a line and exit code 2, no traceback.

What the command line does not catch, the fixture `cli` raises here.
"""

from __future__ import annotations

import copy
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)
X = RNG.random((40, 6), dtype=np.float32)
Y = np.arange(40) % 3

DENSE: dict[str, Any] = {
    "name": "a",
    "data": {"source": "rows.npz", "labels": 20, "split": {"val": 0.2, "test": 8}},
    "layers": [
        {"width": 4, "corruption": {"type": "masking", "rate": 0.25}, "penalties": [{"type": "l1"}]},
        {"kind": "sparse", "width": 3, "penalties": [{"type": "kl", "rho": 0.1}], "lr": 0.01},
    ],
    "pretrain": {"epochs": 1, "batch_size": 10},
    "unroll": {"epochs": 1},
    "finetune": {"epochs": 1, "schedule": "one_cycle", "dropout": 0.1},
    "compare": {"scratch": False, "probe": False},
    "trainer": {"accelerator": "cpu", "strategy": "auto", "devices": 1, "precision": "32-true"},
    "report": False,
    "tracking": {"wandb": "disabled"},
}
MIXED: dict[str, Any] = DENSE | {
    "report": True,
    "layers": [
        {"kind": "plain", "unit": "conv", "width": 2, "kernel": 3, "stride": 1, "padding": 1, "pool": 2},
        {"kind": "rbm", "width": 3, "gibbs_steps": 1, "persistent": True},
        {"kind": "variational", "width": 2, "penalties": [{"type": "gaussian_kl", "warmup": 1.0}]},
    ],
    "data": {"source": "rows.npz", "labels": {"per_class": 4}},
    "finetune": None,
}
ODD: list[Any] = [
    *(
        None,
        True,
        "",
        "x",
        "é\u202e\u0000",
        "null",
        "1",
        "../..",
        "~nobody/x",
        "x" * 5000,
        "!!python/name:os.system",
    ),
    *(-1, 0, 1, 7, 10**6, 10**12, 10**30, -(10**30)),
    *(0.5, 1.5, -0.5, 1e308, 1e-320, float("nan"), float("inf"), -float("inf")),
    *([], {}, [[]], [None], {"a": {}}, [1, 2], {"type": "masking", "rate": 2}, {"type": "mix", "parts": []}),
    *(
        {"per_class": 0},
        {"type": "gaussian", "sigma": 1e-300},
        [{"type": "l1"}, {"type": "l1"}],
        "auto",
        "all",
    ),
]
FIELDS = [
    "width",
    "kind",
    "loss",
    "epochs",
    "momentum",
    "k",
    "activation",
    "connectivity",
    "tied",
    "weights",
    "é",
]


def holders(value: Any) -> Iterator[dict[str, Any] | list[Any]]:
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from holders(one)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid config with one to three mistakes in it, if fortune does not make one of them valid."""
    config = copy.deepcopy(draw(st.sampled_from([DENSE, MIXED])))
    for _ in range(draw(st.integers(1, 3))):
        holder = draw(st.sampled_from([one for one in holders(config) if one]))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key: Any = draw(st.sampled_from(keys))
        match draw(st.sampled_from(["replace"] * 4 + ["drop", "rename", "add", "wrap", "twice"])):
            case "replace":
                holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(FIELDS))] = holder.pop(key)
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(FIELDS))] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "wrap":
                holder[key] = draw(st.sampled_from([[holder[key]], {"value": holder[key]}]))
            case "twice" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
    return config


def as_yaml(config: Any) -> str:
    """JSON is YAML, but for what is no number."""
    text = json.dumps(config)
    return re.sub(
        r"(?<=[\[ ])(-?)(NaN|Infinity)(?=[,}\]])", lambda at: at[1] + {"NaN": ".nan"}.get(at[2], ".inf"), text
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `fresh` fills; ../.. of it has nothing that other tests make."""
    made = tmp_path_factory.mktemp("generated") / "in" / "here"
    made.mkdir(parents=True)
    return made


def fresh(folder: Path) -> None:
    """The folder with nothing in it but rows.npz."""
    shutil.rmtree(folder)
    folder.mkdir()
    np.savez(folder / "rows.npz", x=X, y=Y)


def small(config: Any) -> bool:
    """Whether carrying it out is a matter of moments."""
    numbers = [one for one in values(config) if isinstance(one, int | float)]
    return all(abs(number) < 100 for number in numbers)


def values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from values(one)
    else:
        yield value


LINE = re.compile(r"(c\.yaml(:\d+:\d+)?|override ('.*'|\".*\")|[\w\[\].' -]+): .*\S")
NOT_OURS = re.compile(r"Traceback|[a-z]Error\b|site-packages|Input should|object at 0x")


def assert_ends_well(cli: Cli, words: list[str], folder: Path, *, codes: tuple[int, ...] = (0, 2)) -> int:
    done = cli(words, folder)
    assert done.returncode in codes
    if done.returncode:
        assert done.stdout == ""
        for line in done.stderr.splitlines():
            assert LINE.match(line), line
            assert not NOT_OURS.search(line), line
    return done.returncode


@settings(max_examples=70, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(config=mutated())
def test_a_config_with_mistakes(config: dict[str, Any], folder: Path, cli: Cli) -> None:
    fresh(folder)
    (folder / "c.yaml").write_text(as_yaml(config), encoding="utf-8")
    if assert_ends_well(cli, ["plan", "c.yaml"], folder) == 0 and small(config):
        assert_ends_well(cli, ["run", "c.yaml", "--quiet"], folder, codes=(0, 1, 2))


TYPES = ["O", "U3", "S3", "c8", "?", "i1", "u8", "f2", "f8", ">f4", "g", "M8[s]", "m8[s]", "u1,f4", "V4"]


@st.composite
def arrays(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Rows and labels with one to three mistakes."""
    given = {"x": X.copy(), "y": Y.copy()}
    if draw(st.booleans()):
        given |= {"x_test": X[:9].copy(), "y_test": Y[:9].copy()}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(list(given)))
        array = given[name]
        at = draw(st.integers(0, max(array.size - 1, 0)))
        match draw(st.sampled_from(["type", "shape", "value", "constant", "rows", "name", "drop"])):
            case "type":
                kind = np.dtype(draw(st.sampled_from(TYPES)))
                try:
                    given[name] = array.astype(kind)
                except (TypeError, ValueError):
                    given[name] = np.zeros(array.shape, kind)
            case "shape":
                shape = draw(
                    st.sampled_from([(), (0,), (-1,), (1, -1), (-1, 1), (2, -1), (-1, 2, 1, 1), (-1, 1, 1)])
                )
                if shape not in {(), (0,)} and array.size % 2 == 0:
                    given[name] = array.reshape(shape)
                else:
                    given[name] = np.zeros((0, 6)) if shape else np.array(1.0)
            case "value" if array.size and array.dtype.kind in "iufc":
                value = draw(
                    st.sampled_from([np.nan, np.inf, -np.inf, -1, -2, 0.5, 3, 99, 1e39, 1e300, 2**62])
                )
                given[name] = array.astype(float) if draw(st.booleans()) else array
                with np.errstate(all="ignore"):
                    given[name].flat[at] = np.array(value).astype(given[name].dtype)
            case "constant":
                given[name] = np.full_like(array, array.flat[at]) if array.size else array
            case "rows":
                given[name] = array[: draw(st.integers(0, 12))] if array.ndim else array
            case "name":
                given[draw(st.sampled_from(["X", "labels", "x_tst", "é", "a/b", "y_test", "x_test"]))] = (
                    given.pop(name)
                )
            case "drop":
                del given[name]
        if not given:
            break
    return given


WORDS = st.lists(
    st.sampled_from(
        [
            *(
                "data.labels=21",
                "data.labels=2",
                "data.labels=5000",
                "data.labels={per_class: 9}",
                "data.labels=all",
            ),
            *("data.split.val=1", "data.split.val=39", "data.split.val=0.99", "data.split.test=40"),
            *(
                "data.split.test=0.001",
                "data.split.train=1",
                "data.split.train=3",
                "data.split.pool=true",
                "seed=9",
            ),
            *(
                "data.split.val=1000000000000",
                "finetune=null",
                "layers.0.loss=bernoulli",
                "layers.1.loss=bernoulli",
            ),
            *("layers.0.unit=conv", "layers.*.kind=rbm", "layers.1.kind=variational", "layers=[{width: 1}]"),
        ]
    ),
    max_size=2,
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(given=arrays(), words=WORDS)
def test_arrays_with_mistakes(given: dict[str, np.ndarray], words: list[str], folder: Path, cli: Cli) -> None:
    fresh(folder)
    np.savez(folder / "rows.npz", **given)
    carry_out(folder, words, cli)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    at=st.floats(0, 1, exclude_max=True),
    what=st.sampled_from(["truncate", "flip", "zero", "insert", "again"]),
    bit=st.integers(0, 7),
    packed=st.booleans(),
)
def test_a_damaged_file(at: float, what: str, bit: int, packed: bool, folder: Path, cli: Cli) -> None:
    fresh(folder)
    stream = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(stream, x=X, y=Y)
    content = bytearray(stream.getvalue())
    place = int(at * len(content))
    match what:
        case "truncate":
            del content[place:]
        case "flip":
            content[place] ^= 1 << bit
        case "zero":
            content[place : place + 8] = bytes(8)
        case "insert":
            content[place:place] = b"\xff" * (bit + 1)
        case "again":
            content += content[place:]
    (folder / "rows.npz").write_bytes(content)
    carry_out(folder, [], cli)


def carry_out(folder: Path, words: list[str], cli: Cli) -> None:
    """Plans the config DENSE and, where the plan is accepted, runs it."""
    (folder / "c.yaml").write_text(as_yaml(DENSE | {"data": {"source": "rows.npz"}}))
    if assert_ends_well(cli, ["plan", "c.yaml", *words], folder) == 0:
        assert_ends_well(cli, ["run", "c.yaml", "--quiet", *words], folder, codes=(0, 1, 2))


@pytest.mark.parametrize("size", [10**9, 10**12, 10**30])
@pytest.mark.parametrize(
    "setting", ["layers.0.width", "layers.0.padding", "layers.1.width", "layers.2.width"]
)
def test_a_size_beyond_what_torch_counts(setting: str, size: int, folder: Path, cli: Cli) -> None:
    fresh(folder)
    (folder / "c.yaml").write_text(as_yaml(MIXED))
    assert assert_ends_well(cli, ["plan", "c.yaml", f"{setting}={size}"], folder) == 2


@pytest.mark.parametrize("name", ["~nobody/x.npz", "x" * 5000, "a/" * 5000])
@pytest.mark.parametrize("setting", ["data.source", "data.source=mnist data.root"])
def test_a_path_that_the_system_refuses(setting: str, name: str, folder: Path, cli: Cli) -> None:
    fresh(folder)
    (folder / "c.yaml").write_text(as_yaml(DENSE))
    done = cli(["plan", "c.yaml", *f"{setting}={name}".split()], folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_warmup_longer_than_any_run(folder: Path, cli: Cli) -> None:
    fresh(folder)
    (folder / "c.yaml").write_text(as_yaml(DENSE))
    assert_ends_well(cli, ["run", "c.yaml", "--quiet", "pretrain.warmup=1.0e+308"], folder)
