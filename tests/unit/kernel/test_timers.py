"""Timers and sleeping, on a clock that only the test moves."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from noah.abi.errno import (
    EAGAIN,
    EFAULT,
    EINTR,
    EINVAL,
    EOPNOTSUPP,
    EPERM,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    LinuxError,
)
from noah.abi.signal import SI_KERNEL, SI_TIMER, SIG_IGN, SIGALRM, SIGEV_NONE, SIGEV_THREAD_ID, SIGHUP, SIGUSR1, bit
from noah.abi.structs import Itimerspec, Sigevent, Timespec
from noah.abi.time import CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME, TIMER_ABSTIME
from noah.host.values import Siginfo
from noah.syscalls import time as calls

from .conftest import OWN_PID, STACK, StandInHost

if TYPE_CHECKING:
    from noah.kernel.task import Task

SECOND = 10**9
DATA = STACK + 0x100
REST = STACK + 0x200


def errno_of(call: object, *arguments: object) -> int:
    with pytest.raises(LinuxError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.errno


def timespec(task: Task, seconds: int, nanoseconds: int = 0, at: int = DATA) -> int:
    task.mem.write(at, struct.pack("<qq", seconds, nanoseconds))
    return at


def read_timespec(task: Task, at: int) -> tuple[int, ...]:
    return task.mem.unpack(Timespec.struct, at)


def taken(task: Task) -> Siginfo | None:
    task.process.signals.collect(task)
    return task.process.signals.take(task, -1)


@pytest.fixture(autouse=True)
def _blocked(task: Task) -> None:
    task.process.signals.set_mask(task, bit(SIGALRM) | bit(SIGUSR1))


class TestAlarm:
    def test_rings_once(self, task: Task, host: StandInHost) -> None:
        assert calls.alarm(task, 2) == 0
        host.advance(SECOND)
        assert calls.alarm(task, 5) == 1
        host.advance(5 * SECOND)
        assert taken(task) == Siginfo(SIGALRM, 0, SI_KERNEL)
        assert calls.alarm(task, 0) == 0
        assert host.alarm is None

    def test_remaining_time_is_rounded_but_never_zero(self, task: Task, host: StandInHost) -> None:
        calls.alarm(task, 2)
        host.advance(400_000_000)
        assert calls.alarm(task, 1) == 2
        host.advance(900_000_000)
        assert calls.alarm(task, 0) == 1

    def test_interval_timer_repeats(self, task: Task, host: StandInHost) -> None:
        task.mem.write(DATA, struct.pack("<4q", 1, 0, 0, 500_000))
        assert calls.setitimer(task, 0, DATA, 0) == 0
        for wait in (SECOND // 2, SECOND, SECOND):
            host.advance(wait)
            assert taken(task) == Siginfo(SIGALRM, 0, SI_KERNEL)
        assert calls.getitimer(task, 0, DATA) == 0
        assert struct.unpack("<4q", task.mem.read(DATA, 32)) == (1, 0, 1, 0)

    def test_errors(self, task: Task) -> None:
        task.mem.write(DATA, struct.pack("<4q", 0, 0, 0, 1_000_000))
        assert errno_of(calls.setitimer, task, 0, DATA, 0) == EINVAL
        assert errno_of(calls.setitimer, task, 3, 0, 0) == EINVAL
        assert errno_of(calls.getitimer, task, 0, 8) == EFAULT

    def test_a_kill_is_told_from_a_ring(self, task: Task, host: StandInHost) -> None:
        calls.alarm(task, 2)
        host.queued.append(Siginfo(SIGALRM, 0, 0, pid=OWN_PID))
        info = taken(task)
        assert info is not None
        assert info.pid == OWN_PID
        host.queued.append(Siginfo(SIGALRM))  # a host that does not tell the sender; no timer has ended
        assert taken(task) == Siginfo(SIGALRM)
        host.queued.append(Siginfo(SIGALRM, 0, SI_KERNEL))
        assert taken(task) is None

    def test_fork_stops_and_exec_keeps_it(self, task: Task, host: StandInHost) -> None:
        calls.alarm(task, 2)
        task.process.timers.on_exec()
        assert host.alarm is not None
        task.process.timers.on_fork_child()
        assert calls.alarm(task, 0) == 0


class TestPosixTimers:
    def create(self, task: Task, clock: int = CLOCK_MONOTONIC, notify: int = 0, signo: int = SIGUSR1) -> int:
        task.mem.pack(Sigevent.struct, DATA, 0x1122334455, signo, notify, task.tid)
        assert calls.timer_create(task, clock, DATA, REST) == 0
        return task.mem.read_s32(REST)

    def set(self, task: Task, timer: int, value: int, interval: int = 0, flags: int = 0) -> tuple[int, ...]:
        task.mem.pack(Itimerspec.struct, DATA, *divmod(interval, SECOND), *divmod(value, SECOND))
        assert calls.timer_settime(task, timer, flags, DATA, REST) == 0
        return task.mem.unpack(Itimerspec.struct, REST)

    def get(self, task: Task, timer: int) -> tuple[int, ...]:
        assert calls.timer_gettime(task, timer, DATA) == 0
        return task.mem.unpack(Itimerspec.struct, DATA)

    def test_one_shot(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task)
        assert self.set(task, timer, 3 * SECOND) == (0, 0, 0, 0)
        host.advance(SECOND)
        assert self.get(task, timer) == (0, 0, 2, 0)
        host.advance(2 * SECOND)
        assert taken(task) == Siginfo(SIGUSR1, 0, SI_TIMER, timerid=timer, value=0x1122334455)
        assert self.get(task, timer) == (0, 0, 0, 0)
        assert calls.timer_getoverrun(task, timer) == 0

    def test_overruns_are_counted_at_delivery(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task)
        self.set(task, timer, SECOND, SECOND // 10)
        host.advance(SECOND)
        task.process.signals.collect(task)
        host.advance(SECOND // 2 + 1)
        info = taken(task)
        assert info is not None
        assert info.overrun == 5
        assert calls.timer_getoverrun(task, timer) == 5
        assert taken(task) is None
        host.advance(SECOND // 10)
        info = taken(task)
        assert info is not None
        assert info.overrun == 0

    def test_signal_of_an_earlier_setting_is_void(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task)
        self.set(task, timer, SECOND)
        host.advance(SECOND)
        task.process.signals.collect(task)
        assert task.process.signals.pending(task)
        self.set(task, timer, SECOND)
        assert taken(task) is None
        host.advance(SECOND)
        assert taken(task) is not None
        calls.timer_delete(task, timer)
        assert errno_of(calls.timer_gettime, task, timer, DATA) == EINVAL

    def test_absolute_time_in_the_past_ends_at_once(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task, CLOCK_REALTIME)
        self.set(task, timer, 1, 0, TIMER_ABSTIME)
        host.advance(1000)
        assert taken(task) is not None

    def test_several_and_an_alarm_share_the_host_timer(self, task: Task, host: StandInHost) -> None:
        first, second = self.create(task), self.create(task)
        self.set(task, first, 3 * SECOND)
        self.set(task, second, SECOND)
        calls.alarm(task, 2)
        order = []
        for _ in range(3):
            host.advance(SECOND)
            info = taken(task)
            assert info is not None
            order.append((info.signo, info.timerid))
        assert order == [(SIGUSR1, second), (SIGALRM, 0), (SIGUSR1, first)]

    def test_ignored_signal_does_not_stop_the_interval(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task, signo=SIGHUP)
        task.process.signals.set_action(task, SIGHUP, (SIG_IGN, 0, 0, 0))
        self.set(task, timer, SECOND, SECOND)
        for _ in range(3):
            host.advance(SECOND)
            assert taken(task) is None
        task.process.signals.set_action(task, SIGHUP, (0, 0, 0, 0))
        host.advance(SECOND)
        info = taken(task)
        assert info is not None
        assert info.signo == SIGHUP

    def test_sigev_none_only_counts(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task, notify=SIGEV_NONE, signo=0)
        self.set(task, timer, SECOND)
        assert host.alarm is None
        assert self.get(task, timer) == (0, 0, 1, 0)
        host.advance(SECOND)
        assert self.get(task, timer) == (0, 0, 0, 0)

    def test_thread_id(self, task: Task, host: StandInHost) -> None:
        timer = self.create(task, notify=SIGEV_THREAD_ID)
        self.set(task, timer, SECOND)
        host.advance(SECOND)
        task.process.signals.collect(task)
        assert task.sigpending.mask == bit(SIGUSR1)

    def test_errors(self, task: Task) -> None:
        def create(clock: int, notify: int, signo: int, tid: int = OWN_PID) -> int:
            task.mem.pack(Sigevent.struct, DATA, 0, signo, notify, tid)
            return errno_of(calls.timer_create, task, clock, DATA, REST)

        assert create(99, 0, SIGUSR1) == EINVAL
        assert create(CLOCK_MONOTONIC_RAW, 0, SIGUSR1) == EOPNOTSUPP
        assert create(CLOCK_MONOTONIC, 0, 0) == EINVAL
        assert create(CLOCK_MONOTONIC, 0, 65) == EINVAL
        assert create(CLOCK_MONOTONIC, 3, SIGUSR1) == EINVAL
        assert create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR1, 1) == EINVAL
        assert errno_of(calls.timer_create, task, 0, 0, 8) == EFAULT
        assert errno_of(calls.timer_getoverrun, task, 0) == EINVAL
        task.process.rlimits[11] = (0, 0)
        assert errno_of(calls.timer_create, task, 0, 0, REST) == EAGAIN

    def test_default_event_carries_the_id(self, task: Task, host: StandInHost) -> None:
        self.create(task)
        assert calls.timer_create(task, CLOCK_MONOTONIC, 0, REST) == 0
        self.set(task, 1, SECOND)
        host.advance(SECOND)
        assert taken(task) == Siginfo(SIGALRM, 0, SI_TIMER, timerid=1, value=1)


class TestSleep:
    def test_sleeps_its_time(self, task: Task, host: StandInHost) -> None:
        before = host.now
        assert calls.nanosleep(task, timespec(task, 5, 7), 0) == 0
        assert host.now - before == 5 * SECOND + 7

    def interrupt(self, task: Task, host: StandInHost) -> None:
        task.process.signals.set_action(task, SIGHUP, (0x1000, 0, 0, 0))

        def one_second_later() -> None:
            host.now += SECOND
            host.queued.append(Siginfo(SIGHUP))

        host.during_poll.append(one_second_later)

    def test_interrupted_tells_the_rest_and_goes_on_with_it(self, task: Task, host: StandInHost) -> None:
        self.interrupt(task, host)
        before = host.now
        assert errno_of(calls.nanosleep, task, timespec(task, 5), REST) == ERESTART_RESTARTBLOCK
        assert read_timespec(task, REST) == (4, 0)
        task.process.signals.take(task, -1)
        assert calls.restart_syscall(task) == 0
        assert host.now - before == 5 * SECOND

    def test_restart_without_a_call_to_restart(self, task: Task) -> None:
        assert errno_of(calls.restart_syscall, task) == EINTR

    def test_absolute(self, task: Task, host: StandInHost) -> None:
        self.interrupt(task, host)
        end = host.now + 5 * SECOND
        arguments = (CLOCK_MONOTONIC, TIMER_ABSTIME, timespec(task, *divmod(end, SECOND)), 8)
        assert errno_of(calls.clock_nanosleep, task, *arguments) == ERESTARTNOHAND
        task.process.signals.take(task, -1)
        assert calls.clock_nanosleep(task, *arguments) == 0
        assert host.now == end

    @pytest.mark.parametrize(("seconds", "nanoseconds"), [(-1, 0), (0, -1), (0, SECOND), (1 << 63, 0)])
    def test_bad_times(self, task: Task, seconds: int, nanoseconds: int) -> None:
        if seconds == 1 << 63:
            seconds = -(1 << 63)
        assert errno_of(calls.nanosleep, task, timespec(task, seconds, nanoseconds), 0) == EINVAL

    def test_bad_pointers(self, task: Task) -> None:
        assert errno_of(calls.nanosleep, task, 8, 0) == EFAULT
        assert errno_of(calls.nanosleep, task, (1 << 64) - 8, 0) == EFAULT


class TestClocks:
    def test_read(self, task: Task, host: StandInHost) -> None:
        assert calls.clock_gettime(task, CLOCK_MONOTONIC, DATA) == 0
        assert read_timespec(task, DATA) == divmod(host.now, SECOND)

    @pytest.mark.parametrize("clock", [8, 9, 10, 12, 100, -5, (~OWN_PID << 3) | 3, (~5555 << 3) | 2])
    def test_no_such_clock(self, task: Task, clock: int) -> None:
        assert errno_of(calls.clock_gettime, task, clock, DATA) == EINVAL

    def test_own_cpu_clocks(self, task: Task) -> None:
        assert calls.clock_gettime(task, (~OWN_PID << 3) | 1, DATA) == 0
        assert read_timespec(task, DATA) == (0, 2000)
        assert calls.clock_gettime(task, ~0 << 3, DATA) == 0
        assert read_timespec(task, DATA) == (0, 5000)

    def test_nobody_sets_a_clock(self, task: Task) -> None:
        assert errno_of(calls.clock_settime, task, CLOCK_REALTIME, timespec(task, 1)) == EPERM
        assert errno_of(calls.clock_settime, task, CLOCK_REALTIME, timespec(task, -1)) == EINVAL
        assert errno_of(calls.clock_settime, task, CLOCK_MONOTONIC, timespec(task, 1)) == EINVAL
        task.mem.write_u32(DATA, 1)
        assert errno_of(calls.adjtimex, task, DATA) == EPERM

    def test_adjtimex_reads(self, task: Task) -> None:
        task.mem.write(DATA, bytes(208))
        assert calls.adjtimex(task, DATA) == 5
        assert task.mem.read_u64(DATA + 88) == 10_000
