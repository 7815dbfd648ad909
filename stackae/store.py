"""The store: a folder of finished stages, each under the key of all that its numbers depend on.

The only owner of the disk layout: `<root>/<stage>-<first 16 digits of the key>/`, with a
`manifest.json` written last. A folder without a manifest is not done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stackae.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"


def chained_key(parent: str, settings: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of the format version, the key before, and what changes the numbers."""
    text = json.dumps(
        {"format": FORMAT, "parent": parent, "settings": settings}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A finished stage: its folder and its manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def key(self) -> str:
        return str(self.manifest["key"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.manifest["metrics"])

    def file(self, name: str) -> Path:
        """The path of one of the stage's files; ArtifactError if the stage has none of that name."""
        if name not in self.manifest["files"]:
            raise ArtifactError(f"{self.folder}: the stage has no file '{name}'")
        return self.folder / name


class Store:
    """Finished stages under `root`, found by stage name and key.

    `warn` is called with one line wherever an entry is damaged or another process is waited for.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.root, self._warn = root, warn

    def folder(self, stage: str, key: str) -> Path:
        return self.root / f"{stage}-{key[:16]}"

    def has(self, stage: str, key: str) -> bool:
        """Whether the stage is marked as done; its files are looked at only when it is opened."""
        return _manifest(self.folder(stage, key), key) is not None

    def open(self, stage: str, key: str) -> Entry | None:
        """The finished stage, every file checked against its sha256; None if not done or damaged."""
        folder = self.folder(stage, key)
        manifest = _manifest(folder, key)
        if manifest is None:
            if (folder / MANIFEST).exists():
                self._discard(folder, f"{MANIFEST} cannot be read")
            return None
        for name, promised in manifest["files"].items():
            if fault := _fault(folder / name, promised):
                self._discard(folder, f"{name} {fault}")
                return None
        return Entry(folder, manifest)

    @contextmanager
    def lock(self, stage: str, key: str) -> Iterator[Path]:
        """Holds the stage alone and yields its folder, in which files may be written."""
        folder = self.folder(stage, key)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / f"{folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._warn(f"{stage}: another process works on it; waiting for it to end")
            lock.acquire()
        try:
            yield folder
        finally:
            lock.release()

    def discard(self, stage: str, key: str) -> None:
        """Forgets a stage, finished or half done. The caller holds its lock."""
        folder = self.folder(stage, key)
        (folder / MANIFEST).unlink(missing_ok=True)
        _empty(folder)

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
        """Declares the stage done: every file on disk first, its manifest last and at once.

        What else lies in the folder (a checkpoint, a part of a file) is removed.
        """
        folder = self.folder(stage, key)
        _empty(folder, keep=set(files))
        manifest = {
            "format": FORMAT,
            "stage": stage,
            "key": key,
            "parent": parent,
            "config": dict(settings),
            "metrics": dict(metrics),
            "versions": dict(versions),
            "files": {name: _describe(folder / name) for name in files},
        }
        for name in files:
            _sync(folder / name)
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return Entry(folder, manifest)

    def _discard(self, folder: Path, fault: str) -> None:
        self._warn(f"{folder}: {fault}; this stage is done again")
        (folder / MANIFEST).unlink()


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that it is there whole or not at all, even after a power cut."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    _sync(part)
    os.replace(part, path)
    _sync(path.parent)


def _manifest(folder: Path, key: str) -> Mapping[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        known = manifest["format"] == FORMAT and manifest["key"] == key
        whole = {"parent", "stage"} <= manifest.keys() and isinstance(manifest["metrics"], dict)
        # A file's name never leads out of the stage's folder.
        whole = whole and all(
            Path(name).name == name and {"size", "sha256"} <= promised.keys()
            for name, promised in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if known and whole else None


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _fault(path: Path, promised: Mapping[str, Any]) -> str | None:
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != promised["size"]:
        return f"has {path.stat().st_size} bytes instead of {promised['size']}"
    return None if _describe(path) == promised else "does not match its sha256"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _empty(folder: Path, keep: frozenset[str] | set[str] = frozenset()) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
