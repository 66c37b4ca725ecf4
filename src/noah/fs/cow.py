"""A copy of a tree that costs nothing until it is used: the files of a container, over those of its image.

A directory begins empty; a table says which of the image's it stands for. Whoever opens, moves or removes it first
fills it: its files are further names (hard links) of the image's own, its directories begin empty in turn. A file gets
an inode of its own before anything of it is changed. So paths are walked, directories listed and renamed, and owners
looked up as in any other tree (docs/decisions/0008); only what changes files asks first whose inode it is.

    IMAGE/rootfs, IMAGE/owners      the files, and who owns them (noah.fs.ownership) where the host cannot say it
    IMAGE/inodes                    which inodes are the image's (noah.fs.inodelist)
    CONTAINER/rootfs, /owners       the same of the copy
    CONTAINER/unfilled, /paths      directories that nobody has opened yet: how many names they have in the image; where
    CONTAINER/copies, /cow-lock     files that are being copied; held while a directory is filled or a file copied

All of this stands between a file system and the host's Files, so that nothing can go around it. Images are never opened
to be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, EBUSY, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    RENAME_EXCHANGE,
)
from noah.abi.stat import S_IFDIR, S_IFMT, S_IFREG
from noah.fs.cowcopies import NO_MORE_NAMES, TRIES, CowCopies
from noah.fs.owned import OwnedFiles
from noah.fs.ownership import CAPABILITY, Ownership
from noah.host.values import Stat

if TYPE_CHECKING:
    from noah.host.api import Host

_make: Final = tuple.__new__  # a NamedTuple's own ways cost several times as much


class CowFiles(CowCopies):
    """A noah.host.api.Files over another one. What is not said here is the other's."""

    # What the guest sees

    def is_lent(self, fd: int) -> bool:
        """Whether an open file is the image's."""
        return self._is_shared(self._raw.fstat(fd))

    def lend(self, dirfd: int, name: bytes, target: Host, newdirfd: int, new: bytes) -> bool:
        """Give a file that is the image's a name in the tree of another image, too. False: it must be copied."""
        stat = self._raw.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW)
        if not self._is_shared(stat):
            return False
        try:
            self._raw.linkat(dirfd, name, newdirfd, new)
        except LinuxError as error:
            if error.errno not in NO_MORE_NAMES:
                raise
            return False
        own = self._owners.get(stat.ino) if self._owners is not None else None
        if own is not None and isinstance(target.files, OwnedFiles):
            target.files.owners.set(stat.ino, own)
        return True

    def _shown(self, stat: Stat) -> Stat:
        """With as many names as the image says."""
        if stat.mode & S_IFMT == S_IFDIR:
            unfilled = self._unfilled.find(stat.ino)
            return stat if unfilled is None else stat._replace(nlink=unfilled[0])
        count = self._inodes.count(stat.ino) if stat.nlink > 1 else 0
        return _make(Stat, (*stat[:3], count, *stat[4:])) if count else stat

    def fstat(self, fd: int) -> Stat:
        return self._shown(self._inner.fstat(fd))

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        return self._shown(self._inner.fstatat(dirfd, path, flags))

    # Opening

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        if flags & O_TMPFILE == O_TMPFILE:
            return self._inner.openat(dirfd, path, flags, mode)
        changes = not flags & O_PATH and (flags & O_ACCMODE != O_RDONLY or bool(flags & O_TRUNC))
        if changes and self._owners is not None and self._owners.special & CAPABILITY:
            self._own_if_shared(dirfd, path)  # opening it would take capabilities away
        for _ in range(TRIES):
            # Nothing must be cut short before it is known whose it is.
            fd = self._inner.openat(dirfd, path, flags & ~O_TRUNC if changes else flags, mode)
            stat = self._raw.fstat(fd)
            kind = stat.mode & S_IFMT
            if kind == S_IFDIR:
                self._fill(fd, stat.ino)
                return fd
            if not changes:
                return fd
            if not self._is_shared(stat):
                if flags & O_TRUNC and kind == S_IFREG:
                    self._cut(fd, flags)
                return fd
            self._raw.close_quietly(fd)
            flags &= ~(O_CREAT | O_EXCL)
            self._own(dirfd, path, content=not flags & O_TRUNC)
        raise LinuxError(EBUSY)

    def _own_if_shared(self, dirfd: int, path: bytes) -> None:
        try:
            stat = self._raw.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW)
        except LinuxError:
            return  # the call itself says why
        if self._is_shared(stat):
            self._own(dirfd, path)

    def _cut(self, fd: int, flags: int) -> None:
        if flags & O_ACCMODE != O_RDONLY:
            self._raw.ftruncate(fd, 0)
            return
        writer = self._raw.reopen(fd, O_WRONLY)  # open(2) with O_RDONLY | O_TRUNC
        try:
            self._raw.ftruncate(writer, 0)
        finally:
            self._raw.close_quietly(writer)

    def openat2_in_root(self, rootfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
        try:
            fd = self._inner.openat2_in_root(rootfd, path, flags, mode, resolve)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
            raise LinuxError(ELOOP, "there may be an unfilled directory on the way") from None
        stat = self._raw.fstat(fd)
        if stat.mode & S_IFMT == S_IFDIR:
            self._fill(fd, stat.ino)
        return fd

    def reopen(self, fd: int, flags: int) -> int:
        if flags & O_ACCMODE == O_RDONLY and not flags & O_TRUNC:
            return self._inner.reopen(fd, flags)
        if not self.is_lent(fd):
            return self._inner.reopen(fd, flags)
        own = self._own_of(fd)
        try:
            return self._inner.reopen(own, flags)
        finally:
            self._raw.close_quietly(own)

    def truncateat(self, dirfd: int, path: bytes, length: int) -> None:
        fd = self.openat(dirfd, path, O_WRONLY | O_NONBLOCK)
        try:
            self._raw.ftruncate(fd, length)
        finally:
            self._raw.close_quietly(fd)

    # Changing what files are

    @contextmanager
    def _changing(self, dirfd: int, path: bytes, flags: int) -> Iterator[tuple[int, bytes, int]]:
        """What to give a call that changes a file: held by a descriptor, so that no other can take its place."""
        if flags & AT_EMPTY_PATH and not path:
            if not self._is_shared(self._raw.fstat(dirfd)):
                yield dirfd, path, flags
                return
            fd = self._own_of(dirfd)
        else:
            fd = self._hold(dirfd, path, flags)
        try:
            yield fd, b"", AT_EMPTY_PATH
        finally:
            self._raw.close_quietly(fd)

    def fchmod(self, fd: int, mode: int) -> None:
        if self.is_lent(fd):
            self.fchmodat(fd, b"", mode, AT_EMPTY_PATH)
        else:
            self._inner.fchmod(fd, mode)

    def fchmodat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        with self._changing(dirfd, path, flags) as (own, name, at_flags):
            self._inner.fchmodat(own, name, mode, at_flags)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        if self.is_lent(fd):
            self.fchownat(fd, b"", uid, gid, AT_EMPTY_PATH)
        else:
            self._inner.fchown(fd, uid, gid)

    def fchownat(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int = 0) -> None:
        with self._changing(dirfd, path, flags) as (own, name, at_flags):
            self._inner.fchownat(own, name, uid, gid, at_flags)

    def futimens(self, fd: int, times: tuple[int, int] | None) -> None:
        if self.is_lent(fd):
            self.utimensat(fd, b"", times, AT_EMPTY_PATH)
        else:
            self._inner.futimens(fd, times)

    def utimensat(self, dirfd: int, path: bytes, times: tuple[int, int] | None, flags: int = 0) -> None:
        with self._changing(dirfd, path, flags) as (own, name, at_flags):
            self._inner.utimensat(own, name, times, at_flags)

    def fsetxattr(self, fd: int, name: bytes, value: bytes, flags: int = 0) -> None:
        self.setxattrat(fd, b"", name, value, flags, AT_EMPTY_PATH)

    def setxattrat(self, dirfd: int, path: bytes, name: bytes, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        with self._changing(dirfd, path, at_flags) as (own, new, own_flags):
            self._inner.setxattrat(own, new, name, value, flags, own_flags)

    def fremovexattr(self, fd: int, name: bytes) -> None:
        self.removexattrat(fd, b"", name, AT_EMPTY_PATH)

    def removexattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> None:
        with self._changing(dirfd, path, flags) as (own, new, at_flags):
            self._inner.removexattrat(own, new, name, at_flags)

    # Names

    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        if flags & AT_EMPTY_PATH and not oldpath:
            with self._changing(olddirfd, oldpath, flags) as (own, name, at_flags):
                self._inner.linkat(own, name, newdirfd, newpath, at_flags)
            return
        self._own_if_shared(olddirfd, oldpath)  # else both names would part when one is written to
        self._inner.linkat(olddirfd, oldpath, newdirfd, newpath, flags)

    def unlinkat(self, dirfd: int, path: bytes, flags: int = 0) -> None:
        if flags & AT_REMOVEDIR:
            self._fill_name(dirfd, path)
        self._inner.unlinkat(dirfd, path, flags)

    def renameat2(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        if self._fill_name(olddirfd, oldpath) or flags & RENAME_EXCHANGE:
            self._fill_name(newdirfd, newpath)
        self._inner.renameat2(olddirfd, oldpath, newdirfd, newpath, flags)

    def _fill_name(self, dirfd: int, path: bytes) -> bool:
        """Before a directory is moved or removed: only what has been filled looks empty if it is. Whether it is one.

        No name comes to mean an unfilled directory later, so nobody can put one in the place of one that was looked at.
        """
        raw = self._raw
        try:
            stat = raw.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW)
            if stat.mode & S_IFMT != S_IFDIR:
                return False
            if self._unfilled.find(stat.ino) is not None:
                fd = raw.openat(dirfd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW)
                try:
                    self._fill(fd, raw.fstat(fd).ino)
                finally:
                    raw.close_quietly(fd)
        except LinuxError as error:
            if error.errno not in (ENOENT, ENOTDIR, ELOOP, EACCES, ENAMETOOLONG):
                raise
            return False  # the call itself says why
        return True


def files_of(host: Host, owners: bytes, copy: bytes = b"", image: bytes = b"") -> OwnedFiles | CowFiles | None:
    """The files of a tree: with owners from a table, if one is named, and as a copy of an image, if that is named.

    None: as the host has them. LinuxError.
    """
    if image:
        return CowFiles(host, image, copy, owners=bool(owners))
    return OwnedFiles(host, Ownership(host, owners)) if owners else None
