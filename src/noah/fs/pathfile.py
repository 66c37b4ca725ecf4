"""What O_PATH gives on a host without it: a directory is opened for reading, of any other file the name is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import ENOTDIR, ESTALE, LinuxError
from noah.abi.poll import POLLNVAL
from noah.vfs.file import OpenFile
from noah.vfs.handle import Handle, HostFile, HostTree

if TYPE_CHECKING:
    from noah.host.values import Stat
    from noah.vfs.place import Directory, Place


class PathFile(HostFile):
    """A directory, or another descriptor's file."""

    __slots__ = ()

    def __init__(self, tree: HostTree, handle: Handle, path: bytes, flags: int) -> None:
        super().__init__(tree, handle, path, flags)
        self.poll_fd = -1

    def ready(self, events: int) -> int:
        return POLLNVAL


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

    def ready(self, events: int) -> int:
        return POLLNVAL
