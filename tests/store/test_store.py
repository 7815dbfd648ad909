"""The store: what was committed is found again, what was damaged is never used, and two do not collide."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xxhash
from conftest import REPOSITORY

from stackae.errors import ArtifactError, StorageError
from stackae.machine.disk import write_atomically
from stackae.store import MANIFEST, Entry, Store, chained_key

KEY = chained_key("", {"width": 3})
OTHER = chained_key("", {"width": 4})
METRICS = {"val": 0.5, "tiny": 1e-05, "long": 0.1 + 0.2, "name": "µ", "depths": [1, {"a": None}]}
FILES = {"weights.safetensors": b"0123456789" * 100, "metrics.csv": b"epoch\n1\n"}


class Kept(list[str]):
    """The lines a store warned with."""


@pytest.fixture
def warned() -> Kept:
    return Kept()


@pytest.fixture
def store(tmp_path: Path, warned: Kept) -> Store:
    return Store(tmp_path / "store", warned.append)


def commit(store: Store, key: str = KEY, stage: str = "pretrain-1") -> Entry:
    with store.lock(stage, key) as folder:
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        return store.commit(
            stage,
            key,
            parent="p" * 64,
            settings={"width": 3},
            metrics=METRICS,
            versions={"torch": "2"},
            files=list(FILES),
        )


def rewrite(manifest: Path, **changes: Any) -> None:
    """Changes a manifest as its author would, so that its checksum fits."""
    rest = json.loads(manifest.read_text()) | changes
    del rest["checksum"]
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    rest["checksum"] = hashlib.sha256(canonical.encode()).hexdigest()
    manifest.write_text(json.dumps(rest, indent=1) + "\n")


# ---- keys


def test_a_key_depends_on_content_alone() -> None:
    key = chained_key("p", {"a": 1, "b": {"c": [1, 2], "d": None}})
    assert key == chained_key("p", {"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert len(key) == 64
    others = [
        chained_key("q", {"a": 1, "b": {"c": [1, 2], "d": None}}),
        chained_key("p", {"a": 2, "b": {"c": [1, 2], "d": None}}),
        chained_key("p", {"a": 1, "b": {"c": [2, 1], "d": None}}),
        chained_key("p", {"a": 1, "b": {"c": [1, 2]}}),
    ]
    assert len({key, *others}) == 5


# ---- commit and open


def test_what_was_committed_is_opened(store: Store, warned: Kept) -> None:
    made = commit(store)
    assert store.has("pretrain-1", KEY)
    found = Store(store.root, warned.append).open("pretrain-1", KEY)
    assert found is not None
    assert found.key == made.key == KEY
    assert found.metrics == METRICS
    assert {name: found.file(name).read_bytes() for name in FILES} == FILES
    assert found.manifest["parent"] == "p" * 64
    assert found.manifest["config"] == {"width": 3}
    assert found.manifest["versions"] == {"torch": "2"}
    assert found.manifest["files"] == {
        name: {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "xxh3": xxhash.xxh3_128(content).hexdigest(),
        }
        for name, content in FILES.items()
    }
    rewrite(found.folder / MANIFEST)
    assert json.loads((found.folder / MANIFEST).read_text()) == found.manifest == made.manifest
    assert store.has("pretrain-1", KEY)
    assert warned == []


def test_a_file_that_the_stage_does_not_have_is_named(store: Store) -> None:
    with pytest.raises(ArtifactError, match=r"no file 'features-train\.npy'"):
        commit(store).file("features-train.npy")


def test_stages_and_keys_do_not_answer_for_each_other(store: Store, warned: Kept) -> None:
    commit(store)
    assert store.open("pretrain-1", OTHER) is None
    assert store.open("pretrain-2", KEY) is None
    assert not store.has("pretrain-1", OTHER)
    assert warned == []


def test_a_key_with_the_same_beginning_is_another_key(store: Store, warned: Kept) -> None:
    commit(store)
    near = KEY[:-1] + ("0" if KEY[-1] != "0" else "1")
    assert not store.has("pretrain-1", near)
    assert store.open("pretrain-1", near) is None


def test_committing_leaves_only_the_stages_files(store: Store) -> None:
    with store.lock("pretrain-1", KEY) as folder:
        (folder / "checkpoint.ckpt").write_bytes(b"x")
        (folder / "lightning_logs").mkdir()
        (folder / "lightning_logs" / "log").write_bytes(b"x")
    made = commit(store)
    assert {path.name for path in made.folder.iterdir()} == {*FILES, MANIFEST}


def test_discarding_forgets_a_stage(store: Store) -> None:
    folder = commit(store).folder
    with store.lock("pretrain-1", KEY):
        store.discard("pretrain-1", KEY)
    assert not store.has("pretrain-1", KEY)
    assert list(folder.iterdir()) == []


# ---- what is not done, or damaged


def test_without_a_manifest_a_stage_is_not_done_and_its_files_are_kept(store: Store, warned: Kept) -> None:
    with store.lock("pretrain-1", KEY) as folder:
        (folder / "checkpoint.ckpt").write_bytes(b"half")
        (folder / "weights.safetensors").write_bytes(b"half")
    assert not store.has("pretrain-1", KEY)
    assert store.open("pretrain-1", KEY) is None
    assert (folder / "checkpoint.ckpt").read_bytes() == b"half"
    assert warned == []


def truncate(folder: Path) -> None:
    os.truncate(folder / "weights.safetensors", 500)


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[700] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


def lose(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def put_a_folder_there(folder: Path) -> None:
    lose(folder)
    (folder / "weights.safetensors").mkdir()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "weights.safetensors has 500 bytes instead of 1000"),
        (flip_a_bit, "weights.safetensors does not match its sha256"),
        (lose, "weights.safetensors is missing"),
        (put_a_folder_there, "weights.safetensors is missing"),
    ],
)
def test_a_damaged_file_is_noticed_said_once_and_not_used(
    damage: Callable[[Path], None], says: str, store: Store, warned: Kept
) -> None:
    folder = commit(store).folder
    damage(folder)
    assert store.open("pretrain-1", KEY) is None
    assert warned == [f"{folder}: {says}; this stage is done again"]
    assert not store.has("pretrain-1", KEY)
    assert store.open("pretrain-1", KEY) is None
    assert len(warned) == 1


def test_files_swapped_between_stages_are_noticed(store: Store, warned: Kept) -> None:
    mine, theirs = commit(store).folder, commit(store, OTHER).folder
    (theirs / "weights.safetensors").write_bytes(b"9876543210" * 100)
    shutil.copy(theirs / "weights.safetensors", mine / "weights.safetensors")
    assert store.open("pretrain-1", KEY) is None
    assert "sha256" in warned[0]


def test_another_stages_folder_under_this_name_is_noticed(store: Store, warned: Kept) -> None:
    theirs, mine = commit(store, OTHER).folder, store.folder("pretrain-1", KEY)
    shutil.copytree(theirs, mine)
    assert not store.has("pretrain-1", KEY)
    assert store.open("pretrain-1", KEY) is None
    assert len(warned) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"text"', "{}", '{"format": 1}', b"\xff\xfe\x00".decode("latin-1")],
)
def test_an_unreadable_manifest_is_noticed_said_once_and_not_used(
    text: str, store: Store, warned: Kept
) -> None:
    folder = commit(store).folder
    (folder / MANIFEST).write_text(text, encoding="latin-1")
    assert not store.has("pretrain-1", KEY)
    assert store.open("pretrain-1", KEY) is None
    assert warned == [f"{folder}: manifest.json cannot be read; this stage is done again"]


def test_every_bit_of_a_manifest_counts(store: Store) -> None:
    path = commit(store).folder / MANIFEST
    content = path.read_bytes()
    unnoticed = []
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            at, byte = bit // 8, content[bit // 8]
            os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), at)
            if store.has("pretrain-1", KEY):
                unnoticed.append(bit)
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert unnoticed == []
    assert store.has("pretrain-1", KEY)
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        assert not store.has("pretrain-1", KEY), length


def test_a_changed_manifest_says_so(store: Store, warned: Kept) -> None:
    folder = commit(store).folder
    path = folder / MANIFEST
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert store.open("pretrain-1", KEY) is None
    assert warned == [f"{folder}: manifest.json does not match its checksum; this stage is done again"]


def test_a_manifest_of_an_older_version_says_so(store: Store, warned: Kept) -> None:
    folder = commit(store).folder
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["checksum"]
    for promised in manifest["files"].values():
        del promised["xxh3"]
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    assert store.open("pretrain-1", KEY) is None
    assert len(warned) == 1
    assert "older version" in warned[0]


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_link_in_place_of_a_file_is_refused_and_never_written_through(
    name: str, store: Store, warned: Kept, tmp_path: Path
) -> None:
    folder, outside = commit(store).folder, tmp_path / "outside"
    (folder / name).rename(outside)
    before = outside.read_bytes()
    (folder / name).symlink_to(outside)
    assert store.open("pretrain-1", KEY) is None
    assert len(warned) == 1
    with store.lock("pretrain-1", KEY):
        store.clear("pretrain-1", KEY)
    commit(store)
    assert store.open("pretrain-1", KEY) is not None
    assert outside.read_bytes() == before


OUTSIDE = b"abc"
GOOD = {
    "size": len(OUTSIDE),
    "sha256": hashlib.sha256(OUTSIDE).hexdigest(),
    "xxh3": xxhash.xxh3_128(OUTSIDE).hexdigest(),
}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"key": OTHER},
        {"files": {"../x": GOOD}},
        {"files": {"../../x": GOOD}},
        {"files": {"..": GOOD}},
        {"files": {"": GOOD}},
        {"files": {"a\0b": GOOD}},
        {"files": {"/etc/passwd": GOOD}},
        {"removed": {"../x": GOOD}},
        {"removed": {"..": GOOD}},
        {"removed": {"": GOOD}},
        {"removed": ["features-train.npy"]},
        {"removed": {"features-train.npy": {"size": 3}}},
        {"files": ["weights.safetensors"]},
        {"files": {"weights.safetensors": None}},
        {"files": {"weights.safetensors": {}}},
        {"files": None},
        {"metrics": None},
    ],
    ids=json.dumps,
)
def test_a_manifest_that_names_what_cannot_be_is_not_used(
    changes: dict[str, Any], store: Store, warned: Kept
) -> None:
    folder = commit(store).folder
    (folder.parent / "x").write_bytes(OUTSIDE)
    rewrite(folder / MANIFEST, **changes)
    assert store.open("pretrain-1", KEY) is None
    assert len(warned) == 1
    assert str(folder) in warned[0]
    assert "done again" in warned[0]


# ---- what an unfinished stage left


def test_a_stage_that_was_begun_is_not_done_again_in_silence(store: Store, warned: Kept) -> None:
    folder = commit(store).folder
    (folder / MANIFEST).unlink()
    with store.lock("pretrain-1", KEY):
        assert store.open("pretrain-1", KEY) is None
        store.clear("pretrain-1", KEY)
    assert warned == ["pretrain-1: begun before but not finished; it is done again"]
    assert list(folder.iterdir()) == []


def test_a_checkpoint_is_kept_and_speaks_for_itself(store: Store, warned: Kept) -> None:
    with store.lock("pretrain-1", KEY) as folder:
        (folder / "checkpoint.ckpt").write_bytes(b"half")
        (folder / "metrics.csv").write_bytes(b"half")
        store.clear("pretrain-1", KEY)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.ckpt"]
    assert warned == []


def test_damage_is_said_once_and_not_again_as_a_stage_that_was_begun(store: Store, warned: Kept) -> None:
    flip_a_bit(commit(store).folder)
    with store.lock("pretrain-1", KEY):
        assert store.open("pretrain-1", KEY) is None
        store.clear("pretrain-1", KEY)
    assert len(warned) == 1


# ---- what has gone


def test_a_file_that_has_gone_since_is_named(store: Store) -> None:
    entry = commit(store)
    shutil.rmtree(store.root)
    with pytest.raises(StorageError, match=r"weights\.safetensors: has gone; was the store deleted\?"):
        entry.file("weights.safetensors")


def test_committing_into_a_deleted_store_names_what_has_gone(store: Store) -> None:
    with store.lock("pretrain-1", KEY) as folder:
        shutil.rmtree(store.root)
        finished = {"parent": "", "settings": {}, "metrics": {}, "versions": {}}
        with pytest.raises(StorageError, match=r"metrics\.csv: has gone; was the store deleted\?"):
            store.commit("pretrain-1", KEY, **finished, files=["metrics.csv"])
        store.commit("pretrain-1", KEY, **finished, files=[])
    assert store.open("pretrain-1", KEY) is not None
    assert [path.name for path in folder.iterdir()] == [MANIFEST]


def test_a_stage_done_again_after_damage_is_used(store: Store, warned: Kept) -> None:
    flip_a_bit(commit(store).folder)
    assert store.open("pretrain-1", KEY) is None
    commit(store)
    assert store.open("pretrain-1", KEY) is not None
    assert len(warned) == 1


def test_writing_atomically_replaces_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old and longer")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


# ---- two processes

HOLDER = """
import sys
from pathlib import Path
from stackae.store import Store

root, stage, key, ends = sys.argv[1:]
store = Store(Path(root), print)
with store.lock(stage, key) as folder:
    print("held", flush=True)
    sys.stdin.readline()
    (folder / "weights.safetensors").write_bytes(b"theirs")
    if ends == "killed":
        import os
        os.abort()
    store.commit(stage, key, parent="", settings={}, metrics={}, versions={}, files=["weights.safetensors"])
"""


@pytest.mark.parametrize("ends", ["committed", "killed"])
def test_a_second_process_waits_and_then_sees_what_the_first_one_left(ends: str, store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root), "pretrain-1", KEY, ends],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        lines: list[str] = []

        def told(line: str) -> None:
            # Only once this process has found the stage taken may the other one finish it.
            lines.append(line)
            other.stdin.write("go on\n")
            other.stdin.flush()

        waiting = Store(store.root, told)
        with waiting.lock("pretrain-2", KEY):
            assert lines == []
        with waiting.lock("pretrain-1", KEY):
            found = waiting.open("pretrain-1", KEY)
        assert lines == ["pretrain-1: another process works on it; waiting for it to end"]
    if ends == "committed":
        assert found is not None
        assert found.file("weights.safetensors").read_bytes() == b"theirs"
    else:
        assert found is None
