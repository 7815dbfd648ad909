"""Files that mean harm: none of them runs code, none takes all memory, and each is refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, Cli
from safetensors.numpy import load_file, save_file

import stackae
from stackae.errors import ArtifactError
from stackae.store.manifest import MANIFEST, record, render, seal

CONFIG = """\
data: {source: rows.npz}
layers: [{width: 4}, {kind: variational, width: 2}]
pretrain: {epochs: 1}
finetune: {epochs: 1}
compare: {scratch: false}
trainer: {accelerator: cpu, precision: 32-true}
report: false
tracking: {wandb: disabled}
"""
ROWS = np.random.default_rng(0).random((60, 5), dtype=np.float32)
CLASSES = np.arange(60) % 3


class Trap:
    """Leaves a file in the current folder if it is ever unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("sprung", "w")


TRAPS = np.array([Trap()] * 60, dtype=object)


def write_inputs(folder: Path) -> None:
    (folder / "x.yaml").write_text(CONFIG)
    np.savez(folder / "rows.npz", x=ROWS, y=CLASSES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder in which CONFIG was run."""
    folder = tmp_path_factory.mktemp("finished")
    write_inputs(folder)
    assert cli(["run", "x.yaml", "--quiet"], folder).returncode == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, finished: Path) -> Iterator[Path]:
    """A copy of it, in which no trap is sprung."""
    here = tmp_path / "here"
    shutil.copytree(finished, here)
    yield here
    assert not (here / "sprung").exists()


def refused(cli: Cli, words: str, folder: Path) -> str:
    """The one line with which a command is refused."""
    done = cli(words.split(), folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def stage_folder(folder: Path, stage: str) -> Path:
    (found,) = (folder / ".stackae").glob(f"{stage}-*/")
    return found


def as_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Trap()}))


def as_checkpoint(path: Path) -> None:
    torch.save({"state_dict": {}, "loops": {}, "optimizer_states": [], "callbacks": Trap()}, path)


def as_old_checkpoint(path: Path) -> None:
    torch.save({"state_dict": Trap()}, path, _use_new_zipfile_serialization=False)


def as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(Trap()))


def as_objects(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, TRAPS, allow_pickle=True)


HOSTILE = [as_pickle, as_checkpoint, as_old_checkpoint, as_zip, as_objects]
hostile = pytest.mark.parametrize("plant", HOSTILE)


@hostile
def test_the_traps_are_sharp(plant: Callable[[Path], None], tmp_path: Path) -> None:
    """Else no test below could fail."""
    plant(tmp_path / "trap")
    readers: dict[Any, Callable[[Path], object]] = {
        as_pickle: lambda path: pickle.loads(path.read_bytes()),
        as_checkpoint: lambda path: torch.load(path, weights_only=False),
        as_old_checkpoint: lambda path: torch.load(path, weights_only=False),
        as_zip: lambda path: pickle.loads(zipfile.ZipFile(path).read("x/data.pkl")),
        as_objects: lambda path: np.load(path, allow_pickle=True),
    }
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        readers[plant](tmp_path / "trap")
    finally:
        os.chdir(before)
    assert (tmp_path / "sprung").exists()


# ---- in the store


@hostile
def test_a_planted_checkpoint_is_reported_and_not_used(
    plant: Callable[[Path], None], folder: Path, cli: Cli
) -> None:
    stage = stage_folder(folder, "finetune")
    weights = load_file(stage / "weights.safetensors")
    (stage / MANIFEST).unlink()
    plant(stage / "checkpoint.ckpt")

    done = cli(["run", "x.yaml", "--quiet"], folder)

    assert done.returncode == 0
    assert "checkpoint.ckpt is damaged" in done.stderr
    again = load_file(stage / "weights.safetensors")
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", ["data/features-train.npy", "finetune/logits-test.npy"])
@pytest.mark.parametrize("plant", [as_pickle, as_objects])
def test_a_planted_array_in_the_store_is_noticed(
    plant: Callable[[Path], None], name: str, folder: Path, cli: Cli
) -> None:
    stage, _, file = name.partition("/")
    plant(stage_folder(folder, stage) / file)

    done = cli(["run", "x.yaml", "--quiet"], folder)

    assert done.returncode == 0
    assert f"{file} has " in done.stderr or f"{file} does not match" in done.stderr


@pytest.mark.parametrize(
    "name", ["data/labels-test.npy", "data/features-train.npy", "pretrain-1/weights.safetensors"]
)
@pytest.mark.parametrize("plant", [as_pickle, as_objects])
def test_a_forged_manifest_does_not_help(
    plant: Callable[[Path], None], name: str, folder: Path, cli: Cli
) -> None:
    stage, _, file = name.partition("/")
    entry = stage_folder(folder, stage)
    plant(entry / file)
    manifest = json.loads((entry / MANIFEST).read_text())
    manifest["files"][file] = record(entry / file)
    (entry / MANIFEST).write_text(render(seal(manifest)))

    line = refused(cli, "run x.yaml --quiet finetune.epochs=2", folder)

    assert file in line
    assert "run" in line


# ---- as a data source


@pytest.mark.parametrize("array", ["x", "y", "x_test"])
def test_arrays_of_objects_are_no_data(array: str, folder: Path, cli: Cli) -> None:
    arrays = {"x": ROWS, "y": CLASSES, "x_test": ROWS, "y_test": CLASSES, array: TRAPS}
    np.savez(folder / "rows.npz", **arrays)
    assert f"{array} holds Python objects, which are never loaded" in refused(cli, "run x.yaml", folder)


@pytest.mark.parametrize("member", ["x.npy", "x"])
def test_a_pickle_in_an_archive_is_no_data(member: str, folder: Path, cli: Cli) -> None:
    with zipfile.ZipFile(folder / "rows.npz", "w") as archive:
        archive.writestr(member, pickle.dumps(Trap()))
    assert "rows.npz: x is not an array" in refused(cli, "run x.yaml", folder)


@hostile
def test_a_file_that_only_bears_the_name_is_no_data(
    plant: Callable[[Path], None], folder: Path, cli: Cli
) -> None:
    plant(folder / "rows.npz")
    assert "rows.npz" in refused(cli, "run x.yaml", folder)


# ---- as a configuration

TAGS = [
    '!!python/object/apply:builtins.open ["sprung", "w"]',
    '!!python/object/new:builtins.open ["sprung", "w"]',
    "!!python/name:builtins.open",
    "!!python/module:os",
    "!!python/object:stackae.config.Config {}",
    "!!binary c3BydW5n",
    "!open [sprung, w]",
]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("text", ["{tag}", "layers: {tag}", "layers: [{{width: {tag} }}]", "? {tag}\n: 1"])
def test_a_tag_of_yaml_names_no_code(text: str, tag: str, folder: Path, cli: Cli) -> None:
    (folder / "x.yaml").write_text(text.format(tag=tag))
    done = cli(["run", "x.yaml"], folder)
    assert done.returncode == 2
    assert all(line.startswith("x.yaml:") for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_in_an_override_names_no_code(tag: str, folder: Path, cli: Cli) -> None:
    done = cli(["run", "x.yaml", f"name={tag}"], folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "name" in done.stderr


# ---- in a model's folder


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "runs/x/model/config.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def with_layer(**settings: Any) -> Callable[[dict[str, Any]], object]:
    return lambda described: described["layers"][0].update(settings)


def with_inputs(count: int) -> Callable[[dict[str, Any]], object]:
    return lambda d: (d.update(shape=[count]), d["preprocessing"].update(shape=[count]))


DESCRIPTIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no shape": (lambda d: d.pop("shape"), "shape: Field required"),
    "no classes": (lambda d: d.pop("classes"), "classes: Field required"),
    "no scale": (lambda d: d["preprocessing"].pop("scale"), "the preprocessing is damaged"),
    "a preprocessing of another kind": (lambda d: d["preprocessing"].update(type="os"), "is damaged"),
    "no layers": (lambda d: d.update(layers=[]), "layers: Tuple should have at least 1 item"),
    "a layer without width": (lambda d: d["layers"][0].pop("width"), "layers[0].width: Field required"),
    "a layer without loss": (lambda d: d["layers"][0].pop("loss"), "layers[0].loss: missing"),
    "a layer that is none": (lambda d: d.update(layers=["os.system"]), "layers[0]"),
    "a kind that is a module": (with_layer(kind="os.system"), "layers[0].kind"),
    "a loss that is a path": (with_layer(loss="../../loss"), "layers[0].loss"),
    "an activation that is code": (with_layer(activation="__import__('os')"), "layers[0].activation"),
    "a key too many": (with_layer(weights="/etc/passwd"), "layers[0].weights: Extra inputs"),
    "a file to load": (lambda d: d.update(encoder="/etc/passwd"), "encoder: Extra inputs"),
    "another width": (with_layer(width=3), "has not the weights that belong here"),
    "10^12 units": (with_layer(width=10**12), "more than 268,435,456 values"),
    "10^12 inputs": (with_inputs(10**12), "has not the weights that belong here"),
    "two shapes": (lambda d: d.update(shape=[10**12]), "config.json: damaged"),
    "10^12 units and inputs": (
        lambda d: (d.update(shape=[10**12]), with_layer(width=10**12)(d)),
        "config.json: damaged",
    ),
    "more than torch can count": (with_layer(width=10**30), "config.json: damaged"),
    "a padding of 10^9": (
        with_layer(unit="conv", padding=10**9),
        "more than 268,435,456 values",
    ),
    "a kernel that does not fit": (with_layer(unit="conv", kernel=99, padding=0), "does not fit"),
    "a negative shape": (lambda d: d.update(shape=[-5]), "shape[0]"),
    "a shape of nothing": (lambda d: d.update(shape=[]), "shape"),
    "no scale at all": (lambda d: d.update(scale=0.0), "scale"),
    "a scale that is no number": (lambda d: d.update(scale=float("nan")), "scale"),
    "a temperature of nothing": (lambda d: d.update(temperature=0.0), "temperature: Input should be"),
    "a temperature that is no number": (lambda d: d.update(temperature=float("nan")), "temperature"),
    "classes that are objects": (lambda d: d.update(classes=[{"a": 1}]), "classes[0]"),
    "another number of classes": (lambda d: d["classes"].append("x"), "classifier.safetensors: damaged"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_description_that_was_edited_is_refused(case: str, folder: Path, cli: Cli) -> None:
    change, says = DESCRIPTIONS[case]
    rewrite(folder, change)
    line = refused(cli, "sample runs/x -o drawn.npy", folder)
    assert "runs/x/model" in line
    assert says in line
    assert not (folder / "drawn.npy").exists()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"format": ' + b"9" * 9999 + b"}",
        b"\xff\xfe",
        b" " * (17 << 20),
    ],
    ids=["empty", "list", "null", "deep", "long number", "no text", "long"],
)
def test_a_description_that_is_none_is_refused(text: bytes, folder: Path, cli: Cli) -> None:
    (folder / "runs/x/model/config.json").write_bytes(text)
    assert "config.json: damaged" in refused(cli, "sample runs/x -o drawn.npy", folder)


@pytest.mark.parametrize("name", ["encoder", "decoder", "classifier"])
@hostile
def test_weights_are_read_from_safetensors_alone(
    plant: Callable[[Path], None], name: str, folder: Path, cli: Cli
) -> None:
    plant(folder / f"runs/x/model/{name}.safetensors")
    assert f"{name}.safetensors: damaged" in refused(cli, "sample runs/x -o drawn.npy", folder)


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    path = folder / "runs/x/model/decoder.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("bias"))
    tensors[name][1] = np.nan
    save_file(tensors, path)
    with pytest.raises(
        ArtifactError, match=rf"decoder\.safetensors: damaged: '{name}' holds NaN or infinity"
    ):
        stackae.load(folder / "runs/x")


@pytest.mark.parametrize("change", ["a type", "one more", "one fewer"])
def test_other_weights_than_the_models_are_refused(change: str, folder: Path) -> None:
    path = folder / "runs/x/model/encoder.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    if change == "a type":
        tensors[name] = tensors[name].astype(np.float64)
    elif change == "one more":
        tensors["layers.9.weight"] = tensors[name]
    else:
        del tensors[name]
    save_file(tensors, path)
    with pytest.raises(ArtifactError, match=r"encoder\.safetensors: damaged: it has not the weights"):
        stackae.load(folder / "runs/x")


# ---- files that unpack to more than there is memory for

BLOCK = 16 << 20
BLOCKS = 192  # 3 GiB


def npy_header(size: int) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size // 1024}, 1024), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()


def packed_zeros(head: bytes) -> bytes:
    """A deflate stream of `head` and 3 GiB of zeros: one packed block, repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * BLOCKS + packer.flush()


def archive(path: Path, content: bytes, size: int, *, method: int, gap: int = 0) -> None:
    """A zip file with the member `x.npy`; `gap` bytes of it, after `content`, take no room on the disk."""
    name = b"x.npy"
    packed = len(content) + gap
    about = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, 0, packed, size, len(name), 0)
    with path.open("wb") as file:
        file.write(b"PK\x03\x04" + about + name + content)
        file.seek(gap, os.SEEK_CUR)
        at = file.tell()
        directory = (
            b"PK\x01\x02" + struct.pack("<H", 20) + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
        )
        file.write(directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), at, 0))


