"""Clocks and memory of a Linux host."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi.errno import EFAULT, LinuxError
from noah.abi.futex import FUTEX_CMD_MASK, FUTEX_CMP_REQUEUE, FUTEX_REQUEUE, FUTEX_WAKE_OP
from noah.abi.signal import SI_TIMER, SIGEV_SIGNAL, SIGRTMAX
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.host.errnos import from_host
from noah.host.linux.kernel import syscall
from noah.host.posix.clock import PosixClock
from noah.host.posix.libc import LIBC, check
from noah.host.posix.mem import PosixMem
from noah.host.values import Siginfo

_IOVEC: Final = struct.Struct("=QQ")
_TIMESPEC: Final = struct.Struct("=qq")
_ITIMERSPEC: Final = struct.Struct("=4q")
_SIGEVENT: Final = struct.Struct("=Qii48x")  # struct sigevent: value, signo, notify
_RING_SIGNAL: Final = SIGRTMAX - 2
_RING_VALUE: Final = 0x52494E47_4E4F4148  # tells it from what guests send to each other
_COUNTED: Final = frozenset((FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP))


class LinuxClock(PosixClock):
    """See noah.host.api.Clock.

    What rings is a timer of timer_create(2) with a real-time signal: these queue, so that it hides no signal that
    another process sends, as SIGALRM would.
    """

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer = -1

    def ring_in(self, span_ns: int) -> None:
        value = _ITIMERSPEC.pack(0, 0, *divmod(span_ns, NSEC_PER_SEC))
        if self._timer >= 0:
            try:
                syscall("timer_settime", self._timer, 0, value, None)
                return
            except LinuxError:
                pass  # it was the parent's
        timer = ctypes.c_int32()
        event = _SIGEVENT.pack(_RING_VALUE, _RING_SIGNAL, SIGEV_SIGNAL)
        syscall("timer_create", CLOCK_MONOTONIC, event, ctypes.byref(timer))
        self._timer = timer.value
        syscall("timer_settime", self._timer, 0, value, None)

    def is_ring(self, info: Siginfo) -> bool | None:
        return info.signo == _RING_SIGNAL and info.code == SI_TIMER and info.value == _RING_VALUE

    def clock_gettime(self, clockid: int) -> int:
        try:
            return time.clock_gettime_ns(clockid)
        except OSError as error:
            raise from_host(error) from None

    def clock_getres(self, clockid: int) -> int:
        try:
            return round(time.clock_getres(clockid) * 1e9)
        except OSError as error:
            raise from_host(error) from None


class LinuxMem(PosixMem):
    """See noah.host.api.Mem."""

    __slots__ = ()

    def madvise(self, address: int, length: int, advice: int) -> None:
        check(LIBC.madvise(address, length, advice))

    def msync(self, address: int, length: int, flags: int) -> None:
        check(LIBC.msync(address, length, flags))

    def safe_read(self, address: int, count: int) -> bytes:
        copy = ctypes.create_string_buffer(count)
        here, there = _IOVEC.pack(ctypes.addressof(copy), count), _IOVEC.pack(address, count)
        if syscall("process_vm_readv", os.getpid(), here, 1, there, 1, 0) != count:
            raise LinuxError(EFAULT)
        return copy.raw

    def futex(
        self, address: int, op: int, value: int, limit_ns: int | None = None, other: int = 0, last: int = 0
    ) -> int:
        if op & FUTEX_CMD_MASK in _COUNTED:
            return syscall("futex", address, op, value, limit_ns, other, last)
        limit = None if limit_ns is None else _TIMESPEC.pack(*divmod(limit_ns, NSEC_PER_SEC))
        return syscall("futex", address, op, value, limit, other, last)

    def membarrier(self, command: int, flags: int, cpu: int) -> int:
        return syscall("membarrier", command, flags, cpu)
