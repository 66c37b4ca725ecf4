"""Compressed archives as streams."""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from noah.image.errors import ImageError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

_GZIP: Final = b"\x1f\x8b"
_XZ: Final = b"\xfd7zXZ\0"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BZIP2: Final = b"BZh"


class Slice(io.RawIOBase):
    """Part of a file, as a file to be read from its beginning to its end."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file = file
        self._left = size
        file.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


@contextmanager
def decompressed(raw: io.RawIOBase | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The content behind gzip, xz, zstd, bzip2 or nothing, known by its first bytes. ImageError if it is damaged."""
    file = io.BufferedReader(cast("io.RawIOBase", raw), 1 << 18)
    head = file.peek(8)
    try:
        with _open(file, head) as content:
            yield content
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, zstd.ZstdError) as error:
        raise ImageError(f"{name}: damaged: {str(error).lower() or 'it ends too early'}") from None


def _open(file: io.BufferedReader[io.RawIOBase], head: bytes) -> BinaryIO:
    if head.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    if head.startswith(_XZ):
        return cast("BinaryIO", lzma.LZMAFile(file, "rb"))
    if head.startswith(_ZSTD):
        return cast("BinaryIO", zstd.ZstdFile(file, "rb"))
    if head.startswith(_BZIP2):
        import bz2

        return cast("BinaryIO", bz2.BZ2File(file, "rb"))
    return cast("BinaryIO", file)
