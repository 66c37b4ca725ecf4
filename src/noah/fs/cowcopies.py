"""What there is of a copy of an image, and how it grows: the base of noah.fs.cow, which says what this is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from noah.abi.capability import (
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_FULL_SET,
    CAP_MKNOD,
    CAP_SETFCAP,
    CAP_SYS_ADMIN,
)
from noah.abi.errno import (
    EEXIST,
    EMLINK,
    ENOSPC,
    ENOTSUP,
    EOPNOTSUPP,
    EPERM,
    LinuxError,
)
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    DT_DIR,
    DT_FIFO,
    DT_SOCK,
    DT_UNKNOWN,
    LOCK_EX,
    O_CREAT,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_RDWR,
)
from noah.abi.limits import PATH_MAX
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.fs.clone import Cloner
from noah.fs.inodelist import InodeList
from noah.fs.owned import OwnedFiles
from noah.fs.ownership import Ownership, SharedOwnership
from noah.fs.standins import StandIn, StandIns

if TYPE_CHECKING:
    from noah.fs.ownedattr import Asker
    from noah.host.api import Files, Host
    from noah.host.values import Stat

NO_MORE_NAMES: Final = (EMLINK, EPERM, ENOTSUP, EOPNOTSUPP)
"""A file has too many names, or its file system knows just one."""
TRIES: Final = 8
_WANTED: Final = sum(
    1 << capability
    for capability in (
        CAP_CHOWN,
        CAP_DAC_OVERRIDE,
        CAP_DAC_READ_SEARCH,
        CAP_FOWNER,
        CAP_FSETID,
        CAP_MKNOD,
        CAP_SETFCAP,
        CAP_SYS_ADMIN,
    )
)
"""All that it takes to give a file whatever another one has. Becoming another user takes some 15 calls."""


class _Paths:
    """Paths in the image, each ended by a NUL, in a file to which they are only added, under the lock of the copy."""

    def __init__(self, host: Host, path: bytes) -> None:
        """Open it, or make an empty one. LinuxError."""
        self._files = host.files
        self._fd = host.files.openat(AT_FDCWD, path, O_RDWR | O_CREAT, 0o600)
        self._known: dict[int, bytes] = {}

    def __del__(self) -> None:
        if fd := getattr(self, "_fd", 0):
            self._files.close_quietly(fd)

    def add(self, paths: list[bytes]) -> list[int]:
        """Where they are kept. LinuxError; ENOSPC."""
        at = self._files.fstat(self._fd).size
        data = b"".join(path + b"\0" for path in paths)
        if self._files.pwrite(self._fd, data, at) < len(data):
            raise LinuxError(ENOSPC)
        places = []
        for path in paths:
            places.append(at)
            at += len(path) + 1
        return places

    def get(self, place: int) -> bytes:
        path = self._known.get(place)
        if path is None:
            path = self._known[place] = self._files.pread(self._fd, PATH_MAX, place).partition(b"\0")[0]
        return path


class CowCopies:
    """A part of a noah.host.api.Files over another one."""

    def __init__(self, host: Host, image: bytes, copy: bytes, *, owners: bool) -> None:
        """image, copy: the directories of both. owners: who owns what is kept beside the trees. LinuxError."""
        self.host = host
        self._raw = host.files
        self._copy = copy
        self._image = host.files.openat(AT_FDCWD, image + b"/rootfs", O_PATH | O_DIRECTORY)
        self._inodes = InodeList(host, image + b"/inodes")
        self._stand_ins = StandIns(host, copy + b"/standins")
        self._paths = _Paths(host, copy + b"/paths")
        self._given: Ownership | None = None
        self._owners: Ownership | None = None
        self._inner: Files = host.files
        self._plain = host
        self._asker: Asker | None = None
        self._is_host_user = False
        self.keeps_owners = owners
        if owners:
            self._given = Ownership(host, image + b"/owners")
            self._owners = SharedOwnership(host, copy + b"/owners", self._given, self._inodes)
            self._inner = cast("Files", OwnedFiles(host, self._owners))
            self._plain = OwnedFiles(host, self._owners).host_with()  # as root sees it
        for name in dir(self._inner):
            if not name.startswith("_") and not hasattr(self, name):
                setattr(self, name, getattr(self._inner, name))

    def __del__(self) -> None:
        if fd := getattr(self, "_image", 0):
            self._raw.close_quietly(fd)

    def host_with(self) -> Host:
        """The host with these files."""
        return self.host._replace(files=cast("Files", self))

    @property
    def asker(self) -> Asker | None:
        return self._asker

    @asker.setter
    def asker(self, asker: Asker | None) -> None:
        self._asker = asker
        if isinstance(self._inner, OwnedFiles):
            self._inner.asker = asker

    def begin(self) -> None:
        """Make the root of the copy. Costs the same for every image. LinuxError."""
        raw = self._raw
        raw.mkdirat(AT_FDCWD, self._copy + b"/copies", 0o700)
        target = raw.openat(AT_FDCWD, self._copy, O_RDONLY | O_DIRECTORY)
        source = raw.openat(self._image, b".", O_RDONLY | O_DIRECTORY)
        try:
            made = self._stand_in(source, b".", target, b"rootfs")
            self._note_stand_ins([made], [b"."])
        finally:
            raw.close_quietly(source)
            raw.close_quietly(target)

    def _is_shared(self, stat: Stat) -> bool:
        """Whether a file in one of the copy's directories is the image's."""
        return stat.nlink > 1 and stat.mode & S_IFMT != S_IFDIR and stat.ino in self._inodes

    # Filling directories

    def _fill(self, fd: int, inode: int) -> bool:
        """Make what the image has in a directory; False if that is done already. fd may be one of O_PATH."""
        if self._stand_ins.unfilled(inode) is None:
            return False
        raw = self._raw
        with self._alone():
            stand_in = self._stand_ins.unfilled(inode)
            if stand_in is None:
                return True  # another process has just done it
            if self._stand_ins.replaced(stand_in.image) is None:  # else somebody was killed just before it said so
                below = self._paths.get(stand_in.place)
                before = raw.fstat(fd)
                source = raw.openat(self._image, below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
                try:
                    self._fill_from(source, below, fd)
                finally:
                    raw.close_quietly(source)
                raw.utimensat(fd, b".", (before.atime, before.mtime))
            self._stand_ins.fill(inode, stand_in)
        return True

    def _fill_from(self, source: int, below: bytes, fd: int) -> None:
        """All names; some may be there already, if whoever was at it was killed."""
        raw = self._raw
        directories = []
        for name, _, kind in self.host.dirs.scan(source)[2:]:
            if kind == DT_UNKNOWN:
                kind = (raw.fstatat(source, name, AT_SYMLINK_NOFOLLOW).mode & S_IFMT) >> 12
            if kind == DT_DIR:
                directories.append(name)
            else:
                self._show(source, fd, name, kind)
        if directories:
            made = [self._stand_in(source, name, fd, name) for name in directories]
            self._note_stand_ins(made, [below + b"/" + name for name in directories])

    def _note_stand_ins(self, made: list[tuple[int, StandIn]], paths: list[bytes]) -> None:
        places = self._paths.add(paths)
        self._stand_ins.put_new(
            [(inode, one.names, place, one.image) for (inode, one), place in zip(made, places, strict=True)]
        )

    def _show(self, source: int, fd: int, name: bytes, kind: int) -> None:
        """One name that is no directory's."""
        raw = self._raw
        if kind == DT_FIFO:  # whoever opens one meets others there
            self._copy_file(source, name, fd)
        elif kind != DT_SOCK:  # nobody listens
            try:
                raw.linkat(source, name, fd, name)
            except LinuxError as error:
                if error.errno == EEXIST:
                    return
                if error.errno not in NO_MORE_NAMES:
                    raise
                self._copy_file(source, name, fd)

    def _stand_in(self, source: int, name: bytes, target: int, new: bytes) -> tuple[int, StandIn]:
        """Make an empty directory for one of the image's: its inode number, and what it stands for."""
        raw = self._raw
        stat = raw.fstatat(source, name, AT_SYMLINK_NOFOLLOW)
        mode = stat.mode & 0o7777
        try:
            raw.mkdirat(target, new, mode)
        except LinuxError as error:
            if error.errno != EEXIST:
                raise
        made = raw.fstatat(target, new, AT_SYMLINK_NOFOLLOW)
        if self._owners is not None and self._given is not None:
            own = self._given.get(stat.ino)
            if own is None:
                self._owners.forget(made.ino)
            else:
                self._owners.set(made.ino, own)
        elif (stat.uid, stat.gid) != (made.uid, made.gid):
            raw.fchownat(target, new, stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW)
        if made.mode & 0o7777 != mode:  # the host's umask, or a set-group-ID bit
            raw.fchmodat(target, new, mode)
        self._copy_attributes(source, name, target, new)
        raw.utimensat(target, new, (stat.atime, stat.mtime), AT_SYMLINK_NOFOLLOW)
        return made.ino, StandIn(stat.nlink, 0, stat.ino)

    def _copy_attributes(self, source: int, name: bytes, target: int, new: bytes) -> None:
        raw = self._raw
        try:
            for key in raw.listxattrat(source, name, AT_SYMLINK_NOFOLLOW):
                value = raw.getxattrat(source, name, key, AT_SYMLINK_NOFOLLOW)
                raw.setxattrat(target, new, key, value, 0, AT_SYMLINK_NOFOLLOW)
        except LinuxError as error:
            if error.errno not in (ENOTSUP, EOPNOTSUPP, EPERM):
                raise

    # Files of one's own

    def _own(self, dirfd: int, name: bytes, *, content: bool = True) -> None:
        """Put a copy in the place of a file that is the image's, if it still is. content: not just an empty one."""
        raw = self._raw
        with self._alone():
            stat = raw.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW)
            if self._is_shared(stat):
                before = raw.fstat(dirfd) if dirfd != AT_FDCWD else None
                self._copy_file(dirfd, name, dirfd, content=content)
                if before is not None:  # to the guest, nothing has changed there
                    raw.utimensat(dirfd, b"", (before.atime, before.mtime), AT_EMPTY_PATH)

    def _copy_file(self, source: int, name: bytes, target: int, *, content: bool = True) -> None:
        copies = self._raw.openat(AT_FDCWD, self._copy + b"/copies", O_RDONLY | O_DIRECTORY)
        fresh = self.host.rng.getrandom(8).hex().encode()
        try:
            Cloner(self._plain, self._plain).copy(source, name, copies, fresh, content=content)
            self._raw.renameat2(copies, fresh, target, name)
        except LinuxError:
            try:
                self._raw.unlinkat(copies, fresh)
            except LinuxError:
                pass  # there is none
            raise
        finally:
            self._raw.close_quietly(copies)

    @contextmanager
    def _as_host_user(self) -> Iterator[None]:
        """Not as the guest's user, where the host would let that one touch files."""
        creds = self._asker.creds if self._asker is not None else None
        if creds is None or self._is_host_user or (creds.fsuid == 0 and creds.effective & _WANTED == _WANTED):
            yield
            return
        procs = self.host.procs
        procs.set_identity(0, 0, (), CAP_FULL_SET)
        self._is_host_user = True
        try:
            yield
        finally:
            self._is_host_user = False
            procs.set_identity(creds.fsuid, creds.fsgid, creds.groups, creds.effective)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process of the container copies anything."""
        raw = self._raw
        with self._as_host_user():
            lock = raw.openat(AT_FDCWD, self._copy + b"/cow-lock", O_RDWR | O_CREAT, 0o600)
            try:
                raw.flock(lock, LOCK_EX)
                yield
            finally:
                raw.close_quietly(lock)
