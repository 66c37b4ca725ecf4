"""Whatever a program hands to the calls of signals and time, it gets an answer that Linux could give."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

import noah.syscalls.signal
import noah.syscalls.time  # noqa: F401 - declares its calls
from noah.abi.errno import ERRNO_NAMES, LinuxError
from noah.abi.signal import SIGHUP, SIGUSR1
from noah.host.values import Siginfo
from noah.kernel.control import NoReturn, ProcessExit
from noah.syscalls.registry import DECLARATIONS

from .conftest import CHILD_PID, OWN_PID, STACK, STACK_SIZE, StandInHost, WaitsForEver, make_task

if TYPE_CHECKING:
    from noah.kernel.task import Task

MODULES = ("noah.syscalls.signal", "noah.syscalls.time")
CALLS = sorted(name for name, call in DECLARATIONS.items() if call.function.__module__ in MODULES)
ROUNDS = 100


def a_value(rng: random.Random) -> int:
    """A register: small and huge numbers, good and bad pointers, process ids, signals."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(
            (0, 1, 2, 8, 9, 14, 40, 64, 65, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
        )
    if kind == 1:
        return rng.choice((OWN_PID, CHILD_PID, -OWN_PID, ~OWN_PID << 3 | rng.randrange(8), ~0 << 3)) & (1 << 64) - 1
    if kind == 2:
        return rng.choice((STACK - 4, STACK + STACK_SIZE - 4, 8, 0xFFFF_8000_0000_0000, (1 << 64) - 8))
    if kind == 3:
        return rng.getrandbits(64)
    if kind == 4:
        return 8
    return STACK + 0x1000 + 8 * rng.randrange(64)


def fill(task: Task, rng: random.Random) -> None:
    """Garbage where the good pointers point: words small, huge or random."""
    for offset in range(0, 1024, 8):
        value = rng.choice((0, 0, 1, 5, 999_999, 1 << 31, 1 << 63, (1 << 64) - 1, rng.getrandbits(64)))
        task.mem.write_u64(STACK + 0x1000 + offset, value)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", CALLS)
def test_random_arguments(name: str, arch: str) -> None:
    rng = random.Random(name)
    host = StandInHost()
    task = make_task(host, arch)
    signals = task.process.signals
    call = DECLARATIONS[name].stub()

    def something_comes() -> None:
        host.advance(10**9)
        host.queued.append(Siginfo(SIGUSR1))

    for _ in range(ROUNDS):
        task.altstack = (0, 0, 0)
        task.vcpu.regs[task.process.arch.sp] = a_value(rng) if rng.randrange(2) else STACK + STACK_SIZE - 4096
        signals.set_mask(task, rng.getrandbits(64) & ~(1 << SIGUSR1 - 1))
        signals.set_action(task, SIGUSR1, (0x1000, 0x0C00_0004, 0x2000, 0))
        signals.set_action(task, SIGHUP, (0x1000, rng.getrandbits(32), 0x2000, rng.getrandbits(64)))
        fill(task, rng)
        host.during_poll = [something_comes] * 3
        result = 0
        try:
            result = call(task, *[a_value(rng) for _ in range(6)])
        except LinuxError as error:
            result = -error.errno
        except (NoReturn, WaitsForEver):
            pass
        assert result >= 0 or -result in ERRNO_NAMES
        try:
            signals.deliver(task, result)
        except ProcessExit:
            task.sigpending.flush(-1)
            signals.shared.flush(-1)
