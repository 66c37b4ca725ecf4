"""A copy of a tree that costs nothing until it is used: the files of a container, over those of its image.

A directory begins empty; a table says which of the image's it stands for. Who opens it gets that one, and walks
through the image from there on (noah.fs.untouched). Before anything in it changes, or it is moved or removed, it is
filled: its files are further names (hard links) of the image's own, its directories begin empty in turn. A file gets an
inode of its own before anything of it is changed. So paths are walked, directories listed and renamed, and owners
looked up as in any other tree (docs/decisions/0008); only what changes something asks first whose inode it is.

    IMAGE/rootfs, IMAGE/owners      the files, and who owns them (noah.fs.ownership) where the host cannot say it
    IMAGE/inodes                    which inodes are the image's (noah.fs.inodelist)
    CONTAINER/rootfs, /owners       the same of the copy
    CONTAINER/standins, /paths      which directory stands for which of the image's (noah.fs.standins); where that is
    CONTAINER/copies, /cow-lock     files that are being copied; held while a directory is filled or a file copied

All of this stands between a file system and the host's Files, so that nothing can go around it. Images are never opened
to be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, EBUSY, EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, LinuxError
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
    RESOLVE_NO_SYMLINKS,
)
from noah.abi.stat import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from noah.fs.cowcopies import NO_MORE_NAMES, TRIES
from noah.fs.owned import OwnedFiles
from noah.fs.ownership import CAPABILITY, Ownership
from noah.fs.untouched import Untouched
from noah.host.values import Stat

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Statx

_ENTERING: Final = O_PATH | O_DIRECTORY
_make: Final = tuple.__new__  # a NamedTuple's own ways cost several times as much


class CowFiles(Untouched):
    """A noah.host.api.Files over another one. What is not said here is the other's."""

    # What the guest sees

    def is_lent(self, fd: int) -> bool:
        """Whether an open file is the image's."""
        stat = self._raw.fstat(fd)
        return stat.mode & S_IFMT != S_IFDIR and stat.ino in self._inodes

    def lend(self, dirfd: int, name: bytes, target: Host, newdirfd: int, new: bytes) -> bool:
        """Give a file that is the image's a name in the tree of another image, too. False: it must be copied."""
        dirfd = self._now(dirfd)
        stat = self._raw.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW)
        if stat.ino not in self._inodes:
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
        """With as many names as the image says; a directory keeps the image's inode number."""
        if stat.mode & S_IFMT == S_IFDIR:
            stand_in = self._stand_ins.get(stat.ino)
            if stand_in is None:
                return stat
            return stat._replace(ino=stand_in.image, nlink=stand_in.names or stat.nlink)
        count = self._inodes.count(stat.ino) if stat.nlink > 1 else 0
        return _make(Stat, (*stat[:3], count, *stat[4:])) if count else stat

    def fstat(self, fd: int) -> Stat:
        return self._shown(self._inner.fstat(self._now(fd)))

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        return self._shown(self._inner.fstatat(self._now(dirfd), path, flags))

    def statx(self, dirfd: int, path: bytes, flags: int, mask: int) -> Statx:
        return self._inner.statx(self._now(dirfd), path, flags, mask)

    def faccessat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        self._inner.faccessat(self._now(dirfd), path, mode, flags)

    def readlinkat(self, dirfd: int, path: bytes) -> bytes:
        return self._inner.readlinkat(self._now(dirfd), path)

    def fgetxattr(self, fd: int, name: bytes) -> bytes:
        return self._inner.fgetxattr(self._now(fd), name)

    def flistxattr(self, fd: int) -> list[bytes]:
        return self._inner.flistxattr(self._now(fd))

    def getxattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> bytes:
        return self._inner.getxattrat(self._now(dirfd), path, name, flags)

    def listxattrat(self, dirfd: int, path: bytes, flags: int = 0) -> list[bytes]:
        return self._inner.listxattrat(self._now(dirfd), path, flags)

    # Opening

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        if flags & O_TMPFILE == O_TMPFILE:
            return self._inner.openat(self._mine(dirfd), path, flags, mode)
        changes = not flags & O_PATH and (flags & O_ACCMODE != O_RDONLY or bool(flags & O_TRUNC))
        dirfd = self._now(dirfd)
        at = None
        if dirfd in self._filled:
            if flags & _ENTERING == _ENTERING and (fd := self._short(dirfd, path, flags)) >= 0:
                return fd
        elif self._untouched:
            at = self._untouched.get(dirfd)
            if at is not None:
                if path == b"..":
                    return self._above(dirfd, at, flags)
                if changes or flags & O_CREAT or b"/" in path or self._is_link(dirfd, path, flags):
                    dirfd, at = self._mine(dirfd), None
        if changes and self._owners is not None and self._owners.special & CAPABILITY:
            self._own_if_shared(dirfd, path)  # opening it would take capabilities away
        for _ in range(TRIES):
            # Nothing must be cut short before it is known whose it is.
            fd = self._inner.openat(dirfd, path, flags & ~O_TRUNC if changes else flags, mode)
            kind = S_IFDIR
            if at is None or not flags & O_DIRECTORY:
                stat = self._raw.fstat(fd)
                kind = stat.mode & S_IFMT
            if kind == S_IFDIR:
                if at is None:
                    return self._enter(fd, stat.ino, flags)
                self._note(fd, at if path == b"." else at + b"/" + path)
                return fd
            if at is not None and kind == S_IFIFO and not flags & O_PATH:
                self._raw.close_quietly(fd)  # who opens one meets others there: the copy needs its own
                dirfd, at = self._mine(dirfd), None
                continue
            self._forget(fd)
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

    def _is_link(self, dirfd: int, path: bytes, flags: int) -> bool:
        """Whether to open this leads elsewhere."""
        if flags & O_NOFOLLOW:
            return False
        return self._raw.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW).mode & S_IFMT == S_IFLNK

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
        rootfd = self._now(rootfd)
        at = self._untouched.get(rootfd)
        enters = resolve & RESOLVE_NO_SYMLINKS and flags & _ENTERING == _ENTERING
        if not enters:
            rootfd, at = self._mine(rootfd), None
        elif rootfd in self._filled and (fd := self._short(rootfd, path, flags, resolve)) >= 0:
            return fd
        try:
            fd = self._inner.openat2_in_root(rootfd, path, flags, mode, resolve)
        except LinuxError as error:
            if error.errno != ENOENT or at is not None:
                raise
            if enters and rootfd in self._filled:  # the host has checked the way to where the copy ends
                fd = self._step(rootfd, path, flags, resolve)
                if fd >= 0:
                    return fd
            raise LinuxError(ELOOP, "there may be an unfilled directory on the way") from None
        if at is not None:
            self._note(fd, at + b"/" + path)
            return fd
        stat = self._raw.fstat(fd)
        return self._enter(fd, stat.ino, flags) if stat.mode & S_IFMT == S_IFDIR else fd

    def reopen(self, fd: int, flags: int) -> int:
        fd = self._now(fd)
        if flags & O_ACCMODE == O_RDONLY and not flags & O_TRUNC:
            new = self._inner.reopen(fd, flags)
            path = self._untouched.get(fd)
            if path is not None:
                self._note(new, path)
            return new
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
        dirfd = self._mine(dirfd)
        if flags & AT_EMPTY_PATH and not path:
            if not self.is_lent(dirfd):
                yield dirfd, path, flags
                return
            fd = self._own_of(dirfd)
        else:
            fd = self._hold(dirfd, path, flags)
        try:
            yield fd, b"", AT_EMPTY_PATH
        finally:
            self._raw.close_quietly(fd)

    def _hold(self, dirfd: int, path: bytes, flags: int) -> int:
        """A descriptor (O_PATH) of a file of the copy's own. dirfd: the copy's."""
        nofollow = O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
        for _ in range(TRIES):
            fd = self._inner.openat(dirfd, path, O_PATH | nofollow)
            stat = self._raw.fstat(fd)
            if stat.mode & S_IFMT == S_IFDIR:
                self._fill(fd, stat.ino)  # what is not filled is as the image's
                return fd
            if not self._is_shared(stat):
                return fd
            self._raw.close_quietly(fd)
            self._own(dirfd, path)
        raise LinuxError(EBUSY)

    def _own_of(self, fd: int) -> int:
        """A descriptor (O_PATH) of the guest's own file for one of the image's that it has opened."""
        path = self._path_inside(fd)
        if path is None:
            raise LinuxError(EPERM, "the host does not say where the file is")
        head, _, name = path.rpartition(b"/")
        with self._as_host_user():
            directory = self._fill_way(head)
            try:
                return self._hold(directory, name, AT_SYMLINK_NOFOLLOW)
            finally:
                self._raw.close_quietly(directory)

    def fchmod(self, fd: int, mode: int) -> None:
        fd = self._mine(fd)
        if self.is_lent(fd):
            self.fchmodat(fd, b"", mode, AT_EMPTY_PATH)
        else:
            self._inner.fchmod(fd, mode)

    def fchmodat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        with self._changing(dirfd, path, flags) as (own, name, at_flags):
            self._inner.fchmodat(own, name, mode, at_flags)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        fd = self._mine(fd)
        if self.is_lent(fd):
            self.fchownat(fd, b"", uid, gid, AT_EMPTY_PATH)
        else:
            self._inner.fchown(fd, uid, gid)

    def fchownat(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int = 0) -> None:
        with self._changing(dirfd, path, flags) as (own, name, at_flags):
            self._inner.fchownat(own, name, uid, gid, at_flags)

    def futimens(self, fd: int, times: tuple[int, int] | None) -> None:
        fd = self._mine(fd)
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

    def _missing(self, dirfd: int, path: bytes, *, wanted: bool) -> int:
        """The directory of a name to be made, or, if wanted, to be taken away: LinuxError where that cannot be, before
        anything is filled for it."""
        if self._untouched.get(self._now(dirfd)) is not None:
            try:
                self._raw.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW)
            except LinuxError:
                if wanted:
                    raise
            else:
                if not wanted:
                    raise LinuxError(EEXIST)
        return self._mine(dirfd)

    def umask(self, mask: int) -> int:
        return self._inner.umask(mask)

    def mkdirat(self, dirfd: int, path: bytes, mode: int) -> None:
        self._inner.mkdirat(self._missing(dirfd, path, wanted=False), path, mode)

    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None:
        self._inner.mknodat(self._missing(dirfd, path, wanted=False), path, mode, dev)

    def symlinkat(self, target: bytes, newdirfd: int, linkpath: bytes) -> None:
        self._inner.symlinkat(target, self._missing(newdirfd, linkpath, wanted=False), linkpath)

    def adopt(self, dirfd: int, path: bytes, mode: int) -> None:
        self._inner.adopt(self._mine(dirfd), path, mode)

    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        if flags & AT_EMPTY_PATH and not oldpath:
            with self._changing(olddirfd, oldpath, flags) as (own, name, at_flags):
                self._inner.linkat(own, name, self._mine(newdirfd), newpath, at_flags)
            return
        olddirfd = self._missing(olddirfd, oldpath, wanted=True)
        self._own_if_shared(olddirfd, oldpath)  # else both names would part when one is written to
        self._inner.linkat(olddirfd, oldpath, self._mine(newdirfd), newpath, flags)

    def unlinkat(self, dirfd: int, path: bytes, flags: int = 0) -> None:
        dirfd = self._missing(dirfd, path, wanted=True)
        if not flags & AT_REMOVEDIR:
            self._inner.unlinkat(dirfd, path, flags)
            return
        inode = self._fill_name(dirfd, path)
        self._inner.unlinkat(dirfd, path, flags)
        self._stand_ins.forget_directory(inode)

    def renameat2(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        olddirfd = self._missing(olddirfd, oldpath, wanted=True)
        newdirfd = self._mine(newdirfd)
        inode = self._fill_name(olddirfd, oldpath, below=True)
        other = 0
        if inode or flags & RENAME_EXCHANGE:
            other = self._fill_name(newdirfd, newpath, below=bool(flags & RENAME_EXCHANGE))
        self._inner.renameat2(olddirfd, oldpath, newdirfd, newpath, flags)
        if other and other != inode and not flags & RENAME_EXCHANGE:
            self._stand_ins.forget_directory(other)

    def _fill_name(self, dirfd: int, path: bytes, *, below: bool = False) -> int:
        """Before a directory is moved or removed: only what has been filled looks empty if it is. Its inode number; 0
        if it is none. below: with all in it.

        No name comes to mean an unfilled directory later, so nobody can put one in the place of one that was looked at.
        """
        raw = self._raw
        try:
            stat = raw.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW)
            if stat.mode & S_IFMT != S_IFDIR:
                return 0
            if below or self._stand_ins.unfilled(stat.ino) is not None:
                fd = raw.openat(dirfd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW)
                try:
                    if below:
                        self._fill_below(fd)
                    else:
                        self._fill(fd, raw.fstat(fd).ino)
                finally:
                    raw.close_quietly(fd)
        except LinuxError as error:
            if error.errno not in (ENOENT, ENOTDIR, ELOOP, EACCES, ENAMETOOLONG):
                raise
            return 0  # the call itself says why
        return stat.ino


def files_of(host: Host, owners: bytes, copy: bytes = b"", image: bytes = b"") -> OwnedFiles | CowFiles | None:
    """The files of a tree: with owners from a table, if one is named, and as a copy of an image, if that is named.

    None: as the host has them. LinuxError.
    """
    if image:
        return CowFiles(host, image, copy, owners=bool(owners))
    return OwnedFiles(host, Ownership(host, owners)) if owners else None
