"""Calls that another host thread may answer: none that is about the thread that runs the vCPU."""

from __future__ import annotations

import pytest

from noah.syscalls.beside import numbers
from noah.syscalls.registry import NUMBERS

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
    assert {NUMBERS["x86_64"][name] for name in ("read", "write", "openat", "close", "newfstatat")} <= numbers("x86_64")
