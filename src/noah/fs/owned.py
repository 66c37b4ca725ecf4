"""Files of a host tree as the guest's users see them, where the host user can neither give files away nor be another.

Stands between a file system and the host's Files: owners and modes come from noah.fs.ownership, permissions are checked
here, as Linux' generic_permission() does, against the guest's credentials. On the host all files belong to its user,
with at least rw for files and rwx for directories, and never with a set-user-ID bit.

The guest's root passes without a check: what it does costs no more host calls than without any of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD
from noah.abi.errno import EACCES, EEXIST, ELOOP, ENOENT, ENXIO, EPERM, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    O_ACCMODE,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    R_OK,
    W_OK,
)
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP
from noah.fs import acl
from noah.fs.ownedattr import OwnedAttributes
from noah.fs.ownership import ACCESS_LIST, CAPABILITY, DEFAULT_LIST, NODE, Override
from noah.host.values import TIME_NOW

if TYPE_CHECKING:
    from noah.host.values import Stat

_NODES: Final = {
    0x103: b"/dev/null",
    0x105: b"/dev/zero",
    0x107: b"/dev/full",
    0x108: b"/dev/random",
    0x109: b"/dev/urandom",
    0x500: b"/dev/tty",
}
"""Devices that anybody may use; the host's own stand for them."""


