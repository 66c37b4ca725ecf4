"""Calls that another host thread may answer: none that is about the thread that runs the vCPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.kernel.conftest import STACK, make_task

from noah.abi.errno import EBADF, ERESTARTSYS, LinuxError
from noah.abi.fcntl import O_RDWR
from noah.abi.poll import POLLIN
from noah.abi.structs import PollFd
from noah.fs.pollset import PollSet
from noah.kernel.control import ProcessExit
from noah.kernel.run import answerer
from noah.kernel.task import GUEST, KERNEL
from noah.syscalls.beside import numbers
from noah.syscalls.epoll import epoll_wait
from noah.syscalls.poll import poll
from noah.syscalls.registry import NUMBERS
from noah.vfs.file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.kernel.conftest import StandInHost

    from noah.kernel.task import Task

# fmt: off
OF_THE_THREAD = (
    "arch_prctl", "clone", "clone3", "clock_gettime", "execve", "exit", "exit_group", "fork", "getpriority",
    "getrusage", "prctl", "rt_sigreturn", "sched_getaffinity", "sched_setaffinity", "setfsuid",
    "setpriority", "setresuid", "setuid", "sigaltstack", "times", "vfork", "wait4",
)
# fmt: on


@pytest.mark.parametrize("arch", sorted(NUMBERS))
def test_calls_about_the_thread_are_not_answered_beside(arch: str) -> None:
    beside = numbers(arch)
    assert not [name for name in OF_THE_THREAD if NUMBERS[arch].get(name) in beside]


def test_frequent_calls_are_answered_beside() -> None:
    names = ("read", "write", "openat", "close", "newfstatat", "recvfrom", "sendto", "accept4", "sendfile")
    assert {NUMBERS["x86_64"][name] for name in names} <= numbers("x86_64")


def _ends(task: Task, *registers: int) -> int:
    raise ProcessExit(1)


def _fails(task: Task, *registers: int) -> int:
    raise LinuxError(EBADF)


def _is_interrupted(task: Task, *registers: int) -> int:
    raise LinuxError(ERESTARTSYS)


def _signals(task: Task, *registers: int) -> int:
    task.process.signals.attention = 1
    return 5


def test_answers_are_those_of_the_run_loop(host: StandInHost) -> None:
    task = make_task(host, "x86_64")
    calls: list[tuple[int, ...]] = []

    def writes(task: Task, *registers: int) -> int:
        calls.append(registers)
        return 3

    table: list[Callable[..., int]] = [writes, _fails, _is_interrupted, _ends, _signals, writes]
    answer = answerer(task, table, frozenset(range(5)))
    assert answer(1 << 32, 1, 2, 3, 4, 5, 6) == (3, False)  # Linux looks at 32 bits of the number
    assert calls == [(1, 2, 3, 4, 5, 6)]
    assert answer(1, 0, 0, 0, 0, 0, 0) == ((1 << 64) - EBADF, False)
    assert answer(2, 0, 0, 0, 0, 0, 0) is None
    assert answer(3, 0, 0, 0, 0, 0, 0) is None
    assert answer(4, 0, 0, 0, 0, 0, 0) == (5, True)
    assert answer(5, 0, 0, 0, 0, 0, 0) is None
    assert len(calls) == 1


def test_answers_are_given_in_the_kernel_also_where_there_have_been_other_threads(host: StandInHost) -> None:
    task = make_task(host, "x86_64")
    seen: list[int] = []

    class Threads:
        is_free = True

        def try_enter(self, task: Task) -> bool:
            if self.is_free:
                task.where = KERNEL
            return self.is_free

        def leave(self, task: Task, where: int) -> None:
            task.where = where

    def looks(task: Task, *registers: int) -> int:
        seen.append(task.where)
        return 0

    threads = Threads()
    task.process.threads = cast("Any", threads)
    task.where = GUEST
    answer = answerer(task, [looks, _fails, _ends], frozenset(range(3)))
    assert answer(0, 0, 0, 0, 0, 0, 0) == (0, False)
    assert seen == [KERNEL]
    for number in (1, 2):
        answer(number, 0, 0, 0, 0, 0, 0)
        assert task.where == GUEST
    threads.is_free = False
    assert answer(0, 0, 0, 0, 0, 0, 0) is None
    assert seen == [KERNEL]


class _Set(PollSet):
    """What is ready is scripted."""

    def __init__(self, ready: list[tuple[int, int]]) -> None:
        OpenFile.__init__(self, O_RDWR)
        self.poll_fd = 3
        self.found = ready

    def collect(self, limit: int) -> list[tuple[int, int]]:
        return self.found


@pytest.mark.parametrize("ready", [[], [(1, 2)]], ids=["nothing", "one"])
def test_who_waits_leaves_the_guest(
    host: StandInHost, ready: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is ready is told of beside; to wait is nothing that a second processor should be kept busy for."""
    task = make_task(host, "x86_64")
    task.fds = cast("Any", SimpleNamespace(get=lambda fd: _Set(ready), limit=8))
    polled = SimpleNamespace(poll=lambda fds, timeout, signals: (fds and [(fds[0][0], POLLIN)] if ready else [], False))
    monkeypatch.setattr(host, "poller", polled)
    table: list[Callable[..., int]] = [
        lambda task, *_: epoll_wait(task, 3, STACK, 1, -1),
        lambda task, *_: poll(task, STACK, 1, -1),
    ]
    task.mem.write(STACK, PollFd.struct.pack(3, POLLIN, 0))
    answer = answerer(task, table, frozenset(range(2)))
    wanted = (1, False) if ready else None
    assert answer(1, 0, 0, 0, 0, 0, 0) == wanted
    assert answer(0, 0, 0, 0, 0, 0, 0) == wanted
    assert not task.beside
