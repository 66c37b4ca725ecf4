"""File systems: statfs(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.fcntl import AT_FDCWD
from noah.abi.kinds import Fd, Path, StatfsPtr
from noah.abi.structs import Statfs
from noah.kernel.task import Task
from noah.syscalls.paths import place_at
from noah.syscalls.registry import syscall

if TYPE_CHECKING:
    from noah.vfs.place import Place


def _statfs(task: Task, place: Place, buf: int) -> int:
    task.mem.write(buf, Statfs.struct.pack(*place.statfs()))
    return 0


@syscall
def statfs(task: Task, path: Path, buf: StatfsPtr) -> int:
    """statfs(2): the file system that a file is on."""
    return _statfs(task, place_at(task, AT_FDCWD, path), buf)


@syscall
def fstatfs(task: Task, fd: Fd, buf: StatfsPtr) -> int:
    """statfs(2): the file system that an open file is on."""
    return _statfs(task, task.fds.get(fd).place(), buf)
