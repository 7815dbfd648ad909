"""The lines of a text file, compressed or not, read a block at a time and checked to be text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stackae.data.files.zipped_file import zipped_chunks
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

_READ = 1 << 20
_LONGEST = 1 << 24
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_MARK = b"\xef\xbb\xbf"


class Lines:
    """Blocks of whole lines of a text file in UTF-8, without those that start with `comment`.

    Adds the uncompressed content to `digest`. `end` is the last byte so far that is not whitespace. Iterating
    raises `DataError` where the file cannot be read or is not text, with the line, or a line has more than
    16 MiB.
    """

    def __init__(self, path: Path, comment: str | None, digest: _Hash | None = None) -> None:
        self.end = b""
        self._path, self._digest = path, digest
        self._comment = comment and re.compile(rb"^%s.*\n?" % re.escape(comment.encode()), re.MULTILINE)

    def __iter__(self) -> Iterator[bytes]:
        lines, rest, end = 0, b"", False
        stream = self._uncompressed()
        while not end:
            chunk = next(stream, b"")
            end = not chunk
            if self._digest is not None:
                self._digest.update(chunk)
            whole = len(rest) + chunk.rfind(b"\n") + 1 if b"\n" in chunk else len(rest) if end else 0
            block, rest = (rest + chunk)[:whole], (rest + chunk)[whole:]
            self._check(block, lines)
            if len(rest) > _LONGEST:
                raise DataError(f"{self._path}: line {lines + 1:,} has more than 16 MiB; is this a table?")
            lines, block = lines + block.count(b"\n"), block if lines else block.removeprefix(_MARK)
            if self._comment:
                block = self._comment.sub(b"", block)
            if block:
                self.end = block.rstrip()[-1:] or self.end
                yield block

    def _uncompressed(self) -> Iterator[bytes]:
        if self._path.suffix.lower() == ".zip":
            yield from zipped_chunks(self._path, _READ)
            return
        try:
            compression = _COMPRESSED.get(self._path.suffix.lower())
            with pa.input_stream(str(self._path), compression=compression) as stream:
                while chunk := stream.read(_READ):
                    yield chunk
        except OSError as fault:
            if not self._path.is_file():
                raise DataError(
                    f"{self._path}: there is no such file; paths start at the current folder"
                ) from None
            cause = str(fault).partition(". Detail")[0]
            raise DataError(f"{self._path}: the file cannot be read ({cause}); is it damaged?") from None

    def _check(self, block: bytes, lines: int) -> None:
        """Raise `DataError` unless this is text; `lines` came before it."""
        offset, wrong = block.find(b"\0"), "a zero byte"
        if offset < 0:
            try:
                block.decode()
            except UnicodeDecodeError as fault:
                offset, wrong = fault.start, f"the byte 0x{block[fault.start]:02x}"
        if offset >= 0:
            line, position = lines + block.count(b"\n", 0, offset) + 1, offset - block.rfind(b"\n", 0, offset)
            raise DataError(
                f"{self._path}: is not text in UTF-8 (line {line:,} has {wrong} as its byte {position:,}); "
                "save it in UTF-8"
            )


class Stream(io.RawIOBase):
    """Blocks of bytes as a file that can be read once."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._left = blocks, memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read, as `io` asks."""
        return True

    def readinto(self, into: Any) -> int:
        """Fill the buffer `into` with the next bytes; return how many, 0 at the end."""
        if not self._left:
            self._left = memoryview(next(filter(None, self._blocks), b""))
        size = min(len(into), len(self._left))
        into[:size], self._left = self._left[:size], self._left[size:]
        return size
