"""Single files of a root file system, by their paths in it: links lead nowhere out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENOENT, LinuxError
from noah.abi.fcntl import AT_SYMLINK_NOFOLLOW, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY
from noah.abi.stat import S_IFDIR, S_IFLNK, S_IFMT
from noah.fs.hostfs import HostDirectory, HostTree
from noah.vfs.mounts import MountTable
from noah.vfs.namespace import FsContext, Walk

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat

_CHUNK: Final = 1 << 20


class Inside:
    """A root file system to look into."""

    def __init__(self, host: Host, root: bytes) -> None:
        self.files = host.files
        self._fs = FsContext(MountTable(HostTree(host, root), HostTree(host, b"/")), 0)

    def locate(self, path: bytes) -> tuple[HostDirectory, bytes]:
        """The directory that a path leads to, and the last name in it: it may not exist, or be a link. LinuxError."""
        head, _, name = (b"/" + path.strip(b"/")).rpartition(b"/")
        if name in (b"", b".", b".."):
            head, name = head + b"/" + name, b"."
        found = Walk(self._fs, self._fs.root, 0).resolve(head or b"/", follow=True).directory()
        assert isinstance(found, HostDirectory)
        return found, name

    def follow(self, path: bytes) -> tuple[HostDirectory, bytes]:
        """As locate(), for where links at the end lead to."""
        for _ in range(40):
            directory, name = self.locate(path)
            stat = self._stat(directory, name)
            if stat is None or stat.mode & S_IFMT != S_IFLNK:
                return directory, name
            target = self.files.readlinkat(directory.handle.number, name)
            path = target if target.startswith(b"/") else directory.path + b"/" + target
        raise LinuxError(ENOENT)

    def stat(self, path: bytes) -> Stat | None:
        """Of the path itself, if it is a link; None for what is not there."""
        try:
            directory, name = self.locate(path)
        except LinuxError:
            return None
        return self._stat(directory, name)

    def _stat(self, directory: HostDirectory, name: bytes) -> Stat | None:
        try:
            return self.files.fstatat(directory.handle.number, name, AT_SYMLINK_NOFOLLOW)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
            return None

    def is_link(self, path: bytes) -> bool:
        stat = self.stat(path)
        return stat is not None and stat.mode & S_IFMT == S_IFLNK

    def is_directory(self, path: bytes) -> bool:
        directory, name = self.follow(path)
        stat = self._stat(directory, name)
        return stat is not None and stat.mode & S_IFMT == S_IFDIR

    def read(self, path: bytes) -> bytes | None:
        """The content of a file; None if there is none."""
        try:
            directory, name = self.follow(path)
            fd = self.files.openat(directory.handle.number, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        except LinuxError:
            return None
        found = b""
        try:
            while data := self.files.read(fd, _CHUNK):
                found += data
        except LinuxError:
            return None
        finally:
            self.files.close_quietly(fd)
        return found

    def make_directories(self, path: bytes) -> None:
        """A directory and all on the way to it, as far as they are not there. LinuxError."""
        at = b""
        for name in path.split(b"/"):
            if name not in (b"", b"."):
                at += b"/" + name
                directory, last = self.follow(at)
                if self._stat(directory, last) is None:
                    self.files.mkdirat(directory.handle.number, last, 0o755)

    def write(self, path: bytes, content: bytes, mode: int = 0o644) -> None:
        """Make or replace the content of a file. LinuxError."""
        directory, name = self.locate(path)
        flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK
        fd = self.files.openat(directory.handle.number, name, flags, mode)
        try:
            while content:
                content = content[self.files.write(fd, content) :]
        finally:
            self.files.close_quietly(fd)