DRIVER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(3.5 * 2**30),) * 2)
from stackae.cli import main
for words in sys.argv[1].split(","):
    sys.argv = ["stackae", *words.split()]
    try:
        main()
    except SystemExit as end:
        print(end.code)
# Not getrusage, whose figure begins with what the parent took.
status = dict(line.split(":") for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's memory in /proc")
def test_files_that_would_unpack_to_all_memory_are_refused_unread(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    size, bomb = BLOCK * BLOCKS, tmp_path / "bomb.npz"
    head = npy_header(size)
    archive(bomb, packed_zeros(head), len(head) + size, method=zipfile.ZIP_DEFLATED)
    large = (4 << 30) - (1 << 20)
    head = npy_header(large)
    archive(tmp_path / "large.npz", head, len(head) + large, method=zipfile.ZIP_STORED, gap=large)
    with zipfile.ZipFile(tmp_path / "liar.npz", "w") as liar:
        liar.writestr("x.npy", npy_header(1 << 40) + bytes(1 << 20))
    images = bytes([0, 0, 8, 3]) + struct.pack(">III", size // 1024, 32, 32)
    packed = b"\x1f\x8b\x08" + bytes(7) + packed_zeros(images) + bytes(8)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / f"{name}.gz").write_bytes(packed)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(packed)
    shutil.copy(bomb, tmp_path / "runs/x/model/encoder.safetensors")

    commands = [
        "run x.yaml data.source=bomb.npz",
        "run x.yaml data.source=large.npz",
        "run x.yaml data.source=liar.npz",
        "run x.yaml data.source=mnist data.root=.",
        "sample runs/x -o drawn.npy",
    ]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, ",".join(commands)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )

    *codes, most = map(int, done.stdout.split())
    assert codes == [2] * len(commands), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands), done.stderr
    says = [
        "more than 1,000 times",
        "takes 4.0 GiB",
        "claims the shape (1073741824, 1024)",
        "1,000 times",
        "damaged",
    ]
    assert [part for part, line in zip(says, lines, strict=True) if part not in line] == [], done.stderr
    # What importing everything takes, and next to nothing for the files.
    assert most < 1 << 30


