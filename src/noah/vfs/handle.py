"""Handle and HostFile: host descriptors, and the open files that stand on one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from noah.abi.errno import EBADF, ENOTDIR, LinuxError
from noah.abi.fcntl import O_CLOEXEC, O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.vfs.file import OpenFile

if TYPE_CHECKING:
    from noah.host.api import Files
    from noah.host.values import Stat
    from noah.vfs.mounts import Mount
    from noah.vfs.place import Directory, Place

# Flags that act at open(2) and are not kept
_OPEN_ONLY: Final = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC


class Handle:
    """Owns a host descriptor: it is closed when the last file, directory or place that uses it is gone."""

    __slots__ = ("_files", "number")

    def __init__(self, files: Files, number: int) -> None:
        self._files = files
        self.number = number

    def __del__(self) -> None:
        self._files.close_quietly(self.number)


class HostTree(Protocol):
    """Where host files are in the guest's tree: noah.fs.hostfs has the one there is."""

    files: Files
    mount: Mount
    detached: bool

    @property
    def filters(self) -> bool:
        """Whether there may be names that shows() keeps from the guest."""

    def guest_path(self, handle: Handle, path: bytes) -> bytes:
        """Guest path of an open file: where the host says it is now, else `path`, under which it was opened."""

    def place_of(self, handle: Handle, path: bytes) -> Place:
        """The file behind a descriptor."""

    def directory_of(self, handle: Handle, path: bytes) -> Directory: ...

    def shows(self, handle: Handle, name: bytes) -> bool:
        """Whether a name is listed in that directory."""


class HostFile(OpenFile):
    """Any file on a host descriptor; by itself: what O_PATH gives."""

    __slots__ = ("_path", "fd", "files", "handle", "poll_fd", "tree")

    def __init__(self, tree: HostTree, handle: Handle, path: bytes, flags: int) -> None:
        super().__init__(flags & ~_OPEN_ONLY)
        self.tree = tree
        self.files = tree.files
        self.handle: Handle | None = handle
        self.fd = self.poll_fd = handle.number
        self._path = path

    def close(self) -> None:
        self.handle = None  # another thread may be in a call with it: that one has a reference of its own

    def _own(self) -> Handle:
        handle = self.handle
        if handle is None:
            raise LinuxError(EBADF)
        return handle

    @property
    def path(self) -> bytes:
        return self.tree.guest_path(self._own(), self._path)

    def stat(self) -> Stat:
        return self.files.fstat(self.fd)

    def place(self) -> Place:
        return self.tree.place_of(self._own(), self._path)

    def directory(self) -> Directory:
        if self.stat().mode & S_IFMT != S_IFDIR:
            raise LinuxError(ENOTDIR)
        return self.tree.directory_of(self._own(), self._path)
