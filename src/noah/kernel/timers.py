"""Interval timers and POSIX timers: setitimer(2), alarm(2), timer_create(2).

All that count real time share one timer of the host, set to the nearest end; when it rings, collect() calls expire().
ITIMER_VIRTUAL and ITIMER_PROF are the host's own. A POSIX timer with an interval is wound up again when its signal is
delivered, which is when Linux counts its overruns (kernel/time/posix-timers.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EINVAL, EOPNOTSUPP, LinuxError
from noah.abi.resource import RLIMIT_SIGPENDING
from noah.abi.signal import SI_KERNEL, SI_TIMER, SIGALRM, SIGPROF, SIGVTALRM, bit
from noah.abi.time import (
    CLOCK_BOOTTIME,
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_REALTIME,
    CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID,
    ITIMER_REAL,
)
from noah.host.values import Siginfo

if TYPE_CHECKING:
    from noah.kernel.task import Process, Task

_REAL_CLOCKS: Final = frozenset((CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI))
_CPU_CLOCKS: Final = frozenset((CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID))
OF_CPU_TIME: Final = (SIGPROF, SIGVTALRM)  # what ITIMER_PROF and ITIMER_VIRTUAL send
_STEP_NS: Final = 1_000  # what setitimer(2) can express
_LONGEST_NS: Final = 10**15  # no timer of the host is set for longer; what ends later is looked at again then
_REST_NS: Final = 200_000
"""From one signal of a timer to its next: with shorter intervals the guest would do nothing but handle signals."""
_CPU_STEP_NS: Final = 4_000_000  # CPU clocks are looked at this often while one may stand still: a tick with HZ=250
_OVERRUN_MAX: Final = (1 << 31) - 1  # DELAYTIMER_MAX
_MOST_TIMERS: Final = 32_768  # of a process without RLIMIT_SIGPENDING


class PosixTimer:
    """A timer of timer_create(2). Times are in ns of its clock."""

    __slots__ = (
        "_armed_clock",
        "_expiry",
        "_generation",
        "_overrun",
        "_queued",
        "_rests_until",
        "_timers",
        "clock",
        "id",
        "interval",
        "overrun",
        "signo",
        "target",
        "value",
    )

    def __init__(self, timers: Timers, number: int, clock: int, signo: int, value: int, target: Task | None) -> None:
        self._timers = timers
        self.id = number
        self.clock = clock
        self.signo = signo  # 0: SIGEV_NONE
        self.value = value  # raw 64 bits of sigval
        self.target = target  # the thread that gets the signal (SIGEV_THREAD_ID), None: any
        self.interval = 0
        self.overrun = 0  # of the signal delivered last
        self._overrun = -1  # ends since then, less the one that the signal itself stands for
        self._expiry: int | None = None
        self._rests_until = 0
        self._armed_clock = clock
        self._generation = 0  # settings so far: a signal of an earlier one is void
        self._queued: int | None = None  # the generation whose signal is pending

    def _now(self) -> int:
        return self._timers.now(self._armed_clock)

    def due_in(self) -> int | None:
        """ns until the timer ends; None if it waits for nothing."""
        if self._expiry is None or self._queued == self._generation or not self.signo:
            return None
        left = max(self._expiry, self._rests_until) - self._now()
        return max(left, _CPU_STEP_NS) if left > 0 and self._armed_clock in _CPU_CLOCKS else left

    def expire(self, task: Task) -> None:
        """The timer has ended: send its signal."""
        info = Siginfo(self.signo, 0, SI_TIMER, timerid=self.id, value=self.value)
        self._queued = self._generation
        signals = task.process.signals
        target = self.target
        pending = target.sigpending if target is not None else signals.shared
        threads = task.process.threads
        if target is None and threads is not None and self._armed_clock in _CPU_CLOCKS:
            target = threads.running(task, bit(self.signo))
            pending = signals.shared if target is None else target.sigpending
        if target is None or target in task.process.tasks:
            signals.send(target or task, info, to_thread=target is not None, timer=self)
        if not any(timer is self for _, timer in pending.queue):  # ignored: nobody will deliver it
            self._queued = None
            if self.interval:
                self._forward()
                self._overrun = -1
        if not self.interval:
            self._expiry = None

    def _forward(self) -> None:
        """Move the end beyond now by whole intervals; the moves count as overruns (hrtimer_forward())."""
        assert self._expiry is not None
        late = self._now() - self._expiry
        if late >= 0:
            count = late // self.interval + 1
            self._expiry += count * self.interval
            self._overrun += count

    def delivered(self, info: Siginfo) -> Siginfo | None:
        """The signal leaves the queue: wind up again. None if the timer was set or deleted meanwhile."""
        if self._queued is None or self._queued != self._generation:
            self._queued = None
            return None
        self._queued = None
        if not self.interval:
            return info
        self._forward()
        self._rests_until = self._now() + _REST_NS
        self.overrun = min(self._overrun, _OVERRUN_MAX)
        self._overrun = -1
        self._timers.wind()
        return info._replace(overrun=self.overrun)

    def set(self, value: int, interval: int, *, absolute: bool) -> None:
        """timer_settime(2) with times in ns; a value of 0 stops the timer."""
        self._generation += 1
        self._overrun = -1
        self.overrun = 0
        self.interval = interval if value else 0
        self._expiry = None
        self._rests_until = 0
        if value:
            # A time span of the real-time clock does not change when that clock is set (common_hrtimer_arm()).
            relative = CLOCK_MONOTONIC if self.clock == CLOCK_REALTIME else self.clock
            self._armed_clock = self.clock if absolute else relative
            self._expiry = value if absolute else self._now() + value
        self._timers.wind()

    def get(self) -> tuple[int, int]:
        """timer_gettime(2): ns until the next end, 0 if stopped; and the interval."""
        if self._expiry is None:
            return 0, self.interval
        if self.interval and (not self.signo or self._queued == self._generation):
            self._forward()
        left = self._expiry - self._now()
        if left > 0:
            return left, self.interval
        return 1 if self.signo else 0, self.interval  # a running timer never says 0: that means stopped

    def delete(self) -> None:
        self._generation += 1
        self._expiry = None


class Timers:
    """The timers of one process."""

    __slots__ = ("_next_id", "_posix", "_process", "_real_end", "_real_interval", "_rings_at", "armed")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._posix: dict[int, PosixTimer] = {}
        self._next_id = 0
        self._real_end: int | None = None  # CLOCK_MONOTONIC
        self._real_interval = 0
        self._rings_at = 0  # CLOCK_MONOTONIC
        self.armed = False
        """The host's timer runs."""

    def now(self, clock: int) -> int:
        return self._process.host.clock.clock_gettime(clock)

    def on_fork_child(self) -> None:
        """A new process has no timers; the host stopped its own (setitimer(2), timer_create(2))."""
        self._posix.clear()
        self._next_id = 0
        self._real_end = None
        self._real_interval = 0
        self.armed = False

    def on_exec(self) -> None:
        """execve(2) deletes POSIX timers; interval timers go on."""
        for timer in self._posix.values():
            timer.delete()
        self._posix.clear()
        self._next_id = 0
        self.wind()

    # -- setitimer(2)

    def getitimer(self, which: int) -> tuple[int, int]:
        """ns until the end (0: not running) and the interval. EINVAL for an unknown timer."""
        if which != ITIMER_REAL:
            return self._process.host.clock.getitimer(which)
        if self._real_end is None:
            return 0, self._real_interval
        return max(1_000, self._real_end - self.now(CLOCK_MONOTONIC)), self._real_interval

    def setitimer(self, which: int, value_ns: int, interval_ns: int) -> tuple[int, int]:
        """Start, or with 0 stop, an interval timer; returns what getitimer() said before."""
        if which != ITIMER_REAL:
            return self._process.host.clock.setitimer(
                which, min(value_ns, _LONGEST_NS), min(interval_ns, _LONGEST_NS) if value_ns else 0
            )
        old = self.getitimer(which)
        self._real_end = self.now(CLOCK_MONOTONIC) + value_ns if value_ns else None
        self._real_interval = interval_ns if value_ns else 0
        self.wind()
        return old

    # -- timer_create(2)

    def create(self, clock: int, signo: int, value: int | None, target: Task | None) -> PosixTimer:
        """A stopped timer; signo 0 is SIGEV_NONE, value None the timer's own id. EAGAIN: too many."""
        if clock not in _REAL_CLOCKS and clock not in _CPU_CLOCKS:
            raise LinuxError(EOPNOTSUPP)
        limits = self._process.rlimits.get(RLIMIT_SIGPENDING)
        if len(self._posix) >= min(limits[0] if limits else _MOST_TIMERS, _MOST_TIMERS):
            raise LinuxError(EAGAIN)
        number = self._next_id
        self._next_id = number + 1 & 0x7FFF_FFFF
        timer = PosixTimer(self, number, clock, signo, number if value is None else value, target)
        self._posix[number] = timer
        return timer

    def get(self, number: int) -> PosixTimer:
        timer = self._posix.get(number)
        if timer is None:
            raise LinuxError(EINVAL)
        return timer

    def show(self) -> bytes:
        """/proc/PID/timers (show_timer())."""
        text = []
        for timer in self._posix.values():
            kind, id = ("pid", self._process.pid) if timer.target is None else ("tid", timer.target.tid)
            text.append(f"ID: {timer.id}\nsignal: {timer.signo}/{timer.value:016x}\n")
            text.append(f"notify: {'signal' if timer.signo else 'none'}/{kind}.{id}\nClockID: {timer.clock}\n")
        return "".join(text).encode()

    def delete(self, number: int) -> None:
        self.get(number).delete()
        del self._posix[number]
        self.wind()

    # -- running

    def is_due(self) -> bool:
        """Whether the host's timer must have rung by now."""
        return self.armed and self.now(CLOCK_MONOTONIC) >= self._rings_at

    def wind(self) -> None:
        """Set the host's timer to the nearest end."""
        nearest = None if self._real_end is None else self._real_end - self.now(CLOCK_MONOTONIC)
        for timer in self._posix.values():
            left = timer.due_in()
            if left is not None and (nearest is None or left < nearest):
                nearest = left
        if nearest is not None:
            whole = -(-nearest // _STEP_NS) * _STEP_NS  # never early
            span = min(max(whole, _STEP_NS), _LONGEST_NS)
            self._rings_at = self.now(CLOCK_MONOTONIC) + span
            self._process.host.clock.ring_in(span)
            self.armed = True
        elif self.armed:
            self._process.host.clock.ring_in(0)
            self.armed = False

    def expire(self, task: Task) -> None:
        """Send the signals of all timers that have ended."""
        if self._real_end is not None:
            late = self.now(CLOCK_MONOTONIC) - self._real_end
            if late >= 0:
                task.process.signals.send(task, Siginfo(SIGALRM, 0, SI_KERNEL))
                interval = self._real_interval
                rest = _REST_NS if interval < _REST_NS else 0
                self._real_end = self._real_end + ((late + rest) // interval + 1) * interval if interval else None
        for timer in self._posix.values():
            left = timer.due_in()
            if left is not None and left <= 0:
                timer.expire(task)
        self.wind()
