"""A process without a machine and a host without a kernel: what signals and timers need, all of it scripted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from noah.abi.mman import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE
from noah.abi.signal import SI_KERNEL, SIGALRM
from noah.host.values import Siginfo, Sysinfo, WaitInfo
from noah.kernel.arch import ARCHES
from noah.kernel.signals import SignalState
from noah.kernel.task import Process, Task
from noah.kernel.timers import Timers
from noah.vfs.credentials import Credentials
from noah.vm.arena import Arena

if TYPE_CHECKING:
    from collections.abc import Callable

STACK = 0x7000_0000_0000
STACK_SIZE = 1 << 20
OWN_PID = 100
CHILD_PID = 101
STRANGER = 999


class WaitsForEver(Exception):
    """Nothing is scripted that could end this wait."""


class StandInVcpu:
    """Registers and floating-point state, and nothing that runs."""

    def run(self) -> int:
        raise AssertionError("no guest code in these tests")

    def __init__(self, arch: str) -> None:
        self.regs = [0] * (18 if arch == "x86_64" else 34)
        self.fp_size = 832 if arch == "x86_64" else 520
        self.fp = bytes(self.fp_size)
        self.vector = self.error_code = self.fault_address = self.fault_access = 0
        self.fault_present = False

    def get_fp(self) -> bytes:
        return self.fp

    def set_fp(self, state: bytes) -> None:
        self.fp = state or bytes(self.fp_size)


class StandInMachine:
    """Guest memory that only Noah itself looks at."""

    user_limit = 1 << 47
    coherent = True

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.arena = Arena(1 << 30)

    def map(self, *arguments: int) -> None: ...
    def protect(self, *arguments: int) -> None: ...
    def unmap(self, *arguments: int) -> None: ...
    def flush(self, *arguments: int) -> None: ...


class StandInHost:
    """Signals that a test queues, time that a test lets pass, and a record of what was done to other processes."""

    def __init__(self) -> None:
        self.queued: list[Siginfo] = []
        self.now = 1_000 * 10**9
        self.alarm: int | None = None
        self.done: list[tuple[Any, ...]] = []
        self.zombies: list[int] = []
        self.groups = {OWN_PID: OWN_PID, CHILD_PID: OWN_PID, STRANGER: OWN_PID}
        self.during_poll: list[Callable[[], None]] = []
        self.during_stop: Callable[[], None] | None = None
        self.name = "stand-in"
        self.caps = SimpleNamespace(waitid=True, sigqueue=True)
        self.signals = SimpleNamespace(inherited_blocked=0, inherited_ignored=0, collect=self._collect)
        self.clock = SimpleNamespace(
            clock_gettime=lambda clock: self.now + (10**18 if clock == 0 else 0),
            clock_getres=lambda clock: 1,
            setitimer=self._setitimer,
            ring_in=self._ring_in,
            is_ring=lambda info: info.signo == SIGALRM and info.code == SI_KERNEL,
            getitimer=lambda which: (0, 0),
        )
        self.poller = SimpleNamespace(poll=self._poll)
        self.mem = SimpleNamespace(shared=lambda size, fd=-1: memoryview(bytearray(size)))
        self.procs = SimpleNamespace(
            getpid=lambda: OWN_PID,
            getresuid=lambda: (1000, 1000, 1000),
            getpgid=lambda pid: self.groups[pid or OWN_PID],
            getrusage=lambda who: SimpleNamespace(utime_us=2, stime_us=3),
            times=lambda: (1, 2, 3, 4),
            kill=lambda pid, signo: self.done.append(("kill", pid, signo)) if signo else None,
            sigqueue=lambda pid, signo, value, code: self.done.append(("sigqueue", pid, signo, value, code)),
            stop_by_signal=self._stop,
            wait4=self._wait4,
            waitid=lambda *arguments: (WaitInfo(*(self.zombies[:1] or [0])), None),
            sysinfo=lambda: Sysinfo(0, (0, 0, 0), 1 << 34, 1 << 34, 0, 0, 0, 0, 1),
        )

    def _collect(self) -> list[Siginfo]:
        queued, self.queued = self.queued, []
        return queued

    def _setitimer(self, which: int, value_ns: int, interval_ns: int) -> tuple[int, int]:
        self.done.append(("setitimer", which, value_ns, interval_ns))
        return 0, 0

    def _ring_in(self, span_ns: int) -> None:
        self.alarm = self.now + span_ns if span_ns else None

    def _poll(self, fds: object, timeout_ns: int | None) -> tuple[list[tuple[int, int]], bool]:
        """The next scripted event, else time passes until the alarm or the deadline."""
        if self.during_poll:
            self.during_poll.pop(0)()
        elif self.alarm is not None and (timeout_ns is None or self.alarm <= self.now + timeout_ns):
            self.advance(self.alarm - self.now)
        else:
            if timeout_ns is None:
                raise WaitsForEver
            self.now += timeout_ns
        return [], bool(self.queued)

    def _stop(self, signo: int) -> None:
        self.done.append(("stop", signo))
        if self.during_stop is not None:
            self.during_stop()

    def _wait4(self, pid: int, options: int) -> tuple[int, int, None]:
        return (self.zombies.pop(0) if self.zombies else 0), 0, None

    def advance(self, nanoseconds: int) -> None:
        """Let time pass; the alarm rings."""
        self.now += nanoseconds
        if self.alarm is not None and self.alarm <= self.now:
            self.alarm = None
            self.queued.append(Siginfo(14, 0, 0x80))

    def killed(self) -> list[tuple[Any, ...]]:
        return [entry for entry in self.done if entry[0] in ("kill", "sigqueue")]


def make_task(host: StandInHost, arch: str) -> Task:
    from noah.kernel.box import Box

    anything: Any = None
    machine: Any = StandInMachine(arch)
    as_host: Any = host
    vcpu: Any = StandInVcpu(arch)
    process = Process(as_host, machine, ARCHES[arch], Box(as_host), Credentials(0, 0), anything, anything)
    process.signals = SignalState(process)
    process.timers = Timers(process)
    process.box.add(OWN_PID, process.creds, process.program)
    process.box.add(CHILD_PID, process.creds, process.program)
    task = Task(process, vcpu)
    process.tasks.append(task)
    process.signals.start(task)
    process.space.mmap(STACK, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x10, None, 0)
    vcpu.regs[process.arch.sp] = STACK + STACK_SIZE - 4096
    return task


@pytest.fixture
def host() -> StandInHost:
    return StandInHost()


@pytest.fixture
def task(host: StandInHost) -> Task:
    """A process for x86-64."""
    return make_task(host, "x86_64")


@pytest.fixture
def arm_task(host: StandInHost) -> Task:
    """A process for aarch64."""
    return make_task(host, "aarch64")