class OwnedFiles(OwnedAttributes):
    """A noah.host.api.Files over another one. What is not said here is the other's."""

    keeps_owners = True

    def readlinkat(self, dirfd: int, path: bytes) -> bytes:
        self._search(dirfd, path)
        return self._files.readlinkat(dirfd, path)

    # Opening

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        self._search(dirfd, path)
        if flags & O_PATH:
            return self._files.openat(dirfd, path, flags)
        if flags & O_TMPFILE == O_TMPFILE:
            self._change(dirfd, path)
            mode &= ~self._umask
            fd = self._files.openat(dirfd, path, flags, mode & 0o777 | 0o600)
            self._made(self._files.fstat(fd), mode, self._files.fstatat(dirfd, path))
            return fd
        if not flags & O_CREAT:
            return self._existing(dirfd, path, flags)
        if not flags & O_EXCL:
            try:
                return self._existing(dirfd, path, flags & ~O_CREAT)
            except LinuxError as error:
                if error.errno != ENOENT:
                    raise
        self._change(dirfd, path)
        masked = mode & ~self._umask
        try:
            fd = self._files.openat(dirfd, path, flags | O_EXCL | O_NOFOLLOW, masked & 0o777 | 0o600)
        except LinuxError as error:
            if error.errno != EEXIST or flags & O_EXCL:
                raise
            return self._files.openat(dirfd, path, flags, masked & 0o777 | 0o600)  # a link to nowhere, or it just came
        self._made_in(dirfd, self._files.fstat(fd), masked)
        self._inherit(fd, b"", AT_EMPTY_PATH, dirfd, mode)
        return fd

    def _existing(self, dirfd: int, path: bytes, flags: int) -> int:
        creds = self.creds
        wanted = _wanted(flags)
        if not creds.capable(CAP_DAC_OVERRIDE):
            at_flags = AT_SYMLINK_NOFOLLOW if flags & O_NOFOLLOW else 0
            stat = self._shown(self._files.fstatat(dirfd, path, at_flags))
            if stat.mode & S_IFMT != S_IFLNK and not self._permits(creds, stat, wanted, dirfd, path, at_flags):
                raise LinuxError(EACCES)
        if not self.owners.special & (NODE | CAPABILITY if wanted & W_OK else NODE):
            return self._files.openat(dirfd, path, flags)
        fd = self._files.openat(dirfd, path, flags & ~O_TRUNC)
        own = self.owners.get(self._files.fstat(fd).ino)
        if own is not None:
            if own.mode & S_IFMT in (S_IFCHR, S_IFBLK):
                self._files.close_quietly(fd)
                return self._device(own, flags)
            if wanted & W_OK and own.attributes & CAPABILITY:
                self._drop(CAPABILITY, fd, b"", AT_EMPTY_PATH)  # writing takes them away: cap_inode_killpriv()
        if flags & O_TRUNC and flags & O_ACCMODE != O_RDONLY:
            self._files.ftruncate(fd, 0)
        return fd

    def _device(self, own: Override, flags: int) -> int:
        node = _NODES.get(own.rdev) if own.mode & S_IFMT == S_IFCHR else None
        if node is None:
            raise LinuxError(ENXIO, "only the usual devices can be opened")
        return self._files.openat(AT_FDCWD, node, flags & ~(O_NOFOLLOW | O_TRUNC | O_CREAT))

    def openat2_in_root(self, rootfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
        if not self.creds.capable(CAP_DAC_READ_SEARCH):
            raise LinuxError(ELOOP, "each directory on the way must be searched")
        return self._files.openat2_in_root(rootfd, path, flags, mode, resolve)

    def reopen(self, fd: int, flags: int) -> int:
        stat = self.fstat(fd)
        if not self._permits(self.creds, stat, _wanted(flags), fd):
            raise LinuxError(EACCES)
        if stat.mode & S_IFMT in (S_IFCHR, S_IFBLK) and (own := self.owners.get(stat.ino)) is not None:
            return self._device(own, flags)
        return self._files.reopen(fd, flags)

    # New files

    def umask(self, mask: int) -> int:
        old, self._umask = self._umask, mask
        return old

    def _made_in(self, dirfd: int, stat: Stat, mode: int) -> None:
        """As _made(), by the directory's descriptor."""
        self._made(stat, mode, None if dirfd == AT_FDCWD else self._files.fstat(dirfd))

    def _made(self, stat: Stat, mode: int, directory: Stat | None) -> None:
        """Give a new file its owner: the caller, or the directory's group if it says so."""
        creds = self.creds
        gid = creds.fsgid
        parent = None if directory is None else self.owners.get(directory.ino)
        if parent is not None and parent.mode & S_ISGID:
            gid = parent.gid
            if mode & S_IFMT == S_IFDIR:
                mode |= S_ISGID
        kind = mode & S_IFMT or stat.mode & S_IFMT
        self._note(stat, Override(creds.fsuid, gid, kind | mode & 0o7777))

    def _inherit(self, dirfd: int, path: bytes, flags: int, parent: int, mode: int) -> None:
        """Give a new file or directory the access control lists that its directory says: posix_acl_create(). mode: as
        it was asked for. Others get none: the host keeps no attributes of users for them (xattr(7))."""
        if not self.owners.special & DEFAULT_LIST or parent == AT_FDCWD:
            return
        own = self.owners.get(self._files.fstat(parent).ino)
        if own is None or not own.attributes & DEFAULT_LIST:
            return
        entries = self._list(DEFAULT_LIST, parent, b"", AT_EMPTY_PATH)
        if not entries:
            return
        stat = self.fstatat(dirfd, path, flags)
        own = self._override(stat)
        attributes = 0
        if own.mode & S_IFMT == S_IFDIR:
            self._keep_list(DEFAULT_LIST, entries, dirfd, path, flags)
            attributes |= DEFAULT_LIST
        entries = acl.masked(entries, mode)
        if not acl.is_minimal(entries):
            self._keep_list(ACCESS_LIST, entries, dirfd, path, flags)
            attributes |= ACCESS_LIST
        self._note(stat, own._replace(mode=own.mode & ~0o777 | acl.mode_of(entries), attributes=attributes))

    def mkdirat(self, dirfd: int, path: bytes, mode: int) -> None:
        self._change(dirfd, path)
        masked = mode & ~self._umask
        self._files.mkdirat(dirfd, path, masked & 0o777 | 0o700)
        self._made_in(dirfd, self._files.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW), S_IFDIR | masked & 0o1777)
        self._inherit(dirfd, path, AT_SYMLINK_NOFOLLOW, dirfd, mode)

    def symlinkat(self, target: bytes, newdirfd: int, linkpath: bytes) -> None:
        self._change(newdirfd, linkpath)
        self._files.symlinkat(target, newdirfd, linkpath)
        self._made_in(newdirfd, self._files.fstatat(newdirfd, linkpath, AT_SYMLINK_NOFOLLOW), S_IFLNK | 0o777)

    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None:
        self._change(dirfd, path)
        kind = mode & S_IFMT or S_IFREG
        masked = mode & ~self._umask
        if kind not in (S_IFCHR, S_IFBLK):
            self._files.mknodat(dirfd, path, kind | masked & 0o777 | 0o600)
            self._made_in(dirfd, self._files.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW), kind | masked & 0o7777)
            if kind == S_IFREG:
                self._inherit(dirfd, path, AT_SYMLINK_NOFOLLOW, dirfd, mode)
            return
        creds = self.creds
        if not creds.capable(CAP_MKNOD):
            raise LinuxError(EPERM)
        fd = self._files.openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
        stat = self._files.fstat(fd)
        self._files.close_quietly(fd)
        self.owners.set(stat.ino, Override(creds.fsuid, creds.fsgid, kind | masked & 0o7777, dev))

    def adopt(self, dirfd: int, path: bytes, mode: int) -> None:
        self._files.fchmodat(dirfd, path, mode & 0o777 | 0o600)
        self._made_in(dirfd, self._files.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW), mode)

    # Names

    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        self._search(olddirfd, oldpath)
        self._may_link(olddirfd, oldpath, flags)
        self._change(newdirfd, newpath)
        self._files.linkat(olddirfd, oldpath, newdirfd, newpath, flags)

    def _may_link(self, dirfd: int, path: bytes, flags: int) -> None:
        """may_linkat() with fs.protected_hardlinks: only to what one owns, or could read and write as it is."""
        creds = self.creds
        if creds.capable(CAP_FOWNER):
            return
        at_flags = flags & AT_EMPTY_PATH if flags & (AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) else AT_SYMLINK_NOFOLLOW
        stat = self._shown(self._files.fstatat(dirfd, path, at_flags))
        mode = stat.mode
        is_safe = mode & S_IFMT == S_IFREG and not mode & S_ISUID and mode & (S_ISGID | S_IXGRP) != S_ISGID | S_IXGRP
        if creds.fsuid != stat.uid and not (is_safe and self._permits(creds, stat, R_OK | W_OK, dirfd, path, at_flags)):
            raise LinuxError(EPERM)

    def unlinkat(self, dirfd: int, path: bytes, flags: int = 0) -> None:
        self._change(dirfd, path, removed=True)
        self._files.unlinkat(dirfd, path, flags)

    def renameat2(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        self._change(olddirfd, oldpath, removed=True)
        try:
            self._change(newdirfd, newpath, removed=True)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
        self._files.renameat2(olddirfd, oldpath, newdirfd, newpath, flags)

    # Changing what files are

    def fchmod(self, fd: int, mode: int) -> None:
        self._chmod(fd, b"", mode, AT_EMPTY_PATH)

    def fchmodat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        self._search(dirfd, path)
        self._chmod(dirfd, path, mode, flags)

    def _chmod(self, dirfd: int, path: bytes, mode: int, flags: int) -> None:
        stat = self._files.fstatat(dirfd, path, flags)
        shown = self._shown(stat)
        self._owner(shown)
        creds = self.creds
        if mode & S_ISGID and not creds.in_group(shown.gid) and not creds.capable(CAP_FSETID):
            mode &= ~S_ISGID
        kind = shown.mode & S_IFMT
        if kind not in (S_IFCHR, S_IFBLK):
            self._files.fchmodat(dirfd, path, mode & 0o777 | (0o700 if kind == S_IFDIR else 0o600), flags)
            stat = self._files.fstatat(dirfd, path, flags)
        own = self._override(shown)
        if own.attributes & ACCESS_LIST and (entries := self._list(ACCESS_LIST, dirfd, path, flags)):
            self._keep_list(ACCESS_LIST, acl.with_mode(entries, mode), dirfd, path, flags)
        self._note(stat, own._replace(mode=kind | mode & 0o7777))

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        self._chown(fd, b"", uid, gid, AT_EMPTY_PATH)

    def fchownat(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int = 0) -> None:
        self._search(dirfd, path)
        self._chown(dirfd, path, uid, gid, flags)

    def _chown(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int) -> None:
        stat = self._files.fstatat(dirfd, path, flags)
        shown = self._shown(stat)
        uid = shown.uid if uid == -1 else uid
        gid = shown.gid if gid == -1 else gid
        creds = self.creds
        if not creds.capable(CAP_CHOWN) and (
            creds.fsuid != shown.uid or uid != shown.uid or (gid != shown.gid and not creds.in_group(gid))
        ):
            raise LinuxError(EPERM)
        mode = shown.mode
        if mode & S_IFMT == S_IFREG:  # chown_common(): ATTR_KILL_SUID, ATTR_KILL_SGID
            mode &= ~(S_ISUID | (S_ISGID if mode & 0o010 else 0))
        own = self._override(stat)._replace(uid=uid, gid=gid, mode=mode)
        self._note(stat, own)
        if own.attributes & CAPABILITY:
            self._drop(CAPABILITY, dirfd, path, flags)

    def futimens(self, fd: int, times: tuple[int, int] | None) -> None:
        self._may_set_times(self.fstat(fd), times, fd)
        self._files.futimens(fd, times)

    def utimensat(self, dirfd: int, path: bytes, times: tuple[int, int] | None, flags: int = 0) -> None:
        if not self.creds.capable(CAP_FOWNER):
            self._may_set_times(self.fstatat(dirfd, path, flags), times, dirfd, path, flags)
        self._files.utimensat(dirfd, path, times, flags)

    def _may_set_times(
        self, stat: Stat, times: tuple[int, int] | None, dirfd: int, path: bytes = b"", flags: int = 0
    ) -> None:
        if times in (None, (TIME_NOW, TIME_NOW)) and self._permits(self.creds, stat, W_OK, dirfd, path, flags):
            return
        self._owner(stat)

    def truncateat(self, dirfd: int, path: bytes, length: int) -> None:
        stat = self.fstatat(dirfd, path)
        if not self._permits(self.creds, stat, W_OK, dirfd, path):
            raise LinuxError(EACCES)
        if self._override(stat).attributes & CAPABILITY:
            self._drop(CAPABILITY, dirfd, path, 0)
        self._files.truncateat(dirfd, path, length)


def are_owned(files: object) -> bool:
    """Whether owners, modes and devices of a host's files are kept beside them."""
    return bool(getattr(files, "keeps_owners", False))


def _wanted(flags: int) -> int:
    """R_OK and W_OK that open flags ask for."""
    access = flags & O_ACCMODE
    wanted = R_OK if access == O_RDONLY else W_OK if access == O_WRONLY else R_OK | W_OK
    return wanted | W_OK if flags & O_TRUNC else wanted
