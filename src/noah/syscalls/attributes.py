"""Changing what files are: chmod(2), chown(2), utimensat(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, LinuxError
from noah.abi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from noah.abi.kinds import AtFlags, DirFd, Fd, Gid, Mode, Path, TimespecPairPtr, TimevalPairPtr, Uid, UtimbufPtr
from noah.abi.stat import UTIME_NOW, UTIME_OMIT
from noah.abi.structs import Timespec, Timeval, Utimbuf
from noah.host.values import TIME_NOW, TIME_OMIT
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of, place_at
from noah.syscalls.registry import syscall

if TYPE_CHECKING:
    from noah.vfs.place import Times

_NS: Final = 1_000_000_000
_NO_ID: Final = 0xFFFF_FFFF


@syscall
def chmod(task: Task, path: Path, mode: Mode) -> int:
    """chmod(2): change the mode of a file."""
    place_at(task, AT_FDCWD, path).chmod(mode & 0o7777)
    return 0


@syscall
def fchmod(task: Task, fd: Fd, mode: Mode) -> int:
    """chmod(2): change the mode of an open file."""
    file_of(task, fd).place().chmod(mode & 0o7777)
    return 0


@syscall
def fchmodat(task: Task, dirfd: DirFd, path: Path, mode: Mode) -> int:
    """chmod(2): change the mode of a file, relative to a directory."""
    place_at(task, dirfd, path).chmod(mode & 0o7777)
    return 0


@syscall
def fchmodat2(task: Task, dirfd: DirFd, path: Path, mode: Mode, flags: AtFlags) -> int:
    """chmod(2): fchmodat with flags."""
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place_at(task, dirfd, path, flags).chmod(mode & 0o7777)
    return 0


def _id(number: int) -> int:
    return -1 if number == _NO_ID else number


@syscall
def chown(task: Task, path: Path, owner: Uid, group: Gid) -> int:
    """chown(2): change the owner of a file."""
    place_at(task, AT_FDCWD, path).chown(_id(owner), _id(group))
    return 0


@syscall
def lchown(task: Task, path: Path, owner: Uid, group: Gid) -> int:
    """chown(2): change the owner of a file or symbolic link."""
    place_at(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW).chown(_id(owner), _id(group))
    return 0


@syscall
def fchown(task: Task, fd: Fd, owner: Uid, group: Gid) -> int:
    """chown(2): change the owner of an open file."""
    file_of(task, fd).place().chown(_id(owner), _id(group))
    return 0


@syscall
def fchownat(task: Task, dirfd: DirFd, path: Path, owner: Uid, group: Gid, flags: AtFlags) -> int:
    """chown(2): change the owner of a file, relative to a directory."""
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place_at(task, dirfd, path, flags).chown(_id(owner), _id(group))
    return 0


@syscall
def utimensat(task: Task, dirfd: DirFd, path: Path, times: TimespecPairPtr, flags: AtFlags) -> int:
    """utimensat(2): change access and modification time; without a path those of dirfd itself."""
    values: Times = None
    if times:
        raw = task.mem.read(times, 2 * Timespec.struct.size)
        found = tuple(map(_timespec, Timespec.struct.iter_unpack(raw)))
        if found == (TIME_OMIT, TIME_OMIT):
            return 0
        values = found[0], found[1]
    if not path and dirfd != AT_FDCWD:
        if flags:
            raise LinuxError(EINVAL)
        file_of(task, dirfd).place().utimens(values)
        return 0
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place_at(task, dirfd, path, flags).utimens(values)
    return 0


def _timespec(value: tuple[int, ...]) -> int:
    sec, nsec = value
    if nsec == UTIME_NOW:
        return TIME_NOW
    if nsec == UTIME_OMIT:
        return TIME_OMIT
    if not 0 <= nsec < _NS:
        raise LinuxError(EINVAL)
    return sec * _NS + nsec


@syscall
def futimesat(task: Task, dirfd: DirFd, path: Path, times: TimevalPairPtr) -> int:
    """futimesat(2): change file times, in microseconds, relative to a directory."""
    values: Times = None
    if times:
        raw = task.mem.read(times, 2 * Timeval.struct.size)
        (asec, ausec), (msec, musec) = Timeval.struct.iter_unpack(raw)
        if not (0 <= ausec < 1_000_000 and 0 <= musec < 1_000_000):
            raise LinuxError(EINVAL)
        values = asec * _NS + ausec * 1000, msec * _NS + musec * 1000
    if not path and dirfd != AT_FDCWD:
        file_of(task, dirfd).place().utimens(values)
        return 0
    place_at(task, dirfd, path).utimens(values)
    return 0


@syscall
def utimes(task: Task, path: Path, times: TimevalPairPtr) -> int:
    """utime(2): change file times, in microseconds."""
    return futimesat(task, AT_FDCWD, path, times)


@syscall
def utime(task: Task, path: Path, times: UtimbufPtr) -> int:
    """utime(2): change file times, in seconds."""
    values: Times = None
    if times:
        access, modification = Utimbuf.struct.unpack(task.mem.read(times, Utimbuf.struct.size))
        values = access * _NS, modification * _NS
    place_at(task, AT_FDCWD, path).utimens(values)
    return 0
