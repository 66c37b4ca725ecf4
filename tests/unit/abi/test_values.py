"""The few functions and derived tables among the constants."""

from __future__ import annotations

import errno as host_errno
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.abi import aarch64, signal, stat, wait, x86_64
from noah.abi.arch import ABIS
from noah.abi.errno import EAGAIN, EINVAL, ERRNO_NAMES, EWOULDBLOCK, LinuxError
from noah.abi.fcntl import O_DIRECT, O_DIRECTORY


def test_errno_names_are_canonical() -> None:
    assert EWOULDBLOCK == EAGAIN
    assert ERRNO_NAMES[EAGAIN] == "EAGAIN"
    assert ERRNO_NAMES[35] == "EDEADLK"
    assert ERRNO_NAMES[95] == "EOPNOTSUPP"


@pytest.mark.skipif(sys.platform != "linux", reason="compares with the errno module of a Linux host")
def test_errno_names_are_pythons() -> None:
    theirs = {number: name for number, name in host_errno.errorcode.items() if name != "ENOTSUP"}
    theirs[95] = "EOPNOTSUPP"
    theirs[35] = "EDEADLK"
    assert {number: name for number, name in ERRNO_NAMES.items() if number < 512 and number in theirs} == theirs


def test_linux_error_is_no_host_error() -> None:
    error = LinuxError(EINVAL, "unknown flags")
    assert not isinstance(error, OSError)
    assert (error.errno, error.why, str(error)) == (EINVAL, "unknown flags", "EINVAL (unknown flags)")
    assert str(LinuxError(EINVAL)) == "EINVAL"


@given(st.integers(0, 0xFFF), st.integers(0, 0xFFFFF))
def test_device_numbers_survive(major: int, minor: int) -> None:
    dev = stat.makedev(major, minor)
    assert (stat.major(dev), stat.minor(dev)) == (major, minor)
    if sys.platform == "linux":
        assert (os.major(dev), os.minor(dev)) == (major, minor)


def test_wait_status_is_what_the_host_reads() -> None:
    assert os.waitstatus_to_exitcode(wait.exited(300)) == 300 & 0xFF
    assert os.waitstatus_to_exitcode(wait.signaled(9)) == -9
    assert os.WTERMSIG(wait.signaled(11, core=True)) == 11
    assert os.WCOREDUMP(wait.signaled(11, core=True))
    assert not os.WCOREDUMP(wait.signaled(11))
    assert os.WIFSTOPPED(wait.stopped(19))
    assert os.WSTOPSIG(wait.stopped(19)) == 19
    assert os.WIFCONTINUED(wait.WCONTINUED_STATUS)


def test_default_actions_follow_signal_7() -> None:
    def of(action: int) -> list[int]:
        return [number for number in range(1, signal.NSIG + 1) if signal.DEFAULT_ACTIONS[number] == action]

    assert of(signal.IGNORE) == [signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH]
    assert of(signal.STOP) == [signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU]
    assert of(signal.CONTINUE) == [signal.SIGCONT]
    assert len(of(signal.CORE)) == 10
    assert signal.DEFAULT_ACTIONS[signal.SIGRTMAX] == signal.TERMINATE
    assert signal.UNBLOCKABLE == 1 << 8 | 1 << 18


@given(st.integers(0, (1 << 32) - 1))
def test_open_flags_of_aarch64_are_their_own_inverse(flags: int) -> None:
    assert aarch64.open_flags(aarch64.open_flags(flags)) == flags
    assert x86_64.open_flags(flags) == flags


def test_open_flags_of_aarch64_move() -> None:
    assert aarch64.open_flags(0o40000) == O_DIRECTORY
    assert aarch64.open_flags(O_DIRECT) == 0o200000


@pytest.mark.parametrize("arch", ABIS)
def test_pack_stat_puts_values_where_stat_has_them(arch: str) -> None:
    abi = ABIS[arch]
    packed = abi.pack_stat(1, 2, 0o100644, 4, 5, 6, 7, 8, 4096, 10, -1, 1_500_000_000, 12_000_000_013)
    fields = dict(zip(abi.Stat.OFFSETS, abi.Stat.struct.unpack(packed), strict=True))
    assert fields == {
        **{"dev": 1, "ino": 2, "mode": 0o100644, "nlink": 4, "uid": 5, "gid": 6, "rdev": 7, "size": 8},
        **{"blksize": 4096, "blocks": 10, "atime": -1, "atime_nsec": 999_999_999},
        **{"mtime": 1, "mtime_nsec": 500_000_000, "ctime": 12, "ctime_nsec": 13},
    }


def test_smallest_signal_stack_holds_the_frame() -> None:
    assert x86_64.min_signal_stack(832) >= x86_64.SIGFRAME_SIZE + 832 + x86_64.FP_XSTATE_MAGIC2_SIZE + 63 + 15
    assert aarch64.min_signal_stack(528) == 4720  # what arm64 kernels without SVE report
    assert x86_64.SIGINFO_OFFSET == x86_64.UCONTEXT_OFFSET + x86_64.UC_SIGMASK + 8
    assert x86_64.SIGFRAME_SIZE == x86_64.SIGINFO_OFFSET + 128
    context = aarch64.UCONTEXT_OFFSET + aarch64.UC_MCONTEXT
    assert context + aarch64.SIGCONTEXT_RECORDS + aarch64.SIGCONTEXT_RECORDS_SIZE == aarch64.SIGFRAME_SIZE
