"""Looking after a store: every file checked, and what can be made again removed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stackae.errors import StorageError
from stackae.machine.disk import PART, overwrite, remove, size_of, storage_faults, write_atomically
from stackae.store.manifest import MANIFEST, DamageError, file_fault, read, render, seal
from stackae.store.stages import Store

FOLDER = re.compile(r".+-([0-9a-f]{16})")
REMAKABLE = "features-*.npy"
"""The files that a stage can make again from its weights and the features below."""


@dataclass(frozen=True)
class Checked:
    """What `verify` reports of a stage: its folder, the bytes in it, its damage if any, and a remark."""

    folder: Path
    size: int
    finished: bool
    damage: str | None
    remark: str


@dataclass(frozen=True)
class Removal:
    """What `gc` removes, or would: a file or a whole stage's folder, and its bytes."""

    path: Path
    size: int


@dataclass(frozen=True)
class LeftAlone:
    """A stage that `gc` does not touch, and why."""

    folder: Path
    reason: str


def check_stages(root: Path) -> Iterator[Checked]:
    """Check every finished stage of a store against its sha256s, one after the other; change nothing."""
    for folder in _folders(root):
        content, damage = _examine(folder)
        # Another process may have been at it meanwhile.
        while damage and (again := _examine(folder))[0] != content:
            content, damage = again
        manifest = content if isinstance(content, dict) else None
        remarks = []
        if manifest and manifest.get("removed"):
            remarks.append("features removed")
        if manifest and manifest["parent"] and not _folders_of(root, manifest["parent"]):
            remarks.append(f"its parent {manifest['parent'][:16]} is not in the store")
        yield Checked(folder, size_of(folder), content is not None, damage, ", ".join(remarks))


def needed(root: Path, stages: Collection[tuple[str, str]]) -> set[str]:
    """List the folders' names of stages, given by name and key, and of all that they were made from."""
    names = {Store.folder_name(stage, key) for stage, key in stages}
    waiting = list(names)
    while waiting:
        try:
            manifest = read(root / waiting.pop())
        except DamageError:
            continue
        parents = _folders_of(root, manifest["parent"]) if manifest and manifest["parent"] else []
        waiting += [folder.name for folder in parents if folder.name not in names]
        names |= {folder.name for folder in parents}
    return names


def collect(root: Path, keep: Collection[str] | None, *, dry_run: bool) -> Iterator[Removal | LeftAlone]:
    """Remove the features of finished stages, and with `keep` all stages but those folders.

    Yields each removal once it is done; with `dry_run` nothing is. StorageError where it cannot be.
    """
    for folder in _folders(root):
        lock = Store.stage_lock(folder)
        with storage_faults(folder):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                yield LeftAlone(folder, "another process works on it")
                continue
            try:
                if folder.name in _claimed(root, remove_dead=not dry_run):
                    yield LeftAlone(folder, "a run that is going on needs it")
                elif keep is not None and folder.name not in keep:
                    yield Removal(folder, size_of(folder))
                    if not dry_run:
                        # Without its manifest a stage is not done, whatever else is still there.
                        (folder / MANIFEST).unlink(missing_ok=True)
                        remove(folder)
                else:
                    yield from _thin(folder, dry_run)
            finally:
                lock.release()


def _thin(folder: Path, dry_run: bool) -> Iterator[Removal | LeftAlone]:
    """Remove the files that can be made again, and those that writers left when they died."""
    try:
        manifest = read(folder)
    except DamageError as damage:
        yield LeftAlone(folder, f"{damage}; the next run that needs it does it again")
        return
    if manifest is None:
        removable = [path for path in sorted(folder.iterdir()) if path.suffix == PART]
    else:
        staying = {name for name in manifest["files"] if not fnmatch(name, REMAKABLE)} | {MANIFEST}
        removable = [path for path in sorted(folder.iterdir()) if path.name not in staying]
    removals = [Removal(path, size_of(path)) for path in removable]
    if not dry_run:
        if manifest is not None:
            _forget(folder, manifest)
        for path in removable:
            remove(path)
    yield from removals


def _forget(folder: Path, manifest: dict[str, Any]) -> None:
    """Mark features as removed in the manifest before they are, so that a kill in between costs nothing."""
    files = manifest["files"]
    going = {name: promised for name, promised in files.items() if fnmatch(name, REMAKABLE)}
    if not going:
        return
    staying = {name: promised for name, promised in files.items() if name not in going}
    removed = manifest.get("removed", {}) | going
    text = render(seal(manifest | {"files": staying, "removed": removed}))
    try:
        write_atomically(folder / MANIFEST, text)
    except StorageError:
        # A disk may be too full for even that, and it is then that `gc` is called for.
        overwrite(folder / MANIFEST, text)


def _examine(folder: Path) -> tuple[dict[str, Any] | str | None, str | None]:
    """Return a stage's manifest, or what is wrong with it; and all that is wrong with the stage."""
    try:
        manifest = read(folder)
    except DamageError as damage:
        return str(damage), str(damage)
    if manifest is None:
        return None, None
    faults = [
        f"{name} {fault}"
        for name, promised in manifest["files"].items()
        if (fault := file_fault(folder / name, promised, "sha256"))
    ]
    if Store.folder_name(manifest["stage"], manifest["key"]) != folder.name:
        faults.append(f"{MANIFEST} is another stage's")
    return manifest, ", ".join(faults) or None


def _folders(root: Path) -> list[Path]:
    """List the stages' folders, finished or not."""
    named = (path for path in root.iterdir() if FOLDER.fullmatch(path.name))
    return sorted(path for path in named if path.is_dir() and not path.is_symlink())


def _folders_of(root: Path, key: str) -> list[Path]:
    """List the folders of a key, whichever stage's it is."""
    return [folder for folder in _folders(root) if folder.name.endswith(f"-{key[:16]}")]


def _claimed(root: Path, *, remove_dead: bool) -> set[str]:
    """List the names of the folders that running runs need; `remove_dead` removes the claims of dead runs."""
    names: set[str] = set()
    for path in root.glob("run-*.lock"):
        lock, claim = FileLock(path), path.with_suffix(".json")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with suppress(FileNotFoundError):
                names |= set(json.loads(claim.read_text()))
            continue
        if remove_dead:
            claim.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        lock.release()
    return names
