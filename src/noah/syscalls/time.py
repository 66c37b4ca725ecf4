"""Time: clocks, sleeping, timers."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import (
    EINTR,
    EINVAL,
    EOPNOTSUPP,
    EPERM,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    LinuxError,
)
from noah.abi.kinds import (
    ClockId,
    Int,
    IntOutPtr,
    ItimerspecOutPtr,
    ItimerspecPtr,
    ItimervalOutPtr,
    ItimervalPtr,
    ItimerWhich,
    LongOutPtr,
    SigeventPtr,
    TimerFlags,
    TimespecOutPtr,
    TimespecPtr,
    TimevalOutPtr,
    TimevalPtr,
    TimexPtr,
    TimezonePtr,
    TmsPtr,
    UInt,
)
from noah.abi.signal import NSIG, SIGALRM, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID
from noah.abi.structs import Itimerspec, Itimerval, Sigevent, Timespec, Timeval, Timex, Timezone, Tms
from noah.abi.time import (
    CLOCK_BOOTTIME,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_REALTIME,
    CLOCK_REALTIME_ALARM,
    CLOCK_REALTIME_COARSE,
    CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID,
    CLOCKFD,
    CPUCLOCK_PERTHREAD_MASK,
    CPUCLOCK_PROF,
    CPUCLOCK_SCHED,
    ITIMER_PROF,
    ITIMER_REAL,
    NSEC_PER_SEC,
    NSEC_PER_USEC,
    STA_UNSYNC,
    TIME_ERROR,
    TIMER_ABSTIME,
    USEC_PER_SEC,
    USER_HZ,
)
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_CLOCKS: Final = frozenset(
    (
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_PROCESS_CPUTIME_ID,
        CLOCK_THREAD_CPUTIME_ID,
        CLOCK_MONOTONIC_RAW,
        CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE,
        CLOCK_BOOTTIME,
        CLOCK_TAI,
    )
)
_ALARM_CLOCKS: Final = frozenset((CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM))  # they need a real-time clock device
_SLEEPABLE: Final = frozenset((CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID))
_READ_ONLY: Final = 0xA000  # ADJ_ADJTIME, ADJ_OFFSET_READONLY: what ADJ_OFFSET_SS_READ has beyond ADJ_OFFSET
_KTIME_MAX: Final = (1 << 63) - 1
_SETTABLE_SECONDS: Final = _KTIME_MAX // NSEC_PER_SEC - 30 * 365 * 24 * 3600  # TIME_SETTOD_SEC_MAX
_LONGEST_WAIT_NS: Final = 3600 * NSEC_PER_SEC  # then the clock is looked at again
_CPU_STEP_NS: Final = 4_000_000  # of sleeps on a CPU clock


def _timespec(task: Task, address: int) -> int:
    """A valid struct timespec in ns (timespec64_valid(), timespec64_to_ktime())."""
    seconds, nanoseconds = task.mem.unpack(Timespec.struct, address)
    if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
        raise LinuxError(EINVAL)
    return min(seconds * NSEC_PER_SEC + nanoseconds, _KTIME_MAX)


def _timeval(seconds: int, microseconds: int) -> int:
    if seconds < 0 or not 0 <= microseconds < USEC_PER_SEC:
        raise LinuxError(EINVAL)
    return min(seconds * NSEC_PER_SEC + microseconds * NSEC_PER_USEC, _KTIME_MAX)


# -- clocks


def _read_clock(task: Task, clockid: int) -> int:
    """A clock in ns. EINVAL for one that is not there."""
    if clockid in _CLOCKS:
        return task.host.clock.clock_gettime(clockid)
    if clockid >= 0 or clockid & 7 == CLOCKFD:
        raise LinuxError(EINVAL)
    return _read_cpu_clock(task, clockid)


def _read_cpu_clock(task: Task, clockid: int) -> int:
    """The CPU time of a process or thread by its number: ~pid << 3 | kind (clock_getcpuclockid(3))."""
    pid = ~(clockid >> 3)
    kind = clockid & 3
    per_thread = bool(clockid & CPUCLOCK_PERTHREAD_MASK)
    if kind == CLOCKFD:
        raise LinuxError(EINVAL)
    if pid not in (0, task.pid):
        if per_thread or not task.process.box.contains(pid):
            raise LinuxError(EINVAL)
        return task.host.clock.clock_gettime(clockid)
    if kind == CPUCLOCK_SCHED:
        return task.host.clock.clock_gettime(CLOCK_THREAD_CPUTIME_ID if per_thread else CLOCK_PROCESS_CPUTIME_ID)
    usage = task.host.procs.getrusage(0)
    return (usage.utime_us + (usage.stime_us if kind == CPUCLOCK_PROF else 0)) * NSEC_PER_USEC


@syscall
def clock_gettime(task: Task, clockid: ClockId, tp: TimespecOutPtr) -> int:
    """clock_gettime(2): read a clock."""
    task.mem.pack(Timespec.struct, tp, *divmod(_read_clock(task, clockid), NSEC_PER_SEC))
    return 0


@syscall
def clock_getres(task: Task, clockid: ClockId, tp: TimespecOutPtr) -> int:
    """clock_getres(2): how finely a clock counts."""
    if clockid in _CLOCKS:
        resolution = task.host.clock.clock_getres(clockid)
    else:
        _read_clock(task, clockid)
        resolution = 1 if clockid & 3 == CPUCLOCK_SCHED else NSEC_PER_SEC // 250  # posix_cpu_clock_getres()
    if tp:
        task.mem.pack(Timespec.struct, tp, *divmod(resolution, NSEC_PER_SEC))
    return 0


@syscall(partial="nobody may set a clock")
def clock_settime(task: Task, clockid: ClockId, tp: TimespecPtr) -> int:
    """clock_settime(2): set a clock."""
    cpu_clock = clockid < 0 and clockid & 7 != CLOCKFD
    if clockid != CLOCK_REALTIME and not cpu_clock:
        raise LinuxError(EINVAL)
    if cpu_clock:
        task.mem.read(tp, Timespec.struct.size)
        _read_cpu_clock(task, clockid)
    elif _timespec(task, tp) >= _SETTABLE_SECONDS * NSEC_PER_SEC:
        raise LinuxError(EINVAL)
    raise LinuxError(EPERM)


@syscall
def gettimeofday(task: Task, tv: TimevalOutPtr, tz: TimezonePtr) -> int:
    """gettimeofday(2): read the real-time clock in microseconds."""
    if tv:
        now = task.host.clock.clock_gettime(CLOCK_REALTIME)
        task.mem.pack(Timeval.struct, tv, now // NSEC_PER_SEC, now % NSEC_PER_SEC // NSEC_PER_USEC)
    if tz:
        task.mem.pack(Timezone.struct, tz, 0, 0)
    return 0


@syscall(partial="nobody may set a clock")
def settimeofday(task: Task, tv: TimevalPtr, tz: TimezonePtr) -> int:
    """settimeofday(2): set the real-time clock."""
    if tv:
        seconds, microseconds = task.mem.unpack(Timeval.struct, tv)
        if not 0 <= seconds < _SETTABLE_SECONDS or not 0 <= microseconds < USEC_PER_SEC:
            raise LinuxError(EINVAL)
    if tz:
        task.mem.read(tz, Timezone.struct.size)
    raise LinuxError(EPERM)


@syscall
def time(task: Task, tloc: LongOutPtr) -> int:
    """time(2): read the real-time clock in seconds."""
    now = task.host.clock.clock_gettime(CLOCK_REALTIME) // NSEC_PER_SEC
    if tloc:
        task.mem.write_u64(tloc, now)
    return now


@syscall
def times(task: Task, buf: TmsPtr) -> int:
    """times(2): CPU time of the process and its children in clock ticks."""
    if buf:
        task.mem.pack(Tms.struct, buf, *task.host.procs.times())
    return task.host.clock.clock_gettime(CLOCK_BOOTTIME) * USER_HZ // NSEC_PER_SEC


@syscall(partial="nobody may adjust a clock; it is said to be not synchronised")
def adjtimex(task: Task, buf: TimexPtr) -> int:
    """adjtimex(2): how the real-time clock is adjusted."""
    return _adjust(task, buf)


@syscall(partial="as adjtimex(2)")
def clock_adjtime(task: Task, clk_id: ClockId, buf: TimexPtr) -> int:
    """clock_adjtime(2): the same for any clock."""
    task.mem.read(buf, Timex.struct.size)
    if clk_id & 7 == CLOCKFD if clk_id < 0 else clk_id not in _CLOCKS and clk_id not in _ALARM_CLOCKS:
        raise LinuxError(EINVAL)
    if clk_id != CLOCK_REALTIME:
        raise LinuxError(EOPNOTSUPP)
    return _adjust(task, buf)


def _adjust(task: Task, address: int) -> int:
    modes = task.mem.unpack(Timex.struct, address)[0]
    if modes and modes & _READ_ONLY != _READ_ONLY:
        raise LinuxError(EPERM)
    now = task.host.clock.clock_gettime(CLOCK_REALTIME)
    seconds, microseconds = now // NSEC_PER_SEC, now % NSEC_PER_SEC // NSEC_PER_USEC
    # What the kernel says as long as nobody has synchronised the clock (ntp_clear()).
    values = Timex(
        modes=modes,
        offset=0,
        freq=0,
        maxerror=16_000_000,
        esterror=16_000_000,
        status=STA_UNSYNC,
        constant=2,
        precision=1,
        tolerance=32_768_000,
        time_sec=seconds,
        time_usec=microseconds,
        tick=10_000,
        ppsfreq=0,
        jitter=0,
        shift=0,
        stabil=0,
        jitcnt=0,
        calcnt=0,
        errcnt=0,
        stbcnt=0,
        tai=0,
    )
    task.mem.write(address, values.pack())
    return TIME_ERROR


# -- sleeping


@syscall
def nanosleep(task: Task, rqtp: TimespecPtr, rmtp: TimespecOutPtr) -> int:
    """nanosleep(2): sleep for a time span."""
    span = _timespec(task, rqtp)
    return _sleep_for(task, CLOCK_MONOTONIC, span, rmtp)


@syscall
def clock_nanosleep(task: Task, clockid: ClockId, flags: TimerFlags, rqtp: TimespecPtr, rmtp: TimespecOutPtr) -> int:
    """clock_nanosleep(2): sleep for a time span of a clock, or until it shows a time."""
    if clockid < 0:
        if clockid & 7 == CLOCKFD:
            raise LinuxError(EOPNOTSUPP)
    elif clockid in _ALARM_CLOCKS:
        raise LinuxError(EOPNOTSUPP)
    elif clockid not in _CLOCKS:
        raise LinuxError(EINVAL)
    elif clockid not in _SLEEPABLE:
        raise LinuxError(EOPNOTSUPP)
    time_or_span = _timespec(task, rqtp)
    if clockid < 0:
        if clockid & CPUCLOCK_PERTHREAD_MASK and ~(clockid >> 3) in (0, task.tid):
            raise LinuxError(EINVAL)  # it would stand still
        _read_cpu_clock(task, clockid)
    if flags & TIMER_ABSTIME:
        if not _sleep_until(task, clockid, time_or_span):
            raise LinuxError(ERESTARTNOHAND)
        return 0
    # A span of the real-time clock does not change when that clock is set.
    return _sleep_for(task, CLOCK_MONOTONIC if clockid == CLOCK_REALTIME else clockid, time_or_span, rmtp)


def _sleep_for(task: Task, clock: int, span: int, rmtp: int) -> int:
    return _sleep_on(task, clock, _read_clock(task, clock) + span, rmtp)


def _sleep_on(task: Task, clock: int, end: int, rmtp: int) -> int:
    """Sleep until a clock shows `end`; interrupted, the rest goes to rmtp and restart_syscall(2) goes on with it."""
    if _sleep_until(task, clock, end):
        return 0
    left = end - _read_clock(task, clock)
    if left <= 0:
        return 0
    if rmtp:
        task.mem.pack(Timespec.struct, rmtp, *divmod(left, NSEC_PER_SEC))
    task.restart = lambda: _sleep_on(task, clock, end, rmtp)
    raise LinuxError(ERESTART_RESTARTBLOCK)


def _sleep_until(task: Task, clock: int, end: int) -> bool:
    """Sleep until a clock shows `end`; False: a signal came first."""
    counts_cpu_time = clock < 0 or clock == CLOCK_PROCESS_CPUTIME_ID  # then it may stand still: nobody tells
    while (left := end - _read_clock(task, clock)) > 0:
        wait = max(left, _CPU_STEP_NS) if counts_cpu_time else left
        try:
            task.pause(task.host.clock.clock_gettime(CLOCK_MONOTONIC) + min(wait, _LONGEST_WAIT_NS))
        except LinuxError:
            return False
    return True


@syscall
def restart_syscall(task: Task) -> int:
    """restart_syscall(2): go on with a call that a signal without a handler had stopped."""
    restart = task.restart
    if restart is None:
        raise LinuxError(EINTR)
    return restart()


# -- interval timers


@syscall
def alarm(task: Task, seconds: UInt) -> int:
    """alarm(2): send SIGALRM after some seconds."""
    task.process.signals.collect(task)  # what has ended before this call is no longer to be changed by it
    left, _ = task.process.timers.setitimer(ITIMER_REAL, seconds * NSEC_PER_SEC, 0)
    whole, part = divmod(left, NSEC_PER_SEC)
    # Rounded, but an alarm that is set is never 0 (alarm_setitimer()).
    return whole + (part >= NSEC_PER_SEC // 2 or (part > 0 and not whole))


def _check_which(which: int) -> None:
    if not ITIMER_REAL <= which <= ITIMER_PROF:
        raise LinuxError(EINVAL)


def _put_itimerval(task: Task, address: int, left: int, interval: int) -> None:
    task.mem.pack(
        Itimerval.struct,
        address,
        interval // NSEC_PER_SEC,
        interval % NSEC_PER_SEC // NSEC_PER_USEC,
        left // NSEC_PER_SEC,
        left % NSEC_PER_SEC // NSEC_PER_USEC,
    )


@syscall
def getitimer(task: Task, which: ItimerWhich, value: ItimervalOutPtr) -> int:
    """getitimer(2): the state of an interval timer."""
    _check_which(which)
    task.process.signals.collect(task)
    _put_itimerval(task, value, *task.process.timers.getitimer(which))
    return 0


@syscall
def setitimer(task: Task, which: ItimerWhich, value: ItimervalPtr, ovalue: ItimervalOutPtr) -> int:
    """setitimer(2): start or stop an interval timer."""
    left = interval = 0
    if value:
        interval_sec, interval_usec, sec, usec = task.mem.unpack(Itimerval.struct, value)
        left, interval = _timeval(sec, usec), _timeval(interval_sec, interval_usec)
    _check_which(which)
    task.process.signals.collect(task)
    old = task.process.timers.setitimer(which, left, interval)
    if ovalue:
        _put_itimerval(task, ovalue, *old)
    return 0


# -- POSIX timers


@syscall
def timer_create(task: Task, clockid: ClockId, sevp: SigeventPtr, timerid: IntOutPtr) -> int:
    """timer_create(2): make a timer that sends a signal."""
    event = task.mem.unpack(Sigevent.struct, sevp) if sevp else None
    clock = _timer_clock(task, clockid)
    value: int | None = None
    signo, notify, target = SIGALRM, SIGEV_SIGNAL, None
    if event is not None:
        value, signo, notify, tid = event
        if notify == SIGEV_THREAD_ID:
            target = next((thread for thread in task.process.tasks if thread.tid == tid), None)
            if target is None:
                raise LinuxError(EINVAL)
        if notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID):
            raise LinuxError(EINVAL)
        if notify == SIGEV_NONE:
            signo = 0
        elif not 1 <= signo <= NSIG:
            raise LinuxError(EINVAL)
    timers = task.process.timers
    timer = timers.create(clock, signo, value, target)
    try:
        task.mem.write_u32(timerid, timer.id)
    except LinuxError:
        timers.delete(timer.id)
        raise
    return 0


def _timer_clock(task: Task, clockid: int) -> int:
    """The clock of a new timer. EINVAL: there is none; EOPNOTSUPP: it has no timers."""
    if clockid in _ALARM_CLOCKS:
        raise LinuxError(EOPNOTSUPP)
    if clockid >= 0:
        if clockid not in _CLOCKS:
            raise LinuxError(EINVAL)
        return clockid
    if clockid & 3 == CLOCKFD or ~(clockid >> 3) not in (0, task.pid):
        raise LinuxError(EINVAL)
    return CLOCK_THREAD_CPUTIME_ID if clockid & CPUCLOCK_PERTHREAD_MASK else CLOCK_PROCESS_CPUTIME_ID


@syscall
def timer_settime(
    task: Task, timerid: Int, flags: TimerFlags, new_value: ItimerspecPtr, old_value: ItimerspecOutPtr
) -> int:
    """timer_settime(2): start or stop a timer."""
    if not new_value:
        raise LinuxError(EINVAL)
    interval_sec, interval_nsec, sec, nsec = task.mem.unpack(Itimerspec.struct, new_value)
    for seconds, nanoseconds in ((interval_sec, interval_nsec), (sec, nsec)):
        if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
            raise LinuxError(EINVAL)
    timer = task.process.timers.get(timerid)
    task.process.signals.collect(task)
    old = timer.get()
    timer.set(
        min(sec * NSEC_PER_SEC + nsec, _KTIME_MAX),
        min(interval_sec * NSEC_PER_SEC + interval_nsec, _KTIME_MAX),
        absolute=bool(flags & TIMER_ABSTIME),
    )
    if old_value:
        _put_itimerspec(task, old_value, *old)
    return 0


def _put_itimerspec(task: Task, address: int, left: int, interval: int) -> None:
    task.mem.pack(Itimerspec.struct, address, *divmod(interval, NSEC_PER_SEC), *divmod(left, NSEC_PER_SEC))


@syscall
def timer_gettime(task: Task, timerid: Int, curr_value: ItimerspecOutPtr) -> int:
    """timer_gettime(2): the state of a timer."""
    timer = task.process.timers.get(timerid)
    task.process.signals.collect(task)
    _put_itimerspec(task, curr_value, *timer.get())
    return 0


@syscall
def timer_getoverrun(task: Task, timerid: Int) -> int:
    """timer_getoverrun(2): ends of a timer that its last signal stands for, but the first."""
    return task.process.timers.get(timerid).overrun


@syscall
def timer_delete(task: Task, timerid: Int) -> int:
    """timer_delete(2): delete a timer."""
    task.process.timers.delete(timerid)
    return 0
