"""Files of a host tree as the guest's users see them, where the host user can neither give files away nor be another.

Stands between a file system and the host's Files: owners and modes come from noah.fs.ownership, permissions are checked
here, as Linux' generic_permission() does, against the guest's credentials. On the host all files belong to its user,
with at least rw for files and rwx for directories, and never with a set-user-ID bit.

The guest's root passes without a check: what it does costs no more host calls than without any of this.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from noah.abi.capability import CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD
from noah.abi.errno import EACCES, EEXIST, EINVAL, ELOOP, ENODATA, ENOENT, ENOTSUP, ENXIO, EOPNOTSUPP, EPERM, LinuxError
from noah.abi.fcntl import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
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
    X_OK,
)
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_ISVTX
from noah.fs.ownership import Override
from noah.host.values import TIME_NOW
from noah.vfs.credentials import Credentials

if TYPE_CHECKING:
    from noah.fs.ownership import Ownership
    from noah.host.api import Files, Host
    from noah.host.values import Stat

_ROOT: Final = Credentials(0, 0)
_NODES: Final = {
    0x103: b"/dev/null",
    0x105: b"/dev/zero",
    0x107: b"/dev/full",
    0x108: b"/dev/random",
    0x109: b"/dev/urandom",
    0x500: b"/dev/tty",
}
"""Devices that anybody may use; the host's own stand for them."""
_OWN_NAMES: Final = (b"security.", b"trusted.", b"system.")
_ACCESS: Final = b"system.posix_acl_access"
_ACL_HEAD: Final = struct.Struct("<I")
_ACL_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, id
_ACL_VERSION: Final = 2
_USER_OBJ, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_HIDDEN: Final = b"user.noah."


class Asker(Protocol):
    """Who asks: kernel.task.Process is one."""

    creds: Credentials


