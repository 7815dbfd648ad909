"""A disk that is full, small, read-only or taken away: one line, nothing killed, nothing finished lost."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Cli
from stage_runs import described

from stackae.data.features import create
from stackae.errors import StorageError
from stackae.machine.disk import readable
from stackae.pipeline import run
from stackae.progress import NoProgress, StageProgress
from stackae.store import Store
from stackae.tracking.tracker import NullTracker

TINY = """\
name: tiny
data: {source: digits, labels: 60}
layers: [{width: 12, activation: sigmoid}]
pretrain: {epochs: 1}
finetune: null
compare: {probe: false}
report: false
tracking: {wandb: disabled}
"""
# Carries out the lines it is given; runs in its own process, so that torch is imported but once.
DRIVER = """
import shlex, subprocess, sys
from stackae.cli import main

for line in sys.argv[1].splitlines():
    sys.argv = shlex.split(line)
    if sys.argv[:2] == ["stackae", "run"]:
        try:
            main()
        except SystemExit as end:
            print("code", end.code or 0, flush=True)
    elif sys.argv[0] == "stackae":
        done = subprocess.run([sys.executable, "-m", *sys.argv])
        print("code", done.returncode, flush=True)
    else:
        subprocess.run(["bash", "-c", line])
"""


def mounted(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Carries out a script, and what it mounts ends with it; skips the test where mounting is forbidden."""
    try:
        subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", cwd], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not allowed here: a full and a read-only disk cannot be had")
    return subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", DRIVER, script],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (5000 * 2**40, "5000.0 TiB"),
    ],
)
def test_bytes_are_told_in_units_that_people_read(size: int, says: str) -> None:
    assert readable(size) == says


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize("shape", [(5,), (0, 3), (4, 2, 3)])
def test_an_array_on_disk_is_the_file_that_numpy_writes(
    shape: tuple[int, ...], dtype: type[np.generic], tmp_path: Path
) -> None:
    wanted = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    made = create(tmp_path / "made.npy", shape, dtype)
    made[:] = wanted
    made.flush()
    np.save(tmp_path / "wanted.npy", wanted)
    assert (tmp_path / "made.npy").read_bytes() == (tmp_path / "wanted.npy").read_bytes()


def test_room_for_an_array_is_taken_before_it_is_filled(tmp_path: Path) -> None:
    create(tmp_path / "x.npy", (1000, 1000))
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= 4_000_000


def test_an_array_made_anew_leaves_who_reads_the_old_one_alone(tmp_path: Path) -> None:
    """Another process may have the old file mapped; to cut it short would kill that process."""
    first = create(tmp_path / "x.npy", (1000,))
    first[:] = 7.0
    create(tmp_path / "x.npy", (2,))[:] = 1.0
    assert (first == 7.0).all()


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "x.npy").symlink_to(tmp_path / "outside")
    create(tmp_path / "x.npy", (2,))
    assert (tmp_path / "outside").read_text() == "mine"


# ---- no room


def test_a_file_larger_than_allowed_ends_in_one_line(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores the signal that comes with it
    try:
        done = cli(["run", "tiny.yaml"], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    (folder,) = (path for path in tmp_path.glob(".stackae/data-*") if path.is_dir())
    assert line.startswith(f".stackae/{folder.name}/features-train.npy: too large here (323.5 KiB needed, ")
    assert "stackae gc" in line
    assert "--store" in line
    assert list(folder.iterdir()) == []


FULL = """\
mount -t tmpfs -o size=560k none store
stackae run tiny.yaml --store store/kept
mount -o remount,size=8m store
stackae run tiny.yaml --store store/kept
dd if=/dev/zero of=store/filler bs=1k 2> /dev/null
stackae gc --store store/kept
stackae verify --store store/kept
"""


def test_a_full_disk_ends_in_one_line_and_more_room_mends_it(tmp_path: Path) -> None:
    """There is room for the data, but not for the first layer's features. Then it is filled to the brim."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "store").mkdir()

    done = mounted(FULL, tmp_path)

    codes = [line for line in done.stdout.splitlines() if line.startswith("code ")]
    assert codes == ["code 1", "code 0", "code 0", "code 0"], done
    lines = [line for line in done.stderr.splitlines() if not line.startswith("pretrain-1: 1 epochs")]
    assert lines[0].startswith("store/kept/pretrain-1-")
    assert "/features-" in lines[0]
    assert ": the disk is full (" in lines[0]
    assert " needed, " in lines[0]
    assert "'stackae gc'" in lines[0]
    begun = "warning: pretrain-1: begun before but not finished; it is done again"
    assert lines[1:] == ["data: reused", begun]
    assert done.stdout.count("features removed") == 2


READ_ONLY = """\
cp -r .stackae before
mount --bind .stackae .stackae
mount -o remount,ro,bind .stackae
stackae verify
stackae gc
diff -r before .stackae && echo unchanged
"""


def test_a_store_that_cannot_be_written_can_be_verified(tmp_path: Path) -> None:
    store, key = Store(tmp_path / ".stackae", print), "0" * 64
    with store.lock("data", key) as folder:
        create(folder / "features-val.npy", (2,))
        finished = {"parent": "", "settings": {}, "metrics": {}, "versions": {}}
        store.commit("data", key, **finished, files=["features-val.npy"])

    done = mounted(READ_ONLY, tmp_path)

    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("code ")] == ["code 0", "code 1"], done
    assert lines[-1] == "unchanged"
    (fault,) = done.stderr.splitlines()
    assert "/.stackae/data-" in fault
    assert "cannot be written (Read-only file system)" in fault


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(StorageError, match=r"cannot be written \(Permission denied\)"),
        Store(tmp_path / "store", print).lock("data", "0" * 64),
    ):
        pass


# ---- taken away


class TakesTheStore(NoProgress):
    """Deletes the store, or a part of it, while a stage trains."""

    def __init__(self, stage: str, gone: Path) -> None:
        self._stage, self._gone = stage, gone

    @contextlib.contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[StageProgress]:
        with super().stage(name, steps, rows, step) as line:
            yield line
        if name == self._stage:
            shutil.rmtree(self._gone)


def test_a_store_deleted_under_a_run_is_said_and_a_second_start_mends_it(tmp_path: Path) -> None:
    config, root, out = described(tmp_path), tmp_path / "store", tmp_path / "run"
    takes = TakesTheStore("pretrain-2", root)
    with pytest.raises(StorageError, match="was the store deleted") as raised:
        run(config, Store(root, print), NullTracker(), takes, out=out)
    assert len(str(raised.value).splitlines()) == 1
    assert str(root) in str(raised.value)
    run(config, Store(root, print), NullTracker(), NoProgress(), out=out)
    assert (out / "results.json").exists()


# ---- who may read it


def test_all_that_is_written_follows_the_umask(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    before = os.umask(0o027)
    try:
        done = cli(["run", "tiny.yaml", "report=true"], tmp_path)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    written = [path for folder in (".stackae", "runs") for path in (tmp_path / folder).rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in written}
    assert tmp_path / "runs/tiny/report.html" in modes
    assert len(modes) > 15
    assert {
        path: oct(mode) for path, mode in modes.items() if mode != (0o750 if path.is_dir() else 0o640)
    } == {}
