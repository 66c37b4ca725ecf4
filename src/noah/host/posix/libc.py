"""POSIX functions that Python's standard library does not offer, or not in the form that we need.

Only functions that every POSIX host has, with types that need no layout of the host's structs.
"""

from __future__ import annotations

import ctypes
from typing import Final

from noah.abi.errno import EIO, LinuxError
from noah.host.errnos import TO_LINUX

LIBC: Final = ctypes.CDLL(None, use_errno=True)

_int: Final = ctypes.c_int
_size: Final = ctypes.c_size_t
_ptr: Final = ctypes.c_void_p


def last_error() -> LinuxError:
    """The LinuxError for errno as the last call through LIBC left it."""
    return LinuxError(TO_LINUX.get(ctypes.get_errno(), EIO))


for _name, _types in {
    "madvise": [_ptr, _size, _int],
    "mlock": [_ptr, _size],
    "munlock": [_ptr, _size],
    "msync": [_ptr, _size, _int],
    "getifaddrs": [_ptr],
    "freeifaddrs": [_ptr],
    "mincore": [_ptr, _size, _ptr],
    "mmap": [_ptr, _size, _int, _int, _int, ctypes.c_int64],
    "munmap": [_ptr, _size],
    "sigemptyset": [_ptr],
    "sigaddset": [_ptr, _int],
    "pthread_sigmask": [_int, _ptr, _ptr],
    "posix_openpt": [_int],
    "grantpt": [_int],
    "unlockpt": [_int],
    "tcgetsid": [_int],
}.items():
    getattr(LIBC, _name).argtypes = _types

LIBC.signal.argtypes = [_int, _ptr]
LIBC.signal.restype = _ptr
LIBC.ptsname.argtypes = [_int]
LIBC.mmap.restype = _ptr
LIBC.ptsname.restype = ctypes.c_char_p

SIG_DFL: Final = None  # a null handler


def check(result: int) -> int:
    """result, or the LinuxError for -1."""
    if result == -1:
        raise last_error()
    return result
