"""Files of the host's own `/` by their whole path: one host call for each of the guest's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.fcntl import AT_SYMLINK_NOFOLLOW, O_PATH
from noah.fs.hostplace import HostPlace
from noah.vfs.namespace import Walk
from noah.vfs.place import Directory, Place, join

if TYPE_CHECKING:
    from noah.fs.hostfs import HostDirectory
    from noah.host.values import Stat, Statfs, Statx
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile
    from noah.vfs.namespace import FsContext


class HiddenFileError(Exception):
    """The host led a whole path into a file system that the guest must not see."""


class TrustedPlace(HostPlace):
    """A whole path for the host to resolve. If it ends in a hidden file system, it is walked instead."""

    __slots__ = ("_at", "_fs")

    def __init__(self, at: HostDirectory, fs: FsContext, path: bytes, dirfd: int, *, follow: bool) -> None:
        self.mount = at.mount
        self._tree = at.tree
        self._handle = at.handle
        self._dirfd = dirfd
        self._base = at.path
        self._name = path
        self._flags = 0 if follow else AT_SYMLINK_NOFOLLOW
        self._slash = False
        self._seen = 0
        self._at = at
        self._fs = fs

    @property
    def path(self) -> bytes:
        return self._name if self._name.startswith(b"/") else join(self._base, self._name)

    def sibling(self, name: bytes) -> Place | None:
        return None  # its own name is a path

    def _check(self, stat: Stat) -> None:
        if stat.dev in self._tree.hidden:
            raise HiddenFileError

    def _walked(self) -> Place:
        return Walk(self._fs, self._at, 0).resolve(self._name, follow=not self._flags)

    def open(self, caller: Caller, flags: int, mode: int) -> OpenFile:
        try:
            if not flags & O_PATH or self._tree.host.caps.o_path:
                return super().open(caller, flags, mode)
        except HiddenFileError:
            pass
        return self._walked().open(caller, flags, mode)

    def directory(self) -> Directory:
        try:
            return super().directory()
        except HiddenFileError:
            return self._walked().directory()

    def stat(self) -> Stat:
        try:
            return super().stat()
        except HiddenFileError:
            return self._walked().stat()

    def statx(self, flags: int, mask: int) -> tuple[Stat, Statx | None]:
        stat = self._tree.files.fstatat(self._dirfd, self._name, self._flags)
        if stat.dev in self._tree.hidden:
            return self._walked().statx(flags, mask)
        return stat, self._tree.files.statx(self._dirfd, self._name, self._flags | flags, mask)

    def statfs(self) -> Statfs:
        try:
            return super().statfs()
        except HiddenFileError:
            return self._walked().statfs()

    def access(self, caller: Caller, mode: int, flags: int) -> None:
        files = self._tree.files
        files.faccessat(self._dirfd, self._name, mode, flags | self._flags)
        if self._tree.hidden and files.fstatat(self._dirfd, self._name, self._flags).dev in self._tree.hidden:
            self._walked().access(caller, mode, flags)

    def readlink(self) -> bytes:
        files = self._tree.files
        target = files.readlinkat(self._dirfd, self._name)
        if self._tree.hidden and files.fstatat(self._dirfd, self._name, self._flags).dev in self._tree.hidden:
            return self._walked().readlink()
        return target
