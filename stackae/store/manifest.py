"""A finished stage's manifest: what its files are to be, and a checksum of its own."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

FORMAT = 4
"""Raised when the same key comes to mean something else: a new layout, or a default that changes."""
MANIFEST = "manifest.json"
RECORD = {"size", "sha256", "xxh3"}
# A file's name never leads out of its stage's folder.
NAME = re.compile(r"[\w-][\w .-]*")


class DamageError(Exception):
    """A manifest or a file is damaged; the message says in a few words how."""


def chained_key(parent: str, settings: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of the format version, the parent's key and the settings."""
    return _sha256({"format": FORMAT, "parent": parent, "settings": settings})


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest as its file will give it back, with the checksum of all the rest."""
    rest = json.loads(json.dumps({name: value for name, value in manifest.items() if name != "checksum"}))
    return {**rest, "checksum": _sha256(rest)}


def render(manifest: Mapping[str, Any]) -> str:
    """Return the content of a manifest's file."""
    return json.dumps(manifest, indent=1) + "\n"


def read(folder: Path) -> dict[str, Any] | None:
    """Read the manifest in a stage's folder; None where there is none, DamageError where it is damaged."""
    path = folder / MANIFEST
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
        text = path.read_bytes().decode() if regular else ""
        manifest: dict[str, Any] = json.loads(text)
        whole = manifest["format"] == FORMAT and {"stage", "key", "parent"} <= manifest.keys()
        whole = whole and isinstance(manifest["metrics"], dict)
        records = manifest["files"] | manifest.get("removed", {})
        whole = whole and all(
            NAME.fullmatch(name) and {"size", "sha256"} <= promised.keys()
            for name, promised in records.items()
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DamageError(f"{MANIFEST} cannot be read")
    if "checksum" not in manifest:
        raise DamageError(f"{MANIFEST} has no checksum, as older versions wrote it")
    # 1e-05 and 1E-05 are one number and two strings: the text is compared too, so that every bit counts.
    sealed = seal(manifest)
    if manifest["checksum"] != sealed["checksum"] or text != render(manifest):
        raise DamageError(f"{MANIFEST} does not match its checksum")
    if any(promised.keys() != RECORD for promised in records.values()):
        raise DamageError(f"{MANIFEST} cannot be read")
    return manifest


def record(path: Path) -> dict[str, Any]:
    """Return a file's size and hashes, as a manifest has them."""
    return {"size": path.stat().st_size, "sha256": _hash(path, "sha256"), "xxh3": _hash(path, "xxh3")}


def file_fault(path: Path, promised: Mapping[str, Any], algorithm: str) -> str | None:
    """Say what is wrong with a file, by its size and one hash (`sha256`, `xxh3`); None if nothing is."""
    try:
        status = path.lstat()
    except OSError:
        return "is missing"
    if stat.S_ISLNK(status.st_mode):
        return "is a link to elsewhere"
    if not stat.S_ISREG(status.st_mode):
        return "is missing"
    if status.st_size != promised["size"]:
        return f"has {status.st_size} bytes instead of {promised['size']}"
    try:
        same = _hash(path, algorithm) == promised[algorithm]
    except OSError as unreadable:
        return f"cannot be read ({unreadable.strerror})"
    # Content that differs in one hash differs in both.
    return None if same else "does not match its sha256"


def _sha256(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, xxhash.xxh3_128 if algorithm == "xxh3" else algorithm)
    return digest.hexdigest()
