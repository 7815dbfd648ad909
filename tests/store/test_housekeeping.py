"""Looking after a store: damage is found, what is removed comes back, and nothing finished is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Cli

from stackae.store import MANIFEST, Store
from stackae.store.housekeeping import LeftAlone, Removal, check_stages, collect

TINY = """\
name: tiny
data: {source: digits, labels: 60}
layers: [{width: 12}, {width: 8}]
pretrain: {epochs: 1}
finetune: {epochs: 1}
trainer: {precision: 32-true}
report: false
tracking: {wandb: disabled}
"""
# Two runs that share all but their last layer.
OTHER = ["run", "tiny.yaml", "layers.1.width=7", "--out", "runs/other"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder in which the tiny config was carried out; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    assert cli(["run", "tiny.yaml"], folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def both(finished: Path, tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """The same, and the other run carried out as well; not to be changed."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("both") / "runs"))
    assert cli(OTHER, folder).returncode == 0
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "again"))


@pytest.fixture
def both_again(both: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "both"))


def results(folder: Path, run: str = "tiny") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs" / run / "results.json").read_text())
    return found


def lasting(found: dict[str, Any]) -> dict[str, Any]:
    """The results without what may differ from one run to the next."""
    stages = [{k: v for k, v in s.items() if k not in ("seconds", "reused")} for s in found["stages"]]
    return {k: v for k, v in found.items() if k != "environment"} | {"stages": stages}


def reused(folder: Path, run: str = "tiny") -> list[bool]:
    return [stage["reused"] for stage in results(folder, run)["stages"]]


