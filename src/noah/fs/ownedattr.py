"""What the guest's users see of files and what they may do with them: the base of noah.fs.owned.

Owners, modes and the presence of attributes that decide over permissions come from noah.fs.ownership; the attributes
themselves are the host file's, those that only the host's root may set under names of Noah's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from noah.abi.capability import (
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_SETFCAP,
    CAP_SYS_ADMIN,
    VFS_CAP_REVISION_2,
    VFS_CAP_REVISION_3,
    VFS_CAP_REVISION_MASK,
)
from noah.abi.errno import EACCES, EINVAL, ENODATA, ENOTSUP, EPERM, LinuxError
from noah.abi.fcntl import AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, R_OK, W_OK, X_OK
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_ISVTX
from noah.fs import acl
from noah.fs.ownership import ACCESS_LIST, CAPABILITY, DEFAULT_LIST, Override
from noah.host.values import Stat
from noah.vfs.credentials import Credentials

if TYPE_CHECKING:
    from noah.fs.ownership import Ownership
    from noah.host.api import Files, Host

_make: Final = tuple.__new__  # a NamedTuple's own ways cost several times as much
_ROOT: Final = Credentials(0, 0)
_OWN_NAMES: Final = (b"security.", b"trusted.", b"system.")
_HIDDEN: Final = b"user.noah."
_CAPABILITY: Final = b"security.capability"
_LISTS: Final = {b"system.posix_acl_access": ACCESS_LIST, b"system.posix_acl_default": DEFAULT_LIST}
_LIST_NAMES: Final = {kind: name for name, kind in _LISTS.items()}
_CAPABILITY_SIZES: Final = {20: VFS_CAP_REVISION_2, 24: VFS_CAP_REVISION_3}


class Asker(Protocol):
    """Who asks: kernel.task.Process is one."""

    creds: Credentials


class OwnedAttributes(ABC):
    """A part of a noah.host.api.Files over another one."""

    def __init__(self, host: Host, owners: Ownership) -> None:
        self.host = host
        self.owners = owners
        self.asker: Asker | None = None
        """None: root."""
        self._umask = 0
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
            return _make(Stat, (*stat[:4], 0, 0, *stat[6:]))
        size = 0 if own.mode & S_IFMT in (S_IFCHR, S_IFBLK) else stat.size
        return stat._replace(uid=own.uid, gid=own.gid, mode=own.mode, rdev=own.rdev or stat.rdev, size=size)

    def _override(self, stat: Stat) -> Override:
        """What there is to be changed and kept again. stat: the host's, or as it is shown."""
        return self.owners.get(stat.ino) or Override(0, 0, stat.mode)

    def _note(self, stat: Stat, own: Override) -> None:
        """Keep what differs from what the host shows. stat: the host's."""
        if own == (0, 0, stat.mode, 0, 0):
            self.owners.forget(stat.ino)
        else:
            self.owners.set(stat.ino, own)

    def fstat(self, fd: int) -> Stat:
        return self._shown(self._files.fstat(fd))

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        self._search(dirfd, path)
        return self._shown(self._files.fstatat(dirfd, path, flags))

    # Permissions

    def _permits(
        self, creds: Credentials, stat: Stat, mode: int, dirfd: int, path: bytes = b"", flags: int = 0
    ) -> bool:
        """acl_permission_check() and generic_permission(). stat: as it is shown, of what the rest names."""
        if (
            self.owners.special & ACCESS_LIST
            and creds.fsuid != stat.uid
            and stat.mode & 0o070
            and self._override(stat).attributes & ACCESS_LIST
        ):
            entries = self._list(ACCESS_LIST, dirfd, path, flags if path else AT_EMPTY_PATH)
            if entries:
                return acl.permits(entries, creds, stat.gid, mode) or by_capability(creds, stat, mode)
        return permits(creds, stat, mode)

    def _list(self, kind: int, dirfd: int, path: bytes, flags: int) -> list[acl.Entry]:
        """The access control list of a file."""
        try:
            return acl.parse(self._files.getxattrat(dirfd, path, _kept(_LIST_NAMES[kind]), flags))
        except LinuxError:
            return []

    def _keep_list(self, kind: int, entries: list[acl.Entry], dirfd: int, path: bytes, flags: int) -> None:
        self._files.setxattrat(dirfd, path, _kept(_LIST_NAMES[kind]), acl.pack(entries), 0, flags)

    def faccessat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        at_flags = flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
        stat = self.fstatat(dirfd, path, at_flags)
        creds = self.creds
        if not flags & AT_EACCESS and (creds.uid, creds.gid) != (creds.fsuid, creds.fsgid):
            creds = Credentials(creds.uid, creds.gid, creds.groups)  # access(2): what the real user may
        if not self._permits(creds, stat, mode, dirfd, path, at_flags):
            raise LinuxError(EACCES)

    def _search(self, dirfd: int, path: bytes) -> None:
        """Whether a name may be looked up in a directory."""
        creds = self.creds
        if (
            path
            and dirfd != AT_FDCWD
            and not creds.capable(CAP_DAC_READ_SEARCH)
            and not self._permits(creds, self.fstat(dirfd), X_OK, dirfd)
        ):
            raise LinuxError(EACCES)

    def _change(self, dirfd: int, path: bytes, *, removed: bool = False) -> None:
        """Whether a name may be made or removed in a directory."""
        creds = self.creds
        if creds.capable(CAP_DAC_OVERRIDE) or dirfd == AT_FDCWD:
            return
        directory = self.fstat(dirfd)
        if not self._permits(creds, directory, W_OK | X_OK, dirfd):
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

    # Extended attributes

    def getxattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> bytes:
        if name == _CAPABILITY and not self.owners.special & CAPABILITY:
            raise LinuxError(ENODATA)
        self._may_use(dirfd, path, name, flags, R_OK)
        return self._files.getxattrat(dirfd, path, _kept(name), flags)

    def setxattrat(self, dirfd: int, path: bytes, name: bytes, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        kind = _LISTS.get(name)
        if kind is not None:
            self._set_list(kind, dirfd, path, value, at_flags)
            return
        self._may_use(dirfd, path, name, at_flags, W_OK)
        if name == _CAPABILITY:
            check_capability(value)
        self._files.setxattrat(dirfd, path, _kept(name), value, flags, at_flags)
        if name == _CAPABILITY:
            self._mark(dirfd, path, at_flags, CAPABILITY)

    def _mark(self, dirfd: int, path: bytes, flags: int, kind: int, *, there: bool = True) -> None:
        """Note that a file has an attribute that counts, or has it no more."""
        stat = self._files.fstatat(dirfd, path, flags)
        own = self._override(stat)
        self._note(stat, own._replace(attributes=own.attributes | kind if there else own.attributes & ~kind))

    def _set_list(self, kind: int, dirfd: int, path: bytes, value: bytes, flags: int) -> None:
        """An access control list says what the mode is as well (acl(5)); only one that says more is kept."""
        entries = acl.parse(value)
        stat = self.fstatat(dirfd, path, flags)
        if stat.mode & S_IFMT == S_IFLNK:
            raise LinuxError(ENOTSUP)
        if kind == DEFAULT_LIST and stat.mode & S_IFMT != S_IFDIR:
            raise LinuxError(EACCES)
        self._owner(stat)
        kept = bool(entries) and (kind == DEFAULT_LIST or not acl.is_minimal(entries))
        if kept:
            self._keep_list(kind, entries, dirfd, path, flags)
            self._mark(dirfd, path, flags, kind)
        else:
            self._drop(kind, dirfd, path, flags)
        if entries and kind == ACCESS_LIST:
            self._chmod(dirfd, path, stat.mode & 0o7000 | acl.mode_of(entries), flags)

    def _drop(self, kind: int, dirfd: int, path: bytes, flags: int) -> None:
        """Take an attribute away that counts, if it is there."""
        self._mark(dirfd, path, flags, kind, there=False)
        try:
            self._files.removexattrat(dirfd, path, _kept(_LIST_NAMES.get(kind, _CAPABILITY)), flags)
        except LinuxError as error:
            if error.errno not in (ENODATA, ENOTSUP, EPERM):
                raise

    @abstractmethod
    def _chmod(self, dirfd: int, path: bytes, mode: int, flags: int) -> None:
        """chmod(2), with all that depends on the mode."""

    def removexattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> None:
        self._may_use(dirfd, path, name, flags, W_OK)
        self._files.removexattrat(dirfd, path, _kept(name), flags)
        kind = CAPABILITY if name == _CAPABILITY else _LISTS.get(name)
        if kind is not None:
            self._mark(dirfd, path, flags, kind, there=False)

    def listxattrat(self, dirfd: int, path: bytes, flags: int = 0) -> list[bytes]:
        self._search(dirfd, path)
        found = [name.removeprefix(_HIDDEN) for name in self._files.listxattrat(dirfd, path, flags)]
        return found if self.creds.privileged else [name for name in found if not name.startswith(b"trusted.")]

    def fgetxattr(self, fd: int, name: bytes) -> bytes:
        return self.getxattrat(fd, b"", name, AT_EMPTY_PATH)

    def fsetxattr(self, fd: int, name: bytes, value: bytes, flags: int = 0) -> None:
        self.setxattrat(fd, b"", name, value, flags, AT_EMPTY_PATH)

    def fremovexattr(self, fd: int, name: bytes) -> None:
        self.removexattrat(fd, b"", name, AT_EMPTY_PATH)

    def flistxattr(self, fd: int) -> list[bytes]:
        return self.listxattrat(fd, b"", AT_EMPTY_PATH)

    def _may_use(self, dirfd: int, path: bytes, name: bytes, flags: int, mode: int) -> None:
        """xattr_permission(), cap_inode_setxattr()."""
        if name.startswith(_HIDDEN):
            raise LinuxError(EPERM if mode & W_OK else ENODATA)
        creds = self.creds
        if name.startswith(b"trusted."):
            if not creds.privileged:
                raise LinuxError(EPERM if mode & W_OK else ENODATA)
        elif name.startswith(b"system."):
            if mode & W_OK:
                self._owner(self.fstatat(dirfd, path, flags))
        elif name.startswith(b"security."):
            if mode & W_OK and not creds.capable(CAP_SETFCAP if name == _CAPABILITY else CAP_SYS_ADMIN):
                raise LinuxError(EPERM)
        elif not creds.capable(CAP_DAC_OVERRIDE):
            stat = self.fstatat(dirfd, path, flags)
            if not self._permits(creds, stat, mode, dirfd, path, flags):
                raise LinuxError(EACCES)


def permits(creds: Credentials, stat: Stat, mode: int) -> bool:
    """generic_permission() by the mode alone. mode: R_OK, W_OK, X_OK."""
    if creds.capable(CAP_DAC_OVERRIDE):
        return by_capability(creds, stat, mode)
    if creds.fsuid == stat.uid:
        bits = stat.mode >> 6
    elif creds.in_group(stat.gid):
        bits = stat.mode >> 3
    else:
        bits = stat.mode
    return mode & ~bits & 7 == 0 or by_capability(creds, stat, mode)


def by_capability(creds: Credentials, stat: Stat, mode: int) -> bool:
    """What generic_permission() grants to those who may nothing by the mode."""
    is_directory = stat.mode & S_IFMT == S_IFDIR
    if creds.capable(CAP_DAC_OVERRIDE):
        return not mode & X_OK or is_directory or bool(stat.mode & 0o111)
    return creds.capable(CAP_DAC_READ_SEARCH) and not mode & W_OK and (is_directory or not mode & X_OK)


def check_capability(value: bytes) -> None:
    """EINVAL for what is no struct vfs_cap_data: validheader()."""
    revision = int.from_bytes(value[:4], "little") & VFS_CAP_REVISION_MASK
    if _CAPABILITY_SIZES.get(len(value)) != revision:
        raise LinuxError(EINVAL)


def _kept(name: bytes) -> bytes:
    return _HIDDEN + name if name.startswith(_OWN_NAMES) else name
