"""What O_PATH gives on a host without it: of a file that cannot just be opened for reading, the name is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import ENOTDIR, ESTALE, LinuxError
from noah.vfs.file import OpenFile

if TYPE_CHECKING:
    from noah.host.values import Stat
    from noah.vfs.place import Directory, Place


class NamedFile(OpenFile):
    """A name in a directory. Once it means another file, or none, this is stale, as on NFS."""

    __slots__ = ("_identity", "_place")

    def __init__(self, place: Place, stat: Stat, flags: int) -> None:
        super().__init__(flags)
        self._place = place
        self._identity = stat.dev, stat.ino

    @property
    def path(self) -> bytes:
        return self._place.path

    def stat(self) -> Stat:
        try:
            stat = self._place.stat()
        except LinuxError:
            raise LinuxError(ESTALE) from None
        if (stat.dev, stat.ino) != self._identity:
            raise LinuxError(ESTALE)
        return stat

    def place(self) -> Place:
        self.stat()
        return self._place

    def directory(self) -> Directory:
        raise LinuxError(ENOTDIR)
