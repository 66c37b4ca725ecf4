"""kcmp(2): whether two processes, or threads, share something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EBADF, EINVAL, EOPNOTSUPP, ESRCH, LinuxError
from noah.abi.kcmp import (
    KCMP_EPOLL_TFD,
    KCMP_FILE,
    KCMP_FILES,
    KCMP_FS,
    KCMP_IO,
    KCMP_SIGHAND,
    KCMP_SYSVSEM,
    KCMP_VM,
)
from noah.abi.kinds import KcmpType, Pid, ULong
from noah.kernel.othermemory import check_traceable
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

if TYPE_CHECKING:
    from noah.vfs.file import OpenFile

_EQUAL: Final = 0
_LESS: Final = 1
_GREATER: Final = 2
_MISSING: Final = (KCMP_IO, KCMP_SYSVSEM)


def _order(first: int, second: int) -> int:
    """As good an order as any: a caller sorts by it."""
    return _EQUAL if first == second else _LESS if first < second else _GREATER


def _thread(task: Task, pid: int) -> Task | None:
    """A thread of the caller's process; None for another process, which the caller may look into. ESRCH, EPERM."""
    if pid <= 0:
        raise LinuxError(ESRCH)
    own = next((thread for thread in task.process.tasks if thread.tid == pid), None)
    if own is None:
        check_traceable(task, pid)
    return own


@syscall(
    partial="between processes: no KCMP_IO, KCMP_SYSVSEM; no KCMP_EPOLL_TFD; host posix: files of the caller's own"
)
def kcmp(task: Task, pid1: Pid, pid2: Pid, type: KcmpType, idx1: ULong, idx2: ULong) -> int:
    """kcmp(2): 0 if what they have is the same, else 1 or 2."""
    first, second = _thread(task, pid1), _thread(task, pid2)
    if type == KCMP_FILE:
        return _compare_files(task, (pid1, first, idx1), (pid2, second, idx2))
    if not KCMP_VM <= type <= KCMP_EPOLL_TFD:
        raise LinuxError(EINVAL)
    if type == KCMP_EPOLL_TFD:
        raise LinuxError(EOPNOTSUPP)
    if first is None or second is None:
        if pid1 != pid2 and type in _MISSING:
            raise LinuxError(EOPNOTSUPP)
        return _order(pid1, pid2)
    if type == KCMP_FILES:
        return _order(id(first.fds), id(second.fds))
    if type == KCMP_FS:
        return _order(id(first.fs), id(second.fs))
    assert type in (KCMP_VM, KCMP_SIGHAND, *_MISSING)
    return _EQUAL  # what all threads of a process share


def _compare_files(task: Task, first: tuple[int, Task | None, int], second: tuple[int, Task | None, int]) -> int:
    one, two = _file(first), _file(second)
    if one is not None and one is two:
        return _EQUAL
    if one is not None and two is not None and not task.host.caps.pidfd:
        return _order(id(one), id(two))
    numbers = [_number(task, file, *side) for file, side in ((one, first), (two, second))]
    if min(numbers) >= 0:
        pids = [task.pid if thread is not None else pid for pid, thread, _ in (first, second)]
        return task.host.procs.kcmp(pids[0], pids[1], KCMP_FILE, numbers[0], numbers[1])
    if one is None or two is None:
        raise LinuxError(EOPNOTSUPP, "no descriptor of the host stands for the file")
    return _order(id(one), id(two))


def _file(side: tuple[int, Task | None, int]) -> OpenFile | None:
    _, thread, fd = side
    return thread.fds.get(fd) if thread is not None else None


def _number(task: Task, file: OpenFile | None, pid: int, thread: Task | None, fd: int) -> int:
    """The host's, -1 for a file that is none of the host's."""
    if file is not None:
        return file.poll_fd
    shown = task.process.box.shown(pid)
    number = shown.fds.get(fd) if shown is not None else None
    if number is None:
        raise LinuxError(EBADF)
    return number
