"""Where images come from."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, Protocol

from noah.image.errors import ImageError

if TYPE_CHECKING:
    from noah.image.oci.manifest import Descriptor, Manifest

Open = Callable[[], AbstractContextManager[BinaryIO]]
"""Gives a layer, compressed or not."""


class Source(Protocol):
    """One image somewhere."""

    names: list[str]
    """What it is called there, as the store would."""
    origin: dict[str, str]
    """For the image's record."""

    def find(self, arch: str) -> Manifest:
        """The image for an architecture. ImageError."""

    def layers(self, wanted: list[Descriptor]) -> list[Open]:
        """All of them, ready to be read. ImageError."""


class Hashed(io.RawIOBase):
    """A stream that is checked in the end."""

    def __init__(self, file: BinaryIO, read: Callable[[int], None] | None = None) -> None:
        """read: is told how many bytes were read."""
        self._file = file
        self._digest = hashlib.sha256()
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._digest.update(data)
        if self._read is not None:
            self._read(len(data))
        return len(data)

    def check(self, digest: str, what: str) -> None:
        """Read what is left. ImageError if all that was read is not what has this digest."""
        while self.read(1 << 20):
            pass
        if f"sha256:{self._digest.hexdigest()}" != digest:
            raise ImageError(f"{what}: wrong digest: this is not {digest}; nothing of it is used")
