"""Opening files: open(2), openat2(2), memfd_create(2)."""

from __future__ import annotations

from noah.abi.arch import ABIS
from noah.abi.errno import E2BIG, EAGAIN, EINVAL, ENAMETOOLONG, EOPNOTSUPP, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOFOLLOW,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    VALID_OPEN_FLAGS,
)
from noah.abi.kinds import Addr, AtFlags, DirFd, IntOutPtr, MemfdFlags, Mode, OpenFlags, OpenHowPtr, Path, Size, Str
from noah.abi.mman import MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGETLB, MFD_NOEXEC_SEAL
from noah.abi.structs import OpenHow
from noah.fs.memfd import make_memory_file
from noah.kernel.task import Task
from noah.mm.fault import files_shrank
from noah.syscalls.paths import check_flags, place_at, read_path
from noah.syscalls.registry import syscall

_PATH_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
_O_TMPFILE = O_TMPFILE & ~O_DIRECTORY
_MEMFD_NAME = 250  # with its NUL (mm/memfd.c)
_RESOLVE = (
    RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED
)


def _open(task: Task, dirfd: int, path: int, flags: int, mode: int, resolve: int = 0) -> int:
    """flags as Noah has them inside, unknown bits cleared."""
    if flags & O_PATH:
        flags &= _PATH_FLAGS
    else:
        if flags & _O_TMPFILE:
            if flags & O_TMPFILE != O_TMPFILE or not flags & O_ACCMODE or flags & O_CREAT:
                raise LinuxError(EINVAL)
        elif flags & (O_CREAT | O_DIRECTORY) == O_CREAT | O_DIRECTORY:
            raise LinuxError(EINVAL)  # since v6.4 (43b450632676)
        flags |= O_LARGEFILE
    file = task.fs.open(task, dirfd, read_path(task, path), flags, mode, resolve=resolve)
    if flags & O_TRUNC:
        files_shrank(task.space)
    return task.fds.install(file, cloexec=bool(flags & O_CLOEXEC))


@syscall
def openat(task: Task, dirfd: DirFd, path: Path, flags: OpenFlags, mode: Mode) -> int:
    """open(2): open a file relative to a directory."""
    flags = ABIS[task.process.arch.name].open_flags(flags) & VALID_OPEN_FLAGS
    return _open(task, dirfd, path, flags, mode)


@syscall(name="open")
def open_(task: Task, path: Path, flags: OpenFlags, mode: Mode) -> int:
    """open(2): open a file."""
    return _open(task, AT_FDCWD, path, flags & VALID_OPEN_FLAGS, mode)


@syscall
def creat(task: Task, path: Path, mode: Mode) -> int:
    """creat(2): open a new or emptied file for writing."""
    return _open(task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)


@syscall
def openat2(task: Task, dirfd: DirFd, path: Path, how: OpenHowPtr, size: Size) -> int:
    """openat2(2): open a file, with rules for the path."""
    if size < OpenHow.struct.size:
        raise LinuxError(EINVAL)
    if size > 4096:
        raise LinuxError(E2BIG)
    raw = task.mem.read(how, size)
    if any(raw[OpenHow.struct.size :]):
        raise LinuxError(E2BIG)
    raw_flags, mode, resolve = OpenHow.struct.unpack_from(raw)
    flags = ABIS[task.process.arch.name].open_flags(raw_flags & 0xFFFF_FFFF)
    makes = flags & O_CREAT or flags & O_TMPFILE == O_TMPFILE
    if (
        raw_flags >> 32
        or flags & ~VALID_OPEN_FLAGS
        or resolve & ~_RESOLVE
        or resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) == RESOLVE_BENEATH | RESOLVE_IN_ROOT
        or (mode & ~0o7777 if makes else mode)
        or (flags & O_PATH and flags & ~_PATH_FLAGS)
    ):
        raise LinuxError(EINVAL)
    if resolve & RESOLVE_CACHED:
        raise LinuxError(EAGAIN)  # nothing is known to be cached
    return _open(task, dirfd, path, flags, mode, resolve)


@syscall
def memfd_create(task: Task, name: Str, flags: MemfdFlags) -> int:
    """memfd_create(2): an anonymous file in memory."""
    check_flags(flags, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC)
    if flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL:
        raise LinuxError(EINVAL)
    try:
        text = task.mem.string(name, _MEMFD_NAME)
    except LinuxError as error:
        raise LinuxError(EINVAL if error.errno == ENAMETOOLONG else error.errno) from None
    file = make_memory_file(task, text, flags & ~MFD_CLOEXEC)
    return task.fds.install(file, cloexec=bool(flags & MFD_CLOEXEC))


@syscall
def name_to_handle_at(task: Task, dirfd: DirFd, path: Path, handle: Addr, mount_id: IntOutPtr, flags: AtFlags) -> int:
    """open_by_handle_at(2): there are no file handles here, as on a file system that cannot make them."""
    check_flags(flags, AT_EMPTY_PATH | AT_SYMLINK_FOLLOW)
    place_at(
        task, dirfd, path, flags & AT_EMPTY_PATH | (0 if flags & AT_SYMLINK_FOLLOW else AT_SYMLINK_NOFOLLOW)
    ).stat()
    raise LinuxError(EOPNOTSUPP)