def hashes(folder: Path, pattern: str = "**/*") -> dict[str, str]:
    """sha256 of files by their path within `folder`."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(pattern))
        if path.is_file() and path.suffix != ".lock"
    }


def stage_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / ".stackae").glob("*/manifest.json"))


def opened(root: Path) -> tuple[set[str], list[str]]:
    """The names of the folders that a store says are done, and what it says besides."""
    said: list[str] = []
    store, done = Store(root, said.append), set()
    for folder in root.iterdir():
        if folder.is_dir() and (manifest := folder / MANIFEST).exists():
            described = json.loads(manifest.read_text())
            if store.open(described["stage"], described["key"]):
                done.add(folder.name)
    return done, said


# ---- every damage is noticed


def truncate(path: Path, other: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def swap(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


def lose(path: Path, other: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip, swap, lose])
def test_every_damaged_file_of_every_stage_is_noticed(
    damage: Callable[[Path, Path], None], both_again: Path
) -> None:
    root = both_again / ".stackae"
    files = [path for folder in stage_folders(both_again) for path in folder.iterdir()]
    assert len(files) > 30
    unnoticed = []
    for path in files:
        others = [other for other in files if other.name == path.name and other != path]
        before, manifest = path.read_bytes(), json.loads((path.parent / MANIFEST).read_text())
        if damage is swap and (not others or others[0].read_bytes() == before):
            continue
        damage(path, others[0] if others else path)
        found = {checked.folder: checked for checked in check_stages(root)}
        warned: list[str] = []
        whole = (path.parent / MANIFEST).exists()
        entry = Store(root, warned.append).open(manifest["stage"], manifest["key"])
        # Without its manifest a stage is not damaged but not done; the run says so, as tested below.
        if whole:
            noticed = path.name in (found[path.parent].damage or "") and path.name in "".join(warned)
        else:
            noticed = not found[path.parent].finished
        rest = [checked for folder, checked in found.items() if folder != path.parent]
        if not noticed or entry or any(checked.damage or not checked.finished for checked in rest):
            unnoticed.append((path, found[path.parent], warned))
        path.write_bytes(before)
        (path.parent / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    assert unnoticed == []
    assert not any(checked.damage for checked in check_stages(root))


def test_verify_names_the_damage_changes_nothing_and_the_next_run_mends_it(
    again: Path, finished: Path, cli: Cli
) -> None:
    (weights,) = again.glob(".stackae/pretrain-2-*/weights.safetensors")
    flip(weights, weights)
    before = hashes(again)

    found = cli(["verify"], again)

    assert (found.returncode, found.stderr) == (1, "")
    *lines, summary = found.stdout.splitlines()
    (damaged,) = (line for line in lines if ": ok, " not in line)
    assert damaged.startswith(
        f"{weights.parent.name}: damaged: weights.safetensors does not match its sha256, "
    )
    assert summary.startswith("5 ok, 1 damaged, ")
    assert hashes(again) == before
    done = cli(["run", "tiny.yaml"], again)
    assert done.returncode == 0, done.stderr
    assert f"warning: .stackae/{weights.parent.name}: weights.safetensors does not match" in done.stderr
    assert reused(again) == [True, False, True, True, True]
    assert lasting(results(again)) == lasting(results(finished))
    assert cli(["verify"], again).returncode == 0


def test_a_lost_manifest_is_said_and_the_stage_done_again(again: Path, finished: Path, cli: Cli) -> None:
    next(again.glob(".stackae/pretrain-1-*/manifest.json")).unlink()

    found, done = cli(["verify"], again), cli(["run", "tiny.yaml"], again)

    assert found.returncode == 0
    assert "5 ok, 1 not finished" in found.stdout
    said = [line for line in done.stderr.splitlines() if "begun" in line]
    assert said == ["warning: pretrain-1: begun before but not finished; it is done again"]
    assert reused(again) == [False, True, True, True, True]
    assert lasting(results(again)) == lasting(results(finished))


def test_verify_says_what_is_not_there(again: Path, tmp_path: Path, cli: Cli) -> None:
    shutil.rmtree(next(path for path in again.glob(".stackae/pretrain-1-*") if path.is_dir()))
    (tmp_path / "empty").mkdir()

    orphan = cli(["verify"], again)
    empty, none = cli(["verify", "--store", "empty"], tmp_path), cli(["verify", "--store", "none"], tmp_path)

    assert orphan.returncode == 0
    assert [line.split("-")[0] for line in orphan.stdout.splitlines() if "its parent" in line] == ["pretrain"]
    assert (empty.returncode, empty.stdout) == (0, "no stages in 'empty'\n")
    assert (none.returncode, none.stdout, len(none.stderr.splitlines())) == (2, "", 1)
    assert "--store" in none.stderr


def test_another_stages_folder_under_this_name_is_found(again: Path) -> None:
    mine, theirs = (next(again.glob(f".stackae/{stage}-*/")) for stage in ("finetune", "scratch"))
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    found = {checked.folder: checked.damage for checked in check_stages(again / ".stackae")}
    assert found[mine] == "manifest.json is another stage's"


# ---- what is removed comes back


def test_after_gc_a_run_finds_everything_done(again: Path, finished: Path, cli: Cli) -> None:
    gone = {path: path.stat().st_size for path in again.glob(".stackae/*/features-*.npy")}

    freed = cli(["gc"], again)

    assert freed.returncode == 0, freed.stderr
    assert len(gone) == 9
    assert not any(path.exists() for path in gone)
    *lines, total = freed.stdout.splitlines()
    assert sorted(line.split()[1].strip(",") for line in lines) == sorted(
        str(path.relative_to(again)) for path in gone
    )
    assert total == f"{sum(gone.values()) / 1024:.1f} KiB freed"
    found = cli(["verify"], again)
    assert found.returncode == 0
    assert found.stdout.count("features removed") == 3
    before = hashes(again / ".stackae")
    done = cli(["run", "tiny.yaml"], again)
    assert done.stderr.splitlines()[0] == "data: reused"
    assert "made again" not in done.stderr
    assert all(reused(again))
    assert lasting(results(again)) == lasting(results(finished))
    assert hashes(again / ".stackae") == before
    assert cli(["gc"], again).stdout == "0 B freed\n"


def test_after_gc_another_last_layer_trains_to_the_same_bits(
    again: Path, finished: Path, both: Path, cli: Cli
) -> None:
    before = hashes(again / ".stackae")
    assert cli(["gc"], again).returncode == 0

    done = cli(OTHER, again)

    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[:4] == [
        "data: reused",
        "pretrain-1: reused",
        "data: features made again",
        "pretrain-1: features made again",
    ]
    assert reused(again, "other") == [True, False, False, False, False]
    assert lasting(results(again, "other")) == lasting(results(both, "other"))
    for name in ("classifier", "encoder", "decoder"):
        model = f"runs/other/model/{name}.safetensors"
        assert (again / model).read_bytes() == (both / model).read_bytes()
    made = hashes(again / ".stackae")
    shared = [name for name in before if name.startswith(("data-", "pretrain-1-"))]
    assert len(shared) == 13
    # The manifests included: nothing tells a stage whose features were made again from one that kept them.
    assert {name: made[name] for name in shared} == {name: before[name] for name in shared}
    (removed,) = again.glob(f".stackae/{next(n for n in before if n.startswith('pretrain-2')).split('/')[0]}")
    assert not list(removed.glob("features-*"))


def test_an_unrolled_convolutional_stack_comes_back_to_the_same_bits(
    tmp_path: Path, cli: Cli, finished: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    layers = "layers=[{width: 2, unit: conv, kernel: 3}, {width: 6, connectivity: 0.5}]"
    run = ["run", "tiny.yaml", layers, "unroll.epochs=1", "finetune=null"]
    assert cli([*run, "compare.probe=false"], tmp_path).returncode == 0
    before = hashes(tmp_path / ".stackae")
    assert cli(["gc"], tmp_path).returncode == 0
    assert not list(tmp_path.glob(".stackae/*/features-*"))

    done = cli(run, tmp_path)

    assert done.returncode == 0, done.stderr
    again = [line for line in done.stderr.splitlines() if "made again" in line]
    # The probe reads the unrolled stack in the last layer's place.
    assert again == [f"{stage}: features made again" for stage in ("data", "pretrain-1", "unroll")]
    made = hashes(tmp_path / ".stackae")
    back = [name for name in before if not name.startswith("pretrain-2-")]
    assert {name: made[name] for name in back} == {name: before[name] for name in back}


def test_features_that_come_back_different_are_said_and_recorded(again: Path, cli: Cli) -> None:
    assert cli(["gc"], again).returncode == 0
    (manifest,) = again.glob(".stackae/pretrain-1-*/manifest.json")
    described = json.loads(manifest.read_text())
    # As if they had been made on another machine.
    described["removed"]["features-val.npy"]["sha256"] = "0" * 64
    del described["checksum"]
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
    described["checksum"] = hashlib.sha256(canonical.encode()).hexdigest()
    manifest.write_text(json.dumps(described, indent=1) + "\n")

    done = cli(OTHER, again)

    (said,) = (line for line in done.stderr.splitlines() if line.startswith("warning: "))
    assert said.startswith("warning: pretrain-1: features-val.npy made again, but not to the same bits")
    found = json.loads(manifest.read_text())
    content = (manifest.parent / "features-val.npy").read_bytes()
    assert found["files"]["features-val.npy"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert cli(["verify"], again).returncode == 0


def test_of_two_runs_that_need_the_same_features_one_makes_them_again(again: Path) -> None:
    """The second one learnt that they are gone before the first one made them."""
    from stackae.config_file import load_config
    from stackae.data.read import read_source
    from stackae.plan import make_plan
    from stackae.progress import NoProgress
    from stackae.stages.restore import restore

    class Told(NoProgress):
        def restored(self, name: str) -> None:
            made.append(name)

    made: list[str] = []
    config = load_config(again / "tiny.yaml")
    plan, root = make_plan(config, read_source(config.data)), again / ".stackae"
    before = hashes(root)
    list(collect(root, None, dry_run=False))
    stores = [Store(root, pytest.fail), Store(root, pytest.fail)]
    stages = [plan.data, *plan.stages]
    entries = [
        {stage.name: entry for stage in stages if (entry := store.open(stage.name, stage.key))}
        for store in stores
    ]
    for store, known in zip(stores, entries, strict=True):
        assert plan.labelled.probe is not None
        restore(plan.labelled.probe.reads, plan, known, store, Told())
        assert made == ["data", "pretrain-1", "pretrain-2"]
        assert known["pretrain-2"].file("features-val.npy").exists()
    assert hashes(root) == before


# ---- gc keeps what it should


def test_a_dry_run_says_the_same_and_removes_nothing(both_again: Path, cli: Cli) -> None:
    before = hashes(both_again)
    for options in ([], ["--keep-runs", "runs/other"]):
        tried = cli(["gc", *options, "--dry-run"], both_again)
        assert tried.returncode == 0
        assert hashes(both_again) == before
        copy = Path(shutil.copytree(both_again, both_again.parent / f"copy{len(options)}"))
        done = cli(["gc", *options], copy)
        said = tried.stdout.replace("would remove", "removed").replace("would be freed", "freed")
        assert done.stdout == said
        freed = sum(path.stat().st_size for path in both_again.rglob("*") if path.is_file())
        freed -= sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())
        grown = 1024 * len(stage_folders(copy))  # the manifests name what was removed
        assert freed - 102 <= float(done.stdout.splitlines()[-1].split()[0]) * 1024 <= freed + grown


@pytest.mark.parametrize("words", [["--keep-runs", "runs/other"], ["--keep-runs", "runs/tiny", "runs/other"]])
def test_stages_that_no_kept_run_needs_go(words: list[str], both_again: Path, cli: Cli) -> None:
    unfinished = both_again / ".stackae" / f"pretrain-1-{'0' * 16}"
    unfinished.mkdir()
    (unfinished / "checkpoint.ckpt").write_bytes(b"half")
    stranger = both_again / ".stackae" / "notes"
    stranger.mkdir()

    freed = cli(["gc", *words], both_again)

    assert freed.returncode == 0, freed.stderr
    kept = {stage["key"][:16] for run in words[1:] for stage in results(both_again, run[5:])["stages"]}
    left = {path.name.rpartition("-")[2] for path in stage_folders(both_again)}
    assert {key for key in left if not list(both_again.glob(f".stackae/data-{key}"))} == kept
    assert len(left) == len(kept) + 1
    assert not unfinished.exists()
    assert stranger.exists()
    assert f"removed .stackae/{unfinished.name}, 4 B\n" in freed.stdout
    assert not list(both_again.glob(".stackae/*/features-*"))
    assert cli([*OTHER, "--quiet"], both_again).stderr == ""
    assert all(reused(both_again, "other"))


def test_without_runs_to_keep_unfinished_stages_stay(again: Path, cli: Cli) -> None:
    unfinished = again / ".stackae" / f"pretrain-1-{'0' * 16}"
    unfinished.mkdir()
    for name in ("checkpoint.ckpt", "checkpoint.ckpt.part", "features-train.npy"):
        (unfinished / name).write_bytes(b"half")

    freed = cli(["gc"], again)

    assert {path.name for path in unfinished.iterdir()} == {"checkpoint.ckpt", "features-train.npy"}
    assert f"removed .stackae/{unfinished.name}/checkpoint.ckpt.part, 4 B\n" in freed.stdout


@pytest.mark.parametrize(
    "words", [["--keep-runs", "nix"], ["--keep-runs", "runs/tiny", "nix"], ["runs/tiny"]]
)
def test_what_is_no_run_removes_nothing(words: list[str], again: Path, cli: Cli) -> None:
    before = hashes(again)
    (again / "nix").mkdir()
    (again / "nix" / "results.json").write_text("[]")

    done = cli(["gc", *words], again)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert words[-1] in done.stderr
    assert "--keep-runs" in done.stderr
    assert {name: sha for name, sha in hashes(again).items() if "nix" not in name} == before


HOLDER = """
import sys
from pathlib import Path
from stackae.store import Store

