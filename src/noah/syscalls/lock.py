"""Locks: flock(2) and the record locks of fcntl(2).

A lock that is held is tried again and again with short sleeps: the host's own waiting could not be interrupted by a
signal of the guest. Deadlocks among record locks are found by kernel.lockwaits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, EAGAIN, EBADF, EDEADLK, EINVAL, LinuxError
from noah.abi.fcntl import (
    F_GETLK,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_SETLK,
    F_SETLKW,
    F_UNLCK,
    LOCK_EX,
    LOCK_NB,
    LOCK_SH,
    LOCK_UN,
)
from noah.abi.kinds import Fd, FlockOp
from noah.abi.structs import Flock as FlockLayout
from noah.abi.time import CLOCK_MONOTONIC
from noah.host.values import Flock
from noah.kernel.lockwaits import closed
from noah.kernel.task import Task
from noah.syscalls.paths import file_of
from noah.syscalls.registry import syscall

if TYPE_CHECKING:
    from noah.vfs.file import OpenFile

LOCK_COMMANDS: Final = frozenset((F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW))
_WITHOUT_WAIT: Final = {F_SETLKW: F_SETLK, F_OFD_SETLKW: F_OFD_SETLK}
_FIRST_NS: Final = 500_000
_LONGEST_NS: Final = 20_000_000


class _Retry:
    """Sleeps between attempts, longer each time."""

    __slots__ = ("_ns", "_task")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._ns = _FIRST_NS

    def sleep(self) -> None:
        """ERESTARTSYS when a signal comes."""
        task = self._task
        task.wait((), task.host.clock.clock_gettime(CLOCK_MONOTONIC) + self._ns)
        self._ns = min(self._ns * 2, _LONGEST_NS)


@syscall
def flock(task: Task, fd: Fd, operation: FlockOp) -> int:
    """flock(2): lock an open file."""
    if operation & ~LOCK_NB not in (LOCK_SH, LOCK_EX, LOCK_UN):
        raise LinuxError(EINVAL)
    file = file_of(task, fd)
    if file.poll_fd < 0:
        raise LinuxError(EBADF)
    retry = _Retry(task)
    while True:
        try:
            task.host.files.flock(file.poll_fd, operation | LOCK_NB)
            return 0
        except LinuxError as error:
            if error.errno != EAGAIN or operation & LOCK_NB:
                raise
        retry.sleep()


def record_lock(task: Task, file: OpenFile, command: int, argument: int) -> int:
    """fcntl(2) with one of LOCK_COMMANDS."""
    kind, whence, start, length, pid = FlockLayout.struct.unpack(task.mem.read(argument, FlockLayout.struct.size))
    if file.poll_fd < 0:
        raise LinuxError(EINVAL)
    if command in (F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW) and pid:
        raise LinuxError(EINVAL)
    lock = Flock(kind, whence, start, length, pid)
    if not 0 <= kind <= F_UNLCK or not 0 <= whence <= 2:
        raise LinuxError(EINVAL)
    once = _WITHOUT_WAIT.get(command, command)
    try:
        found = task.host.files.fcntl_lock(file.poll_fd, once, lock)
    except LinuxError as error:
        if error.errno not in (EAGAIN, EACCES) or once == command:
            raise
        _wait_for_lock(task, file.poll_fd, once, lock)
        return 0
    if command in (F_GETLK, F_OFD_GETLK):
        task.mem.write(argument, FlockLayout.struct.pack(*found))
    return 0


def _wait_for_lock(task: Task, fd: int, once: int, lock: Flock) -> None:
    """F_SETLKW of a lock that is held. EDEADLK if its holder waits for one of this process (POSIX locks only)."""
    files, pid, waits = task.host.files, task.pid, task.process.box.lock_waits
    retry = _Retry(task)
    suspected: list[tuple[int, int, int]] = []
    waits.begin(pid)
    try:
        while True:
            if once == F_SETLK:
                waits.note(pid, files.fcntl_lock(fd, F_GETLK, lock).pid)
                circle = waits.circle(pid)
                if closed(suspected, circle):
                    raise LinuxError(EDEADLK)
                if [each[:2] for each in suspected] != [each[:2] for each in circle]:
                    suspected = circle
            retry.sleep()
            try:
                files.fcntl_lock(fd, once, lock)
                return
            except LinuxError as error:
                if error.errno not in (EAGAIN, EACCES):
                    raise
    finally:
        waits.end(pid)
