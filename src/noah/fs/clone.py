"""Copies of trees: content, owners, modes, times, attributes, hard links. Nothing is followed, nothing left out but
device nodes and sockets.

A file system that can share blocks between files (btrfs, XFS, APFS) does so: see copy_file_range(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, ENODATA, ENOENT, ENOSYS, ENOTSUP, EOPNOTSUPP, EPERM, EXDEV, LinuxError
from noah.abi.fcntl import (
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_RDONLY,
    O_WRONLY,
)
from noah.abi.limits import PATH_MAX
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from noah.fs.owned import are_owned
from noah.fs.tree import Descent

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.host.api import Host
    from noah.host.values import Stat

_CHUNK: Final = 1 << 20
_MOST: Final = 1 << 30


class Cloner:
    """One copy. A directory's own descriptor and a name in it stand for each file."""

    def __init__(
        self,
        source: Host,
        target: Host,
        *,
        owners: bool = True,
        lend: Callable[[int, bytes, Host, int, bytes], bool] | None = None,
    ) -> None:
        """Both are the same host, each with its own view of owners (noah.fs.owned).

        owners: files keep theirs, if this user may give files away there. lend: may do without a copy of a file
        (noah.fs.cow).
        """
        self._host = target
        self._lend = lend
        self._from = source.files
        self._files = target.files
        self._scan = source.dirs.scan
        may = are_owned(target.files) or target.procs.getresuid()[1] == 0
        self._owners = owners and may
        self._links: dict[tuple[int, int], bytes] = {}
        self._top = -1
        self._shares = True
        self._replace = False
        self._with_content = True

    def tree(self, source: bytes, target: bytes) -> None:
        """Copy a directory to one that does not exist. LinuxError."""
        self.copy(AT_FDCWD, source, AT_FDCWD, target)

    def copy(
        self, source: int, name: bytes, target: int, new: bytes, *, replace: bool = False, content: bool = True
    ) -> None:
        """Copy a file, or a directory with all that is in it, also into one that is there.

        replace: over files that are there. content: not just empty files. LinuxError; EEXIST.
        """
        self._replace = replace
        self._with_content = content
        stat = self._from.fstatat(source, name, AT_SYMLINK_NOFOLLOW)
        if stat.mode & S_IFMT == S_IFDIR:
            self._directory(source, name, target, new, stat)
        else:
            self._file(source, name, target, new, new, stat)

    def _file(self, source: int, name: bytes, target: int, new: bytes, path: bytes, stat: Stat) -> None:
        """Anything but a directory. path: of the copy, from the directory self._top."""
        files = self._files
        kind = stat.mode & S_IFMT
        if self._replace:
            self._make_room(target, new)
        if stat.nlink > 1:
            first = self._links.get((stat.dev, stat.ino))
            if first is not None:
                files.linkat(self._top, first, target, new)
                return
            if self._top >= 0 and len(path) < PATH_MAX:  # beyond, each name gets a file of its own
                self._links[stat.dev, stat.ino] = path
        if kind == S_IFREG and self._lend is not None and self._lend(source, name, self._host, target, new):
            return
        if kind == S_IFREG:
            self._regular(source, name, target, new, stat)
        elif kind == S_IFLNK:
            files.symlinkat(self._from.readlinkat(source, name), target, new)
            if self._owners:
                files.fchownat(target, new, stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW)
            files.utimensat(target, new, (stat.atime, stat.mtime), AT_SYMLINK_NOFOLLOW)
        elif kind == S_IFIFO or (kind in (S_IFCHR, S_IFBLK) and are_owned(files)):
            files.mknodat(target, new, kind | 0o600, stat.rdev)
            if self._owners:
                files.fchownat(target, new, stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW)
            files.fchmodat(target, new, stat.mode & 0o7777)

    def _make_room(self, target: int, new: bytes) -> None:
        try:
            self._files.unlinkat(target, new)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise

    def _directory(self, source: int, name: bytes, target: int, new: bytes, stat: Stat) -> None:
        """With all that is in it."""
        self._make_directory(target, new)
        inside, made = Descent(self._from, source, name), Descent(self._files, target, new)
        try:
            self._top = self._files.dup(made.fd)
            self._inside(inside, made, stat)
        finally:
            self._files.close_quietly(self._top)
            self._top = -1
            inside.close()
            made.close()

    def _inside(self, inside: Descent, made: Descent, stat: Stat) -> None:
        above: list[tuple[list[bytes], bytes, Stat]] = []
        names, prefix = self._names(inside.fd), b""
        while True:
            if names:
                name = names.pop()
                found = self._from.fstatat(inside.fd, name, AT_SYMLINK_NOFOLLOW)
                if found.mode & S_IFMT != S_IFDIR:
                    self._file(inside.fd, name, made.fd, name, prefix + name, found)
                    continue
                self._make_directory(made.fd, name)
                inside.down(name)
                made.down(name)
                above.append((names, prefix, stat))
                names, prefix, stat = self._names(inside.fd), prefix + name + b"/", found
            else:
                self._attributes(inside.fd, made.fd, stat)
                if not above:
                    return
                inside.up()
                made.up()
                names, prefix, stat = above.pop()

    def _names(self, fd: int) -> list[bytes]:
        return [name for name, _, _ in self._scan(fd) if name not in (b".", b"..")]

    def _make_directory(self, target: int, new: bytes) -> None:
        """Or use one that is there."""
        files = self._files
        try:
            files.mkdirat(target, new, 0o700)
        except LinuxError:
            if files.fstatat(target, new, AT_SYMLINK_NOFOLLOW).mode & S_IFMT != S_IFDIR:
                raise

    def _regular(self, source: int, name: bytes, target: int, new: bytes, stat: Stat) -> None:
        files = self._files
        reader = self._from.openat(source, name, O_RDONLY | O_NOFOLLOW)
        try:
            writer = files.openat(target, new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
            try:
                if self._with_content:
                    self._content(reader, writer)
                self._attributes(reader, writer, stat)
            finally:
                files.close_quietly(writer)
        finally:
            files.close_quietly(reader)

    def _content(self, reader: int, writer: int) -> None:
        files = self._files
        while self._shares:
            try:
                if not files.copy_file_range(reader, None, writer, None, _MOST):
                    return
            except LinuxError as error:
                if error.errno not in (EINVAL, ENOSYS, EOPNOTSUPP, EXDEV, EPERM):
                    raise
                self._shares = False
        while data := files.read(reader, _CHUNK):
            view = memoryview(data)
            while view:
                view = view[files.write(writer, view) :]

    def _attributes(self, source: int, target: int, stat: Stat) -> None:
        files = self._files
        if self._owners:
            files.fchown(target, stat.uid, stat.gid)
        files.fchmod(target, stat.mode & 0o7777)
        try:
            for name in self._from.flistxattr(source):
                files.fsetxattr(target, name, self._from.fgetxattr(source, name))
        except LinuxError as error:
            if error.errno not in (ENOTSUP, EOPNOTSUPP, EPERM, ENODATA):
                raise
        files.futimens(target, (stat.atime, stat.mtime))
