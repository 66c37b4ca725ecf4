"""Directories: getdents(2), chdir(2), getcwd(2), chroot(2), umask(2)."""

from __future__ import annotations

from typing import Final

from noah.abi.dirent import dirent64_size, dirent_size, pack_dirent, pack_dirent64, unpack_dirent64
from noah.abi.errno import EINVAL, ENAMETOOLONG, EPERM, ERANGE, LinuxError
from noah.abi.fcntl import AT_FDCWD
from noah.abi.kinds import DirentsPtr, Fd, Mode, OutStr, Path, Size, UInt
from noah.abi.limits import PATH_MAX
from noah.kernel.task import Task
from noah.syscalls.paths import file_of, read_path
from noah.syscalls.registry import syscall

_NAME: Final = 24  # bytes of the smallest record
_MOST: Final = 1 << 20  # bytes that are read at once


@syscall
def getdents64(task: Task, fd: Fd, dirp: DirentsPtr, count: UInt) -> int:
    """getdents(2): read directory entries."""
    file = file_of(task, fd)
    room = min(count, _MOST)
    if file.reads_records:
        return file.read_records(task, task.mem.buffer(dirp, room, write=True))
    memory = bytearray(room)
    used = 0
    position = -1
    for name, inode, kind, after in file.entries(task, room // _NAME + 1):
        if used + dirent64_size(name) > room:
            if position < 0:
                raise LinuxError(EINVAL)
            break
        used += pack_dirent64(memory, used, inode, after, kind, name)
        position = after
    if position >= 0:
        task.mem.write(dirp, memoryview(memory)[:used])
        file.seek(position, 0)
    return used


@syscall
def getdents(task: Task, fd: Fd, dirp: DirentsPtr, count: UInt) -> int:
    """getdents(2): read directory entries in the old form."""
    file = file_of(task, fd)
    room = min(count, _MOST)
    memory = bytearray(room)
    used = 0
    if file.reads_records:
        records = bytearray(room)
        length = file.read_records(task, [memoryview(records)])
        while used < length:  # both forms of a record have the same size
            inode, after, _, kind, name = unpack_dirent64(records, used)
            used += pack_dirent(memory, used, inode, after, kind, name)
        task.mem.write(dirp, memoryview(memory)[:used])
        return used
    position = -1
    for name, inode, kind, after in file.entries(task, room // _NAME + 1):
        if used + dirent_size(name) > room:
            if position < 0:
                raise LinuxError(EINVAL)
            break
        used += pack_dirent(memory, used, inode, after, kind, name)
        position = after
    if position >= 0:
        task.mem.write(dirp, memoryview(memory)[:used])
        file.seek(position, 0)
    return used


@syscall
def getcwd(task: Task, buf: OutStr, size: Size) -> int:
    """getcwd(2): the working directory. Returns the length with its NUL, as the system call does."""
    path = task.fs.cwd.current_path(task.fs.root) + b"\0"
    if len(path) > PATH_MAX:
        raise LinuxError(ENAMETOOLONG)
    if len(path) > size:
        raise LinuxError(ERANGE)
    task.mem.write(buf, path)
    return len(path)


@syscall
def chdir(task: Task, path: Path) -> int:
    """chdir(2): change the working directory."""
    task.fs.cwd = task.fs.directory(task, AT_FDCWD, read_path(task, path))
    task.process.show()
    return 0


@syscall
def fchdir(task: Task, fd: Fd) -> int:
    """chdir(2): change the working directory to an open one."""
    task.fs.cwd = task.fds.get(fd).directory()
    task.process.show()
    return 0


@syscall
def chroot(task: Task, path: Path) -> int:
    """chroot(2): change the root directory."""
    directory = task.fs.directory(task, AT_FDCWD, read_path(task, path))
    if not task.creds.privileged:
        raise LinuxError(EPERM)
    task.fs.root = directory
    task.process.show()
    return 0


@syscall
def umask(task: Task, mask: Mode) -> int:
    """umask(2): set the file mode creation mask."""
    old = task.fs.umask
    task.fs.umask = mask & 0o777
    task.process.show()
    return old
