"""System calls of the host kernel that the C library or Python has no function for."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING, Any, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import numbers
from noah.abi.errno import EIO, LinuxError
from noah.host.errnos import TO_LINUX

NUMBERS: Final = numbers.AARCH64 if os.uname().machine == "aarch64" else numbers.X86_64

_syscall: Final = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6  # an int, or bytes and ctypes objects as pointers
_syscall.restype = ctypes.c_long


def syscall(name: str, *arguments: Any) -> int:
    """Make a system call with up to six arguments: ints, None, bytes (to be read only), ctypes objects."""
    result = _syscall(NUMBERS[name], *arguments, *_ZEROS[len(arguments) :])
    if result == -1:
        raise LinuxError(TO_LINUX.get(ctypes.get_errno(), EIO))
    return int(result)


_ZEROS: Final = (0,) * 6