class OwnedFiles:
    """A noah.host.api.Files over another one. What is not said here is the other's."""

    def __init__(self, host: Host, owners: Ownership) -> None:
        self.host = host
        self.owners = owners
        self.asker: Asker | None = None
        """None: root."""
        inner: Any = host.files
        self._files: Files = host.files
        for name in dir(inner):
            if not name.startswith("_") and not hasattr(type(self), name):
                setattr(self, name, getattr(inner, name))

    def host_with(self) -> Host:
        """The host with these files."""
        return self.host._replace(files=cast("Files", self))

    @property
    def creds(self) -> Credentials:
        asker = self.asker
        return _ROOT if asker is None else asker.creds

    # What the guest sees

    def _shown(self, stat: Stat) -> Stat:
        own = self.owners.get(stat.ino)
        if own is None:
            return stat._replace(uid=0, gid=0)
        size = 0 if own.mode & S_IFMT in (S_IFCHR, S_IFBLK) else stat.size
        return stat._replace(uid=own.uid, gid=own.gid, mode=own.mode, rdev=own.rdev or stat.rdev, size=size)

    def fstat(self, fd: int) -> Stat:
        return self._shown(self._files.fstat(fd))

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        self._search(dirfd, path)
        return self._shown(self._files.fstatat(dirfd, path, flags))

    def readlinkat(self, dirfd: int, path: bytes) -> bytes:
        self._search(dirfd, path)
        return self._files.readlinkat(dirfd, path)

    def faccessat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        stat = self.fstatat(dirfd, path, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        creds = self.creds
        if not flags & AT_EACCESS and (creds.uid, creds.gid) != (creds.fsuid, creds.fsgid):
            creds = Credentials(creds.uid, creds.gid, creds.groups)  # access(2): what the real user may
        if not permits(creds, stat, mode):
            raise LinuxError(EACCES)

    # Permissions

    def _search(self, dirfd: int, path: bytes) -> None:
        """Whether a name may be looked up in a directory."""
        creds = self.creds
        if (
            path
            and dirfd != AT_FDCWD
            and not creds.capable(CAP_DAC_READ_SEARCH)
            and not permits(creds, self.fstat(dirfd), X_OK)
        ):
            raise LinuxError(EACCES)

    def _change(self, dirfd: int, path: bytes, *, removed: bool = False) -> None:
        """Whether a name may be made or removed in a directory."""
        creds = self.creds
        if creds.capable(CAP_DAC_OVERRIDE) or dirfd == AT_FDCWD:
            return
        directory = self.fstat(dirfd)
        if not permits(creds, directory, W_OK | X_OK):
            raise LinuxError(EACCES)
        if removed and directory.mode & S_ISVTX and not creds.capable(CAP_FOWNER):
            stat = self._shown(self._files.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW))
            if creds.fsuid not in (stat.uid, directory.uid):
                raise LinuxError(EPERM)

    def _owner(self, stat: Stat) -> None:
        """Whether the caller may do what only owners do."""
        creds = self.creds
        if creds.fsuid != stat.uid and not creds.capable(CAP_FOWNER):
            raise LinuxError(EPERM)

    # Opening

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        self._search(dirfd, path)
        if flags & O_PATH:
            return self._files.openat(dirfd, path, flags)
        if flags & O_TMPFILE == O_TMPFILE:
            self._change(dirfd, path)
            fd = self._files.openat(dirfd, path, flags, mode & 0o777 | 0o600)
            self._made(self._files.fstat(fd), mode, None)
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
        try:
            fd = self._files.openat(dirfd, path, flags | O_EXCL | O_NOFOLLOW, mode & 0o777 | 0o600)
        except LinuxError as error:
            if error.errno != EEXIST or flags & O_EXCL:
                raise
            return self._files.openat(dirfd, path, flags, mode & 0o777 | 0o600)  # a link to nowhere, or it just came
        self._made(self._files.fstat(fd), mode, dirfd)
        return fd

    def _existing(self, dirfd: int, path: bytes, flags: int) -> int:
        creds = self.creds
        wanted = _wanted(flags)
        if not creds.capable(CAP_DAC_OVERRIDE):
            at_flags = AT_SYMLINK_NOFOLLOW if flags & O_NOFOLLOW else 0
            stat = self._shown(self._files.fstatat(dirfd, path, at_flags))
            if stat.mode & S_IFMT != S_IFLNK and not permits(creds, stat, wanted):
                raise LinuxError(EACCES)
        if not self.owners.has_nodes:
            return self._files.openat(dirfd, path, flags)
        fd = self._files.openat(dirfd, path, flags & ~O_TRUNC)
        own = self.owners.get(self._files.fstat(fd).ino)
        if own is not None and own.mode & S_IFMT in (S_IFCHR, S_IFBLK):
            self._files.close_quietly(fd)
            return self._device(own, flags)
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
        if not permits(self.creds, stat, _wanted(flags)):
            raise LinuxError(EACCES)
        if stat.mode & S_IFMT in (S_IFCHR, S_IFBLK) and (own := self.owners.get(stat.ino)) is not None:
            return self._device(own, flags)
        return self._files.reopen(fd, flags)

    # New files

    def _made(self, stat: Stat, mode: int, dirfd: int | None) -> None:
        """Give a new file its owner: the caller, or the directory's group if it says so."""
        creds = self.creds
        gid = creds.fsgid
        if dirfd is not None and dirfd != AT_FDCWD:
            parent = self.owners.get(self._files.fstat(dirfd).ino)
            if parent is not None and parent.mode & S_ISGID:
                gid = parent.gid
                if mode & S_IFMT == S_IFDIR:
                    mode |= S_ISGID
        kind = mode & S_IFMT or stat.mode & S_IFMT
        self._note(stat, Override(creds.fsuid, gid, kind | mode & 0o7777, 0))

    def _note(self, stat: Stat, own: Override) -> None:
        """Keep what differs from what the host shows. stat: the host's."""
        if own == (0, 0, stat.mode, 0):
            self.owners.forget(stat.ino)
        else:
            self.owners.set(stat.ino, own)

    def mkdirat(self, dirfd: int, path: bytes, mode: int) -> None:
        self._change(dirfd, path)
        self._files.mkdirat(dirfd, path, mode & 0o777 | 0o700)
        self._made(self._files.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW), S_IFDIR | mode & 0o1777, dirfd)

    def symlinkat(self, target: bytes, newdirfd: int, linkpath: bytes) -> None:
        self._change(newdirfd, linkpath)
        self._files.symlinkat(target, newdirfd, linkpath)
        self._made(self._files.fstatat(newdirfd, linkpath, AT_SYMLINK_NOFOLLOW), S_IFLNK | 0o777, newdirfd)

    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None:
        self._change(dirfd, path)
        kind = mode & S_IFMT or S_IFREG
        if kind not in (S_IFCHR, S_IFBLK):
            self._files.mknodat(dirfd, path, kind | mode & 0o777 | 0o600)
            self._made(self._files.fstatat(dirfd, path, AT_SYMLINK_NOFOLLOW), kind | mode & 0o7777, dirfd)
            return
        creds = self.creds
        if not creds.capable(CAP_MKNOD):
            raise LinuxError(EPERM)
        fd = self._files.openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
        stat = self._files.fstat(fd)
        self._files.close_quietly(fd)
        self.owners.set(stat.ino, Override(creds.fsuid, creds.fsgid, kind | mode & 0o7777, dev))

    # Names

    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        self._search(olddirfd, oldpath)
        self._change(newdirfd, newpath)
        self._files.linkat(olddirfd, oldpath, newdirfd, newpath, flags)

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
        self._note(stat, Override(shown.uid, shown.gid, kind | mode & 0o7777, self._rdev(stat)))

    def _rdev(self, stat: Stat) -> int:
        own = self.owners.get(stat.ino)
        return own.rdev if own is not None else 0

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
        self._note(stat, Override(uid, gid, mode, self._rdev(stat)))

    def futimens(self, fd: int, times: tuple[int, int] | None) -> None:
        self._may_set_times(self.fstat(fd), times)
        self._files.futimens(fd, times)

    def utimensat(self, dirfd: int, path: bytes, times: tuple[int, int] | None, flags: int = 0) -> None:
        if not self.creds.capable(CAP_FOWNER):
            self._may_set_times(self.fstatat(dirfd, path, flags), times)
        self._files.utimensat(dirfd, path, times, flags)

    def _may_set_times(self, stat: Stat, times: tuple[int, int] | None) -> None:
        if times in (None, (TIME_NOW, TIME_NOW)) and permits(self.creds, stat, W_OK):
            return
        self._owner(stat)

    def truncateat(self, dirfd: int, path: bytes, length: int) -> None:
        if not permits(self.creds, self.fstatat(dirfd, path), W_OK):
            raise LinuxError(EACCES)
        self._files.truncateat(dirfd, path, length)

    # Extended attributes. Those that only root may set are kept under names of Noah's own.

    def getxattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> bytes:
        self._may_use(dirfd, path, name, flags, R_OK)
        return self._files.getxattrat(dirfd, path, _kept(name), flags)

    def setxattrat(self, dirfd: int, path: bytes, name: bytes, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        if name == _ACCESS:
            self._set_acl(dirfd, path, value, at_flags)
            return
        self._may_use(dirfd, path, name, at_flags, W_OK)
        self._files.setxattrat(dirfd, path, _kept(name), value, flags, at_flags)

    def _set_acl(self, dirfd: int, path: bytes, value: bytes, flags: int) -> None:
        """An access control list says what the mode is as well (acl(5)); only one that says more is kept."""
        mode, is_minimal = parse_acl(value)
        stat = self.fstatat(dirfd, path, flags)
        self._owner(stat)
        self._chmod(dirfd, path, stat.mode & 0o7000 | mode, flags)
        if not is_minimal:
            self._files.setxattrat(dirfd, path, _kept(_ACCESS), value, 0, flags)
            return
        try:
            self._files.removexattrat(dirfd, path, _kept(_ACCESS), flags)
        except LinuxError as error:
            if error.errno not in (ENODATA, ENOTSUP, EPERM):
                raise

    def removexattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> None:
        self._may_use(dirfd, path, name, flags, W_OK)
        self._files.removexattrat(dirfd, path, _kept(name), flags)

    def listxattrat(self, dirfd: int, path: bytes, flags: int = 0) -> list[bytes]:
        self._search(dirfd, path)
        return [name.removeprefix(_HIDDEN) for name in self._files.listxattrat(dirfd, path, flags)]

    def fgetxattr(self, fd: int, name: bytes) -> bytes:
        return self.getxattrat(fd, b"", name, AT_EMPTY_PATH)

    def fsetxattr(self, fd: int, name: bytes, value: bytes, flags: int = 0) -> None:
        self.setxattrat(fd, b"", name, value, flags, AT_EMPTY_PATH)

    def fremovexattr(self, fd: int, name: bytes) -> None:
        self.removexattrat(fd, b"", name, AT_EMPTY_PATH)

    def flistxattr(self, fd: int) -> list[bytes]:
        return self.listxattrat(fd, b"", AT_EMPTY_PATH)

    def _may_use(self, dirfd: int, path: bytes, name: bytes, flags: int, mode: int) -> None:
        """xattr_permission()."""
        if name.startswith(_HIDDEN):
            raise LinuxError(EPERM if mode & W_OK else ENODATA)
        creds = self.creds
        if name.startswith(b"system."):
            if mode & W_OK:
                self._owner(self.fstatat(dirfd, path, flags))
        elif name.startswith(_OWN_NAMES):
            if mode & W_OK and not creds.capable(CAP_FOWNER):
                raise LinuxError(EPERM)
        elif not creds.capable(CAP_DAC_OVERRIDE) and not permits(creds, self.fstatat(dirfd, path, flags), mode):
            raise LinuxError(EACCES)


def permits(creds: Credentials, stat: Stat, mode: int) -> bool:
    """generic_permission(). mode: R_OK, W_OK, X_OK."""
    if creds.capable(CAP_DAC_OVERRIDE):
        return not mode & X_OK or stat.mode & S_IFMT == S_IFDIR or bool(stat.mode & 0o111)
    if creds.fsuid == stat.uid:
        bits = stat.mode >> 6
    elif creds.in_group(stat.gid):
        bits = stat.mode >> 3
    else:
        bits = stat.mode
    if mode & ~bits & 7 == 0:
        return True
    is_directory = stat.mode & S_IFMT == S_IFDIR
    return creds.capable(CAP_DAC_READ_SEARCH) and not mode & W_OK and (is_directory or not mode & X_OK)


def parse_acl(value: bytes) -> tuple[int, bool]:
    """The permission bits of struct posix_acl_xattr_header and its entries, and whether they are all that it says.

    EINVAL, EOPNOTSUPP.
    """
    if len(value) < _ACL_HEAD.size or (len(value) - _ACL_HEAD.size) % _ACL_ENTRY.size:
        raise LinuxError(EINVAL)
    if _ACL_HEAD.unpack_from(value)[0] != _ACL_VERSION:
        raise LinuxError(EOPNOTSUPP)
    entries = list(_ACL_ENTRY.iter_unpack(value[_ACL_HEAD.size :]))
    bits = {tag: permissions & 7 for tag, permissions, _ in entries}
    if not {_USER_OBJ, _GROUP_OBJ, _OTHER} <= bits.keys() or (len(entries) > 3 and _MASK not in bits):
        raise LinuxError(EINVAL)
    return bits[_USER_OBJ] << 6 | bits.get(_MASK, bits[_GROUP_OBJ]) << 3 | bits[_OTHER], len(entries) == 3


def _wanted(flags: int) -> int:
    """R_OK and W_OK that open flags ask for."""
    access = flags & O_ACCMODE
    wanted = R_OK if access == O_RDONLY else W_OK if access == O_WRONLY else R_OK | W_OK
    return wanted | W_OK if flags & O_TRUNC else wanted


def _kept(name: bytes) -> bytes:
    return _HIDDEN + name if name.startswith(_OWN_NAMES) else name
