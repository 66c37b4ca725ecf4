"""Extended attributes: getxattr(2), setxattr(2), listxattr(2), removexattr(2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from noah.abi.errno import E2BIG, ENAMETOOLONG, ERANGE, LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from noah.abi.kinds import Fd, InBuf, OutBuf, Path, Size, Str, XattrFlags
from noah.abi.xattr import XATTR_CREATE, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of, place_at
from noah.syscalls.registry import syscall

if TYPE_CHECKING:
    from noah.vfs.place import Place


Find: TypeAlias = "Callable[[], Place]"
"""Looks the file up, after the name has been read, as Linux does."""


def _name(task: Task, pointer: int) -> bytes:
    try:
        name = task.mem.string(pointer, XATTR_NAME_MAX + 1)
    except LinuxError as error:
        raise LinuxError(ERANGE if error.errno == ENAMETOOLONG else error.errno) from None
    if not name:
        raise LinuxError(ERANGE)
    return name


def _give(task: Task, data: bytes, buffer: int, size: int) -> int:
    """Fill the caller's buffer; size 0 only asks how long it must be."""
    if size:
        if len(data) > size:
            raise LinuxError(ERANGE)
        task.mem.write(buffer, data)
    return len(data)


def _get(task: Task, find: Find, name: int, value: int, size: int) -> int:
    text = _name(task, name)
    return _give(task, find().getxattr(text), value, size)


def _set(task: Task, find: Find, name: int, value: int, size: int, flags: int) -> int:
    check_flags(flags, XATTR_CREATE | XATTR_REPLACE)
    text = _name(task, name)
    if size > XATTR_SIZE_MAX:
        raise LinuxError(E2BIG)
    data = task.mem.read(value, size)
    find().setxattr(text, data, flags)
    return 0


def _list(task: Task, place: Place, buffer: int, size: int) -> int:
    return _give(task, b"".join(name + b"\0" for name in place.listxattr()), buffer, size)


def _remove(task: Task, find: Find, name: int) -> int:
    text = _name(task, name)
    find().removexattr(text)
    return 0


@syscall
def getxattr(task: Task, path: Path, name: Str, value: OutBuf, size: Size) -> int:
    """getxattr(2): an extended attribute of a file."""
    return _get(task, lambda: place_at(task, AT_FDCWD, path), name, value, size)


@syscall
def lgetxattr(task: Task, path: Path, name: Str, value: OutBuf, size: Size) -> int:
    """getxattr(2): of a file or symbolic link."""
    return _get(task, lambda: place_at(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), name, value, size)


@syscall
def fgetxattr(task: Task, fd: Fd, name: Str, value: OutBuf, size: Size) -> int:
    """getxattr(2): of an open file."""
    return _get(task, lambda: file_of(task, fd).place(), name, value, size)


@syscall
def setxattr(task: Task, path: Path, name: Str, value: InBuf, size: Size, flags: XattrFlags) -> int:
    """setxattr(2): set an extended attribute of a file."""
    return _set(task, lambda: place_at(task, AT_FDCWD, path), name, value, size, flags)


@syscall
def lsetxattr(task: Task, path: Path, name: Str, value: InBuf, size: Size, flags: XattrFlags) -> int:
    """setxattr(2): of a file or symbolic link."""
    return _set(task, lambda: place_at(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), name, value, size, flags)


@syscall
def fsetxattr(task: Task, fd: Fd, name: Str, value: InBuf, size: Size, flags: XattrFlags) -> int:
    """setxattr(2): of an open file."""
    return _set(task, lambda: file_of(task, fd).place(), name, value, size, flags)


@syscall
def listxattr(task: Task, path: Path, list: OutBuf, size: Size) -> int:
    """listxattr(2): the names of a file's extended attributes."""
    return _list(task, place_at(task, AT_FDCWD, path), list, size)


@syscall
def llistxattr(task: Task, path: Path, list: OutBuf, size: Size) -> int:
    """listxattr(2): of a file or symbolic link."""
    return _list(task, place_at(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), list, size)


@syscall
def flistxattr(task: Task, fd: Fd, list: OutBuf, size: Size) -> int:
    """listxattr(2): of an open file."""
    return _list(task, file_of(task, fd).place(), list, size)


@syscall
def removexattr(task: Task, path: Path, name: Str) -> int:
    """removexattr(2): remove an extended attribute of a file."""
    return _remove(task, lambda: place_at(task, AT_FDCWD, path), name)


@syscall
def lremovexattr(task: Task, path: Path, name: Str) -> int:
    """removexattr(2): of a file or symbolic link."""
    return _remove(task, lambda: place_at(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), name)


@syscall
def fremovexattr(task: Task, fd: Fd, name: Str) -> int:
    """removexattr(2): of an open file."""
    return _remove(task, lambda: file_of(task, fd).place(), name)