def test_data_that_pack_well_are_read(folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse to the utmost that is plausible: one count in a thousand, so that nearly all of it is zeros."""
    x = np.zeros((60, 20_000), dtype=np.float32)
    x[np.arange(60).repeat(20), np.random.default_rng(0).integers(0, 20_000, 1200)] = 1
    np.savez_compressed(folder / "rows.npz", x=x, y=CLASSES)
    monkeypatch.setattr("stackae.data.files.archive_safety.MOST_UNASKED", 1 << 20)
    assert cli(["plan", "x.yaml"], folder).returncode == 0


# ---- what a run leaves


def test_what_a_run_writes_follows_the_umask(tmp_path: Path, cli: Cli) -> None:
    write_inputs(tmp_path)
    before = os.umask(0o027)
    try:
        assert cli(["run", "x.yaml", "--quiet", "report=true"], tmp_path).returncode == 0
    finally:
        os.umask(before)
    paths = [path for top in ("runs", ".stackae") for path in [tmp_path / top, *(tmp_path / top).rglob("*")]]
    modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in paths if path.is_file()}
    assert {Path("runs/x/model/encoder.safetensors"), Path("runs/x/report.html")} <= modes.keys()
    assert {path: oct(mode) for path, mode in modes.items() if mode != 0o640 and path.suffix != ".lock"} == {}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o750}
