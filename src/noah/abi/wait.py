"""wait.h: wait4(2), waitid(2) and the status word."""

from __future__ import annotations

from typing import Final

# wait4(2), waitid(2) options
WNOHANG: Final = 1
WUNTRACED: Final = 2
WSTOPPED: Final = 2
WEXITED: Final = 4
WCONTINUED: Final = 8
WNOWAIT: Final = 0x1000000
# Linux' names have two underscores in front; in a Python class such a name means something else
WNOTHREAD: Final = 0x20000000
WALL: Final = 0x40000000
WCLONE: Final = 0x80000000

# waitid(2) id types
P_ALL: Final = 0
P_PID: Final = 1
P_PGID: Final = 2
P_PIDFD: Final = 3

# The status word that wait4(2) stores
WCORE_FLAG: Final = 0x80  # or-ed to the signal: it left a core
WCONTINUED_STATUS: Final = 0xFFFF  # continued by SIGCONT


def exited(code: int) -> int:
    """The status word of a process that called exit(code)."""
    return (code & 0xFF) << 8


def signaled(signal: int, *, core: bool = False) -> int:
    """The status word of a process that a signal killed."""
    return signal | (WCORE_FLAG if core else 0)


def stopped(signal: int) -> int:
    """The status word of a process that a signal stopped."""
    return signal << 8 | 0x7F
