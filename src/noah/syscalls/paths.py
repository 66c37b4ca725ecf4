"""Reading the arguments that calls with paths share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import EBADF, EINVAL, LinuxError
from noah.abi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_PATH
from noah.abi.limits import PATH_MAX

if TYPE_CHECKING:
    from noah.kernel.task import Task
    from noah.vfs.file import OpenFile
    from noah.vfs.place import Place


def read_path(task: Task, pointer: int) -> bytes:
    """EFAULT; ENAMETOOLONG from PATH_MAX bytes on."""
    return task.mem.string(pointer, PATH_MAX)


def place_at(task: Task, dirfd: int, pointer: int, flags: int = 0) -> Place:
    """The file of an *at call with AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH."""
    if flags & AT_EMPTY_PATH:
        path = read_path(task, pointer) if pointer else b""
        if not path:
            if dirfd == AT_FDCWD:
                return task.fs.cwd.place(b"")
            return task.fds.get(dirfd).place()
    else:
        path = read_path(task, pointer)
    return task.fs.resolve(task, dirfd, path, follow=not flags & AT_SYMLINK_NOFOLLOW)


def file_of(task: Task, fd: int) -> OpenFile:
    """The file of a descriptor; EBADF for one of O_PATH too."""
    file = task.fds.get(fd)
    if file.flags & O_PATH:
        raise LinuxError(EBADF)
    if file.watchers:
        file.note_use()
    return file


def check_flags(flags: int, known: int) -> None:
    """EINVAL for bits that the call does not know."""
    if flags & ~known:
        raise LinuxError(EINVAL, f"unknown flags {flags & ~known:#x}")
