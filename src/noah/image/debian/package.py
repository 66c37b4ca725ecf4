"""deb(5): an ar archive of two tar archives, one about the package and one of its files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

from noah.image.errors import ImageError
from noah.image.streams import Slice, decompressed

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60


class Member(NamedTuple):
    name: str
    offset: int
    size: int


class DebFile:
    """A package's file."""

    def __init__(self, path: Path, name: str = "") -> None:
        """name: what it is called in messages. ImageError if it is none."""
        self.path = path
        self.name = name or path.name
        self._members = {member.name: member for member in self._list()}

    def _list(self) -> Iterator[Member]:
        with self.path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ImageError(f"{self.name}: not a Debian package")
            while header := file.read(_HEADER):
                if len(header) < _HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
                    raise ImageError(f"{self.name}: a damaged package")
                size = int(header[48:58])
                yield Member(header[:16].decode("ascii", "replace").strip().rstrip("/"), file.tell(), size)
                file.seek(size + size % 2, 1)

    @contextmanager
    def _tar(self, kind: str) -> Iterator[tarfile.TarFile]:
        member = next((member for name, member in self._members.items() if name.startswith(kind + ".tar")), None)
        if member is None:
            raise ImageError(f"{self.name}: a damaged package: it has no {kind}.tar")
        with (
            self.path.open("rb") as file,
            decompressed(Slice(file, member.offset, member.size), self.name) as data,
        ):
            try:
                with tarfile.open(fileobj=data, mode="r|", errors="surrogateescape") as tar:
                    yield tar
            except tarfile.TarError as error:
                raise ImageError(f"{self.name}: a damaged package: {error}") from None

    def data(self) -> AbstractContextManager[tarfile.TarFile]:
        """The package's files."""
        return self._tar("data")

    def control(self) -> dict[str, tuple[bytes, int]]:
        """Content and mode of the files about the package."""
        found = {}
        with self._tar("control") as tar:
            for member in tar:
                content: IO[bytes] | None = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    found[member.name.removeprefix("./")] = (content.read(), member.mode & 0o777)
        return found
