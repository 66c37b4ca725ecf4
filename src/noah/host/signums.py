"""Signal numbers and wait statuses, Linux' and the host's."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

from noah.abi import signal as linux
from noah.abi import wait
from noah.abi.errno import EINVAL, LinuxError

_SECOND_NAMES: Final = {"SIGRTMIN", "SIGRTMAX", "SIGIOT", "SIGPOLL", "SIGSET_SIZE", "SIGCLD"}


def _table() -> dict[int, int]:
    if sys.platform == "linux":  # the C library's SIGRTMIN hides 32 and 33, the kernel has them
        return {n: n for n in range(1, linux.NSIG + 1)}
    result = {}
    for name, number in vars(linux).items():
        theirs = getattr(signal, name, None)
        if name.startswith("SIG") and "_" not in name and name not in _SECOND_NAMES and theirs is not None:
            result[number] = int(theirs)
    return result


TO_HOST: Final = _table()
TO_LINUX: Final = {theirs: ours for ours, theirs in TO_HOST.items()}


def host_signal(sig: int) -> int:
    """The host's number for Linux' sig; 0 is 0. LinuxError EINVAL if it has none."""
    if sig == 0:
        return 0
    try:
        return TO_HOST[sig]
    except KeyError:
        raise LinuxError(EINVAL, f"no signal {sig} on this host") from None


def linux_signal(sig: int) -> int:
    """Linux' number for the host's sig. One that Linux does not have (SIGINFO, SIGEMT) becomes SIGUSR1."""
    return TO_LINUX.get(sig, linux.SIGUSR1)


def linux_status(status: int) -> int:
    """The wait status word as Linux encodes it."""
    if os.WIFCONTINUED(status):
        return wait.WCONTINUED_STATUS
    if os.WIFSTOPPED(status):
        return linux_signal(os.WSTOPSIG(status)) << 8 | 0x7F
    if os.WIFSIGNALED(status):
        return linux_signal(os.WTERMSIG(status)) | (wait.WCORE_FLAG if os.WCOREDUMP(status) else 0)
    return os.WEXITSTATUS(status) << 8
