"""Files that tell of events: eventfd(2), timerfd_create(2), signalfd(2)."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EINVAL, LinuxError
from noah.abi.kinds import (
    ClockId,
    EventfdFlags,
    Fd,
    ItimerspecOutPtr,
    ItimerspecPtr,
    SignalfdFlags,
    SigsetPtr,
    Size,
    TimerfdFlags,
    TimerfdSetFlags,
    UInt,
)
from noah.abi.poll import EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE
from noah.abi.signal import SFD_CLOEXEC, SFD_NONBLOCK, SIGSET_SIZE, UNBLOCKABLE
from noah.abi.structs import Itimerspec
from noah.abi.time import NSEC_PER_SEC, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET
from noah.fs.eventfd import make_eventfd
from noah.fs.timerfd import ReckonedTimer, TimerFile, make_timerfd
from noah.host.values import TimerState
from noah.kernel.signalfd import SignalFile
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of
from noah.syscalls.registry import syscall

_LONGEST_NS: Final = (1 << 63) - 1  # KTIME_MAX


@syscall
def eventfd(task: Task, initval: UInt) -> int:
    """eventfd(2): make a counter that can be waited for."""
    return _eventfd(task, initval, 0)


@syscall
def eventfd2(task: Task, initval: UInt, flags: EventfdFlags) -> int:
    """eventfd(2): make a counter that can be waited for, with flags."""
    check_flags(flags, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)
    return _eventfd(task, initval, flags)


def _eventfd(task: Task, initval: int, flags: int) -> int:
    file = make_eventfd(task, initval, semaphore=bool(flags & EFD_SEMAPHORE), nonblock=bool(flags & EFD_NONBLOCK))
    return task.fds.install(file, cloexec=bool(flags & EFD_CLOEXEC))


# -- timers


@syscall
def timerfd_create(task: Task, clockid: ClockId, flags: TimerfdFlags) -> int:
    """timerfd_create(2): make a timer that can be waited for."""
    check_flags(flags, TFD_CLOEXEC | TFD_NONBLOCK)
    file = make_timerfd(task, clockid, nonblock=bool(flags & TFD_NONBLOCK))
    return task.fds.install(file, cloexec=bool(flags & TFD_CLOEXEC))


def _timer(task: Task, fd: int) -> TimerFile | ReckonedTimer:
    file = file_of(task, fd)
    if not isinstance(file, TimerFile | ReckonedTimer):
        raise LinuxError(EINVAL)
    return file


@syscall
def timerfd_settime(
    task: Task, fd: Fd, flags: TimerfdSetFlags, new_value: ItimerspecPtr, old_value: ItimerspecOutPtr
) -> int:
    """timerfd_create(2): start or stop a timer."""
    interval, interval_ns, value, value_ns = task.mem.unpack(Itimerspec.struct, new_value)
    check_flags(flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)
    for seconds, nanoseconds in ((interval, interval_ns), (value, value_ns)):
        if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
            raise LinuxError(EINVAL)
    old = _timer(task, fd).settime(
        flags,
        min(value * NSEC_PER_SEC + value_ns, _LONGEST_NS),
        min(interval * NSEC_PER_SEC + interval_ns, _LONGEST_NS),
    )
    if old_value:
        _put(task, old_value, old)
    return 0


@syscall
def timerfd_gettime(task: Task, fd: Fd, curr_value: ItimerspecOutPtr) -> int:
    """timerfd_create(2): the state of a timer."""
    _put(task, curr_value, _timer(task, fd).gettime())
    return 0


def _put(task: Task, address: int, state: TimerState) -> None:
    times = *divmod(state.interval, NSEC_PER_SEC), *divmod(state.value, NSEC_PER_SEC)
    task.mem.pack(Itimerspec.struct, address, *times)


# -- signals


@syscall
def signalfd(task: Task, fd: Fd, mask: SigsetPtr, sizemask: Size) -> int:
    """signalfd(2): make a file that reads pending signals."""
    return _signalfd(task, fd, mask, sizemask, 0)


@syscall
def signalfd4(task: Task, fd: Fd, mask: SigsetPtr, sizemask: Size, flags: SignalfdFlags) -> int:
    """signalfd(2): make a file that reads pending signals, with flags; or change which ones it reads."""
    return _signalfd(task, fd, mask, sizemask, flags)


def _signalfd(task: Task, fd: int, mask: int, size: int, flags: int) -> int:
    if size != SIGSET_SIZE:
        raise LinuxError(EINVAL)
    wanted = task.mem.read_u64(mask) & ~UNBLOCKABLE
    check_flags(flags, SFD_CLOEXEC | SFD_NONBLOCK)
    if fd == -1:
        made = SignalFile(task.process.signals, task.host, wanted, nonblock=bool(flags & SFD_NONBLOCK))
        return task.fds.install(made, cloexec=bool(flags & SFD_CLOEXEC))
    file = task.fds.get(fd)
    if not isinstance(file, SignalFile):
        raise LinuxError(EINVAL)
    file.set_mask(wanted)
    return fd
