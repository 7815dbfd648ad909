"""What a user gets wrong costs one line with cause and remedy, exit code 2, and nothing in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, RunCli

CONFIG = """\
data: {source: digits}
layers: [{width: 8}, {width: 4}]
pretrain: {epochs: 1}
finetune: {epochs: 1}
tracking: {wandb: disabled}
"""
RNG = np.random.default_rng(0)
ROWS = RNG.random((60, 5), dtype=np.float32)
CLASSES = np.arange(60) % 3
Prepare = Callable[[Path], object]


def config(text: str) -> Prepare:
    return lambda folder: (folder / "x.yaml").write_text(text)


def npz(**arrays: np.ndarray) -> Prepare:
    """A data file `rows.npz`: 60 rows of 5 values in 3 classes, but for what is given."""
    return lambda folder: np.savez(folder / "rows.npz", **({"x": ROWS, "y": CLASSES} | arrays))


def idx(damaged: str, damage: Callable[[bytes], bytes]) -> Prepare:
    """A tiny MNIST of four IDX files, one of them damaged."""

    def write(folder: Path) -> None:
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part in ("train", "t10k"):
            files = {
                f"{part}-images-idx3-ubyte": bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 2])
                + bytes(80),
                f"{part}-labels-idx1-ubyte": bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(range(10)) * 2,
            }
            for name, content in files.items():
                (raw / name).write_bytes(damage(content) if name == damaged else content)

    return write


def with_nan() -> np.ndarray:
    rows = ROWS.copy()
    rows[7, 2] = np.nan
    return rows


def nothing(folder: Path) -> None:
    """The config as it is."""


def a_file(name: str) -> Prepare:
    return lambda folder: (folder / name).write_text("")


# What is prepared beside CONFIG in x.yaml, the words after `stackae`, and what the line must say.
CASES: dict[str, tuple[Prepare, str, list[str]]] = {
    "misspelt command": (nothing, "rnu x.yaml", ["'rnu'", "'run'"]),
    "misspelt option": (nothing, "run x.yaml --stor s", ["--stor", "--store"]),
    "no config": (nothing, "run", ["CONFIG", "run --help"]),
    "option without value": (nothing, "run x.yaml --out", ["--out"]),
    "missing config": (nothing, "run y.yaml", ["y.yaml", "no such file", "give"]),
    "config is a folder": (nothing, "run .", ["folder", "give"]),
    "unknown key": (
        config(CONFIG.replace("width: 8", "widht: 8, width: 8")),
        "run x.yaml",
        ["x.yaml:2:", "layers[0].widht", "did you mean 'width'"],
    ),
    "wrong type": (nothing, "run x.yaml layers.0.width=wide", ["layers.0.width=wide", "'wide'"]),
    "rate above 1": (
        nothing,
        "run x.yaml layers.0.corruption.type=masking layers.0.corruption.rate=1.5",
        ["layers[0].corruption", "rate", "1.5", "below 1"],
    ),
    "width 0": (nothing, "run x.yaml layers.1.width=0", ["layers[1].width", "0", "at least 1"]),
    "no layers": (config("data: {source: digits}\n"), "run x.yaml", ["layers"]),
    "empty layers": (nothing, "run x.yaml layers=[]", ["layers", "at least"]),
    "jobs on several devices": (
        nothing,
        "run x.yaml trainer.devices=2 --jobs 3",
        ["--jobs 3", "trainer.devices: 2", "leave one"],
    ),
    "a curve on several devices": (
        nothing,
        "curve x.yaml --labels 10,20 trainer.devices=2",
        ["trainer.devices: 2", "'stackae curve'", "write trainer.devices=1"],
    ),
    "a ladder on several devices": (
        nothing,
        "run x.yaml trainer.devices=2 finetune.semi_supervised.type=ladder",
        ["finetune.semi_supervised: ladder", "one device", "trainer.devices: 2"],
    ),
    "unknown override": (nothing, "run x.yaml finetune.epocs=3", ["finetune.epocs", "'epochs'"]),
    "override without value": (nothing, "plan x.yaml seed", ["'seed'", "key=value"]),
    "out is a file": (a_file("taken"), "run x.yaml --out taken", ["out 'taken'", "file", "name a folder"]),
    "out below a file": (a_file("taken"), "run x.yaml --out taken/a/b", ["taken/a/b", "file"]),
    "store is a file": (a_file("taken"), "run x.yaml --store taken", ["store 'taken'", "name a folder"]),
    "store to plan is a file": (a_file("taken"), "plan x.yaml --store taken", ["store 'taken'"]),
    "misspelt source": (nothing, "run x.yaml data.source=digitz", ["'digitz'", "'digits'"]),
    "missing data file": (nothing, "run x.yaml data.source=rows.npz", ["rows.npz", "current folder"]),
    "data file is a folder": (nothing, "run x.yaml data.source=.", ["folder '.'", "no images", ".npz"]),
    "missing data folder": (
        nothing,
        "run x.yaml data.source=mnist data.root=nowhere",
        ["data.root", "'nowhere'", "name the folder"],
    ),
    "more labels than rows": (nothing, "run x.yaml data.labels=5000", ["data.labels", "5,000", "fewer"]),
    "fewer labels than classes": (nothing, "run x.yaml data.labels=9", ["data.labels", "9", "at least 10"]),
    "more rows than there are": (nothing, "run x.yaml data.split.val=9000", ["data.split.val", "9,000"]),
    "truncated images": (
        idx("train-images-idx3-ubyte", lambda content: content[:-9]),
        "run x.yaml data.source=mnist data.root=.",
        ["train-images-idx3-ubyte", "truncated", "80 bytes", "71"],
    ),
    "wrong magic": (
        idx("t10k-labels-idx1-ubyte", lambda content: b"PK" + content[2:]),
        "run x.yaml data.source=mnist data.root=.",
        ["t10k-labels-idx1-ubyte", "not an IDX file", "download it again"],
    ),
    "images and labels swapped": (
        idx("train-images-idx3-ubyte", lambda content: bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(20)),
        "run x.yaml data.source=mnist data.root=.",
        ["train-images-idx3-ubyte", "swapped"],
    ),
    "NaN in the data": (
        npz(x=with_nan()),
        "run x.yaml data.source=rows.npz",
        ["rows.npz", "NaN", "row 7", "replace"],
    ),
    "Bernoulli loss on negative data": (
        npz(x=ROWS - 0.5),
        "run x.yaml data.source=rows.npz layers.0.loss=bernoulli",
        ["layers[0].loss", "'bernoulli'", "[0, 1]", "rows.npz", "squared_error"],
    ),
    "Bernoulli loss over relu": (
        nothing,
        "run x.yaml layers.1.loss=bernoulli",
        ["layers[1].loss", "layers[0].activation 'relu'", "sigmoid"],
    ),
    "class without a labelled row": (
        npz(x_test=ROWS, y_test=CLASSES, y=np.where(CLASSES == 2, -1, CLASSES)),
        "run x.yaml data.source=rows.npz",
        ["rows.npz", "'2'", "never occurs in y"],
    ),
    "class that the split leaves without a row": (
        npz(y=np.where(np.arange(60) == 3, 5, CLASSES % 2)),
        "run x.yaml data.source=rows.npz data.split.train=1",
        ["class", "no labelled row", "more training rows"],
    ),
    "no labels to fine-tune on": (
        lambda folder: np.savez(folder / "rows.npz", x=ROWS),
        "run x.yaml data.source=rows.npz",
        ["finetune", "no labels", "finetune: null"],
    ),
    "labels of another number": (
        npz(y=CLASSES[:-1]),
        "run x.yaml data.source=rows.npz",
        ["rows.npz", "60 rows", "one label per row"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_costs_one_line(case: str, tmp_path: Path, cli: Cli) -> None:
    prepare, words, says = CASES[case]
    config(CONFIG)(tmp_path)
    prepare(tmp_path)
    there = set(tmp_path.rglob("*"))

    done = cli(words.split(), tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    missing = [part for part in says if part not in done.stderr]
    assert not missing, f"{missing} not in: {done.stderr}"
    # Nothing is made, so there is nothing that a later run could trust.
    assert set(tmp_path.rglob("*")) == there


def test_every_fault_of_a_config_has_its_line(tmp_path: Path, cli: Cli) -> None:
    config(CONFIG.replace("width: 4", "width: -4").replace("epochs: 1", "epoch: 1"))(tmp_path)

    done = cli(["run", "x.yaml", "seed=first", "data.labels=-1"], tmp_path)

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for part in ("layers[1].width", "pretrain.epoch", "finetune.epoch", "seed", "data.labels"):
        assert sum(part in line for line in lines) == 1, done.stderr


@pytest.mark.parametrize("case", ["misspelt command", "unknown key", "NaN in the data"])
def test_a_process_of_its_own_ends_alike(case: str, tmp_path: Path, cli: Cli, run_cli: RunCli) -> None:
    prepare, words, _ = CASES[case]
    config(CONFIG)(tmp_path)
    prepare(tmp_path)

    done, within = run_cli(words.split(), tmp_path), cli(words.split(), tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (within.returncode, within.stdout, within.stderr)


def test_a_run_after_a_corrected_mistake_goes_well(tmp_path: Path, cli: Cli) -> None:
    config(CONFIG)(tmp_path)
    words = ["run", "x.yaml", "--quiet", "data.source=rows.npz", "data.split.val=9", "report=false"]
    npz(x=with_nan())(tmp_path)
    assert cli(words, tmp_path).returncode == 2

    npz()(tmp_path)

    assert cli(words, tmp_path).returncode == 0