root, worked, needed = sys.argv[1:]
store = Store(Path(root), print)
with store.lock("scratch", worked), store.claim([("pretrain-1", needed)]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_gc_leaves_alone_what_another_process_works_on_or_needs(again: Path, cli: Cli) -> None:
    root = again / ".stackae"
    keys = {stage["stage"]: stage["key"] for stage in results(again)["stages"]}
    (again / "none").mkdir()
    (again / "none" / "results.json").write_text('{"stages": []}')
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), keys["scratch"], keys["pretrain-1"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        done = cli(["gc", "--keep-runs", "none"], again)
        other.kill()
    left = {path.name.rpartition("-")[0]: path.name for path in stage_folders(again)}
    assert left.keys() == {"scratch", "pretrain-1"}
    assert f"left alone .stackae/{left['scratch']}: another process works on it\n" in done.stdout
    assert f"left alone .stackae/{left['pretrain-1']}: a run that is going on needs it\n" in done.stdout
    assert len(list((root / left["pretrain-1"]).glob("features-*"))) == 3
    # Killed, it holds nothing any more.
    assert cli(["gc", "--keep-runs", "none"], again).returncode == 0
    assert stage_folders(again) == []
    assert not list(root.glob("run-*"))


def test_a_run_that_is_going_on_keeps_all_its_stages_from_gc(again: Path) -> None:
    """Even those that are done, and while it works on another: it comes back to them at its end."""
    from stackae.config_file import load_config
    from stackae.pipeline import run
    from stackae.progress import NoProgress, StageProgress
    from stackae.tracking.tracker import NullTracker

    seen: list[Removal | LeftAlone] = []
    root = again / ".stackae"

    class Tidies(NoProgress):
        @contextlib.contextmanager
        def stage(
            self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
        ) -> Iterator[StageProgress]:
            seen.extend(collect(root, set(), dry_run=False))
            with super().stage(name, steps, rows, step) as line:
                yield line

    config = load_config(again / "tiny.yaml", ["layers.1.width=7"])
    found = run(config, Store(root, print), NullTracker(), Tidies(), out=again / "runs" / "other")

    removed = {step.path.name.rpartition("-")[0] for step in seen if isinstance(step, Removal)}
    assert removed == {"pretrain-2", "finetune", "scratch", "probe"}  # of the run that is over
    assert [stage["reused"] for stage in found.stages] == [True, False, False, False, False]
    assert len(stage_folders(again)) == 6


# ---- killed anywhere

# Each of these changes the disk, so a kill before it leaves another state.
STEPS = {"open", "os.remove", "os.rename", "os.rmdir", "os.truncate"}


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Does `work` in a process that is killed before its n-th step on disk; whether it came that far."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in STEPS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("keep", [False, True])
def test_killed_anywhere_gc_costs_no_stage_that_it_keeps(keep: bool, finished: Path, tmp_path: Path) -> None:
    names = {path.name for path in stage_folders(finished) if path.name.startswith(("data", "pretrain"))}
    kept = {name for name in names if not (keep and name.startswith("pretrain-2"))}
    root, after = tmp_path / ".stackae", tmp_path / "after"

    def fresh(store: Path) -> None:
        for name in names:
            shutil.copytree(finished / ".stackae" / name, store / name)

    def tidy(store: Path = root) -> list[object]:
        return list(collect(store, kept if keep else None, dry_run=False))

    fresh(after)
    tidy(after)
    step, came = 0, True
    while came:
        fresh(root)
        came = killed_at(step, tidy)
        done, said = opened(root)
        assert (done >= kept, said) == (True, []), step
        assert not any(checked.damage for checked in check_stages(root)), step
        tidy()
        assert hashes(root) == hashes(after), step
        shutil.rmtree(root)
        step += 1
    assert step > 20
