"""Finished stages, by name and key; the folders they lie in, and who holds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from stackae.errors import ArtifactError, StorageError
from stackae.machine.disk import empty, remove, storage_faults, sync, write_atomically
from stackae.store.manifest import FORMAT, MANIFEST, NAME, DamageError, file_fault, read, record, render, seal

CHECKPOINTS = "*.ckpt"
"""The files that an unfinished stage goes on from."""
THREADS = "threads.json"
"""The number of threads that it is trained with, for as long as it is not finished."""


@dataclass(eq=False)
class Entry:
    """A finished stage: its folder and its manifest, which changes where files are made again."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def key(self) -> str:
        return str(self.manifest["key"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.manifest["metrics"])

    @property
    def removed(self) -> dict[str, Mapping[str, Any]]:
        """Files that `gc` removed, by name: what they were and will be again."""
        return dict(self.manifest.get("removed", {}))

    def file(self, name: str) -> Path:
        """Return the path of one of the stage's files.

        ArtifactError if the stage has none of that name, or `gc` removed it; StorageError if it has gone.
        """
        path = self.folder / name
        if name in self.removed:
            raise ArtifactError(f"{path}: removed by 'stackae gc'; a run makes it again where it needs it")
        if name not in self.manifest["files"]:
            raise ArtifactError(f"{self.folder}: the stage has no file '{name}'")
        if not path.exists():
            raise StorageError(f"{path}: has gone; was the store deleted? start the run again")
        return path


class Store:
    """Finished stages under `root`, by stage name and key.

    `warn` is called with one line wherever an entry is damaged or another process is waited for.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.root, self._warn = root, warn
        self._warned_of = set[Path]()

    def folder(self, stage: str, key: str) -> Path:
        return self.root / self.folder_name(stage, key)

    @staticmethod
    def folder_name(stage: str, key: str) -> str:
        return f"{stage}-{key[:16]}"

    def has(self, stage: str, key: str) -> bool:
        """Tell whether the stage is marked as done; its files are checked only when it is opened."""
        return self.peek(stage, key) is not None

    def peek(self, stage: str, key: str) -> Entry | None:
        """Return the stage as its manifest describes it, its files unchecked; None if not done or damaged."""
        try:
            return self._read(stage, key)
        except DamageError:
            return None

    def open(self, stage: str, key: str) -> Entry | None:
        """Return the finished stage, every file checked by size and xxh3; None if not done or damaged."""
        folder = self.folder(stage, key)
        try:
            entry = self._read(stage, key)
            for name, promised in entry.manifest["files"].items() if entry else ():
                if fault := file_fault(folder / name, promised, "xxh3"):
                    raise DamageError(f"{name} {fault}")
        except DamageError as damage:
            self._warn(f"{folder}: {damage}; this stage is done again")
            self._warned_of.add(folder)
            with storage_faults(folder):
                remove(folder / MANIFEST)
            return None
        return entry

    def _read(self, stage: str, key: str) -> Entry | None:
        folder = self.folder(stage, key)
        manifest = read(folder)
        if manifest is None:
            return None
        if (manifest["stage"], manifest["key"]) != (stage, key):
            raise DamageError(f"{MANIFEST} is another stage's")
        return Entry(folder, manifest)

    @contextmanager
    def lock(self, stage: str, key: str) -> Iterator[Path]:
        """Hold the stage alone and yield its folder, in which files may be written."""
        folder = self.folder(stage, key)
        lock = self.stage_lock(folder)
        with storage_faults(folder):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._warn(f"{stage}: another process works on it; waiting for it to end")
                lock.acquire()
        try:
            # Only now: `gc` may have removed the folder while it held the lock.
            with storage_faults(folder):
                folder.mkdir(parents=True, exist_ok=True)
            yield folder
        finally:
            lock.release()

    def clear(self, stage: str, key: str) -> None:
        """Remove the files that an unfinished stage left, but for its checkpoint. The caller holds its lock.

        Warns where there is no checkpoint to go on from.
        """
        folder = self.folder(stage, key)
        with storage_faults(folder):
            checkpoints = {path.name for path in folder.glob(CHECKPOINTS) if not path.is_symlink()}
            if any(folder.iterdir()) and not checkpoints and folder not in self._warned_of:
                self._warn(f"{stage}: begun before but not finished; it is done again")
            empty(folder, keep=checkpoints | ({THREADS} if checkpoints else set()))

    def discard(self, stage: str, key: str) -> None:
        """Forget a stage, finished or half done. The caller holds its lock."""
        folder = self.folder(stage, key)
        with storage_faults(folder):
            (folder / MANIFEST).unlink(missing_ok=True)
            empty(folder)

    def commit(
        self,
        stage: str,
        key: str,
        *,
        parent: str,
        settings: Mapping[str, Any],
        metrics: Mapping[str, Any],
        versions: Mapping[str, str],
        files: list[str],
    ) -> Entry:
        """Declare the stage done: every file on disk first, its manifest last and at once.

        What else lies in the folder (a checkpoint, a part of a file) is removed. StorageError where the
        disk is full, or a file has gone.
        """
        folder = self.folder(stage, key)
        assert all(NAME.fullmatch(name) for name in files)
        with storage_faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
            manifest = {
                "format": FORMAT,
                "stage": stage,
                "key": key,
                "parent": parent,
                "config": dict(settings),
                "metrics": dict(metrics),
                "versions": dict(versions),
                "files": _synced_records(folder, files),
            }
            entry = _declare(folder, manifest)
            sync(self.root)
            # Last, so that a stage that cannot be committed still has its checkpoint.
            empty(folder, keep={*files, MANIFEST})
        return entry

    def refresh(self, entry: Entry) -> None:
        """Read the manifest of a finished stage again, which another process may have changed."""
        try:
            manifest = read(entry.folder)
        except DamageError as damage:
            raise StorageError(f"{entry.folder}: {damage}; start the run again") from None
        if manifest is None:
            raise StorageError(f"{entry.folder}: has gone; was the store deleted? start the run again")
        entry.manifest = manifest

    def put_back(self, entry: Entry) -> list[str]:
        """Declare removed files made again; return the names of those that are not what they were.

        The caller holds the stage's lock.
        """
        removed = entry.removed
        with storage_faults(entry.folder):
            records = _synced_records(entry.folder, removed)
            files = dict(sorted((dict(entry.manifest["files"]) | records).items()))
            rest = {name: value for name, value in entry.manifest.items() if name != "removed"}
            entry.manifest = _declare(entry.folder, rest | {"files": files}).manifest
        return [name for name in records if records[name] != removed[name]]

    @contextmanager
    def claim(self, stages: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Keep `gc` away from these stages, given by name and key, while the context lasts."""
        names = [self.folder(stage, key).name for stage, key in stages]
        path = self.root / f"run-{uuid4().hex}.json"
        lock = FileLock(path.with_suffix(".lock"))
        with storage_faults(path):
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            # Held first and written then: what lies there unheld is a dead run's.
            write_atomically(path, json.dumps(names))
            yield
        finally:
            with storage_faults(path):
                path.unlink(missing_ok=True)
                lock.release()
                path.with_suffix(".lock").unlink(missing_ok=True)

    @staticmethod
    def stage_lock(folder: Path) -> FileLock:
        """Return the lock of a stage's folder, not yet held."""
        return FileLock(folder.with_name(f"{folder.name}.lock"))


def _synced_records(folder: Path, files: Iterable[str]) -> dict[str, Any]:
    """Return the records of files, and see to it that the files are on the disk itself."""
    records = {}
    for name in sorted(files):
        records[name] = record(folder / name)
        sync(folder / name)
    return records


def _declare(folder: Path, manifest: Mapping[str, Any]) -> Entry:
    sealed = seal(manifest)
    write_atomically(folder / MANIFEST, render(sealed))
    return Entry(folder, sealed)
