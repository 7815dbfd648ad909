"""Files elsewhere, named as `s3://bucket/rows.csv`: whole copies of them in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stackae.data.files.endings import TABLES, is_table_name
from stackae.errors import DataError, StorageError, in_a_line
from stackae.machine.disk import free_at, readable, replacing

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_VERSION = {
    *("etag", "lastmodified", "mtime", "updated", "generation", "md5hash", "crc32c", "contentmd5", "digest"),
    *("created", "modified"),
}
"""What storages call that which changes with a file, without case, `-` and `_`; they have some of it."""
_WEB = ("http", "https")
_EXTRA = ("s3", "s3a", *_WEB)
"""The schemes whose packages are in the extra `remote`."""


@dataclass
class _Copies:
    """The copies of what was asked for, by its name, and the address of each."""

    by_name: dict[str, list[Path]] = field(default_factory=dict)
    addresses: dict[Path, str] = field(default_factory=dict)


_copies: ContextVar[_Copies | None] = ContextVar("copies", default=None)


def is_remote(name: str) -> bool:
    """Tell whether a path has a scheme, as `s3://bucket/rows.csv`."""
    return _SCHEME.match(name) is not None


@contextmanager
def remotes_named() -> Iterator[None]:
    """Ask for each remote file once within it, and let errors name that instead of its copy."""
    if _copies.get() is not None:
        yield
        return
    copies = _Copies()
    token = _copies.set(copies)
    try:
        yield
    except DataError as fault:
        message = str(fault)
        for path, url in copies.addresses.items():
            message = message.replace(str(path), url)
        raise DataError(message) from None
    finally:
        _copies.reset(token)


def local_copies(url: str) -> list[Path]:
    """Return copies of a remote file, of those that a glob fits, or of the tables in a folder, sorted.

    A copy that is there already is returned if size and version of the file are still the same.
    Raises `DataError` where there is nothing, or it cannot be read.
    """
    known = _copies.get()
    if known is not None and url in known.by_name:
        return known.by_name[url]
    filesystem, path = _connect(url)
    try:
        filesystem.invalidate_cache()
        copies = {
            _copy(filesystem, info): filesystem.unstrip_protocol(info["name"])
            for info in _listed(filesystem, path, url)
        }
    except (DataError, StorageError):
        raise
    except Exception as fault:  # each storage raises errors of its own
        raise DataError(f"'{url}': {_why(fault, urlsplit(url).scheme)}") from None
    if known is not None:
        known.by_name[url] = list(copies)
        known.addresses |= copies if len(copies) > 1 else dict.fromkeys(copies, url)
    return list(copies)


def address(path: Path) -> str:
    """Return the address of which a path is a copy, within `remotes_named`, or else the path."""
    copies = _copies.get()
    return str(path) if copies is None else copies.addresses.get(path, str(path))


def _connect(url: str) -> tuple[Any, str]:
    """Return the file system of a scheme, and the path there."""
    scheme = urlsplit(url).scheme
    try:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as fault:
        remedy = "pip install 'stackae[remote]'" if scheme in _EXTRA else "install that"
        raise DataError(f"'{url}': {scheme}:// needs a package ({in_a_line(fault)}); {remedy}") from None
    except Exception as fault:
        raise DataError(
            f"'{url}': cannot be read ({in_a_line(fault)}); give a path or URL of a file"
        ) from None
    return filesystem, path


def _listed(filesystem: Any, path: str, url: str) -> list[Mapping[str, Any]]:
    """Return what is known of each of the files."""
    if urlsplit(url).scheme in _WEB:  # whose question marks are no glob, and folders no lists
        return [filesystem.info(path)]
    if re.search(r"[*?[]", path) and not filesystem.exists(path):
        found = list(filesystem.glob(path, detail=True).values())
        if not found:
            raise DataError(f"'{url}' fits no file; correct it")
    else:
        found = [filesystem.info(path)]
    files = {}
    for info in found:
        if info["type"] == "directory":
            for name, inner in filesystem.find(info["name"], detail=True).items():
                hidden = any(part[:1] in ("_", ".") for part in name[len(info["name"]) :].split("/"))
                if not hidden and is_table_name(Path(name)):
                    files[name] = inner
        elif info.get("size") != 0 or not info["name"].endswith("/"):
            files[info["name"]] = info
    if not files:
        raise DataError(
            f"'{url}': there are no tables in this folder that end in {', '.join(TABLES)}; copy a folder of "
            "others, as images, to the disk, and name that"
        )
    return [files[name] for name in sorted(files)]


def _copy(filesystem: Any, info: Mapping[str, Any]) -> Path:
    """Return a copy of a file, made now unless there is one of the same version."""
    from filelock import FileLock
    from platformdirs import user_cache_path

    url = filesystem.unstrip_protocol(info["name"])
    folder = user_cache_path("stackae") / "remote" / _short_hash(url)
    version = {
        name: str(value)
        for name, value in info.items()
        if re.sub("[-_]", "", name.lower()) in _VERSION and value is not None
    }
    known = _short_hash(json.dumps([info.get("size"), version], sort_keys=True)) if version else "unknown"
    # Folders as `part=3` are kept, since they say something of the rows.
    place = urlsplit(url).path if urlsplit(url).scheme in _WEB else info["name"]
    parts = [_safe(part) for part in place.split("/")]
    copy = folder.joinpath(known, *(part for part in parts[:-1] if "=" in part), parts[-1])
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as fault:
        raise StorageError(
            f"{folder.parent}: cannot be written ({in_a_line(fault.strerror or fault)}); set XDG_CACHE_HOME "
            "to a folder that can"
        ) from None
    with FileLock(folder / ".lock"):
        if version and copy.is_file():
            return copy
        size = info.get("size")
        if size is not None and size > free_at(copy.parent):
            raise StorageError(
                f"{folder.parent}: {url} takes {readable(size)}, but {readable(free_at(copy.parent))} "
                "are free; free some, or set XDG_CACHE_HOME to a folder on another disk"
            )
        with replacing(copy) as part:
            filesystem.get_file(info["name"], str(part))
            actual = part.stat().st_size
            if size is not None and actual < size:
                raise DataError(f"'{url}': only {actual:,} of {size:,} bytes came; try again")
        for old in folder.iterdir():
            if old.is_dir() and old.name != known:
                shutil.rmtree(old, ignore_errors=True)
    return copy


def _why(fault: Exception, scheme: str) -> str:
    cause = fault.__cause__ if isinstance(fault, FileNotFoundError) else None
    cause = cause if isinstance(cause, Exception) else fault
    kind = type(cause).__name__
    if isinstance(fault, FileNotFoundError) and scheme not in _WEB:
        return "there is no such file; correct it"
    if isinstance(fault, PermissionError) or "Credentials" in kind:
        return (
            f"may not be read ({in_a_line(cause)}); set the storage's credentials, as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true for a public bucket"
        )
    return f"cannot be read ({kind}: {in_a_line(cause)}); is the address right, and the network up?"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _safe(part: str) -> str:
    """Return a part of a URL as a name of a file that lies where it should."""
    name = re.sub(r"[/\\\0]", "_", part)
    return name if name.strip(".") else f"file{name}"
