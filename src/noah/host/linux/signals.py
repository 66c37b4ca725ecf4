"""Signals and waiting on Linux: signalfd(2), ppoll(2). See noah.host.api.Signals."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import sys
import time
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import poll as linux_poll
from noah.abi import signal as linux
from noah.abi.errno import EINTR, LinuxError
from noah.host.errnos import TO_LINUX, from_host
from noah.host.linux.kernel import syscall
from noah.host.posix.signals import SYNCHRONOUS, inherited_ignored, linux_mask
from noah.host.values import Siginfo

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_ppoll: Final = _LIBC.ppoll
_ppoll.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_void_p]
_sigpending: Final = _LIBC.sigpending
_sigpending.argtypes = [ctypes.c_void_p]
_Mask: Final = ctypes.c_char * linux.SIGSET_SIZE

# struct signalfd_siginfo: ssi_signo, errno, code, pid, uid, fd, tid, band, overrun, trapno, status, int, ptr, utime,
# stime, addr
_INFO: Final = struct.Struct("=IiiIIiIIIIiiQQQQ48x")
_MOST: Final = 16 * _INFO.size
assert _INFO.size == 128
_SIGACTION: Final = struct.Struct("=QQQQ")  # the kernel's: handler, flags, restorer, mask
OF_C_LIBRARY: Final = (32, 33)
"""SIGCANCEL and SIGSETXID: the C library lets nobody ask for or change what they do."""


def mask_bytes(mask: int) -> bytes:
    """sigset_t of the kernel."""
    return mask.to_bytes(linux.SIGSET_SIZE, sys.byteorder)


def sigprocmask(how: int, mask: int) -> int:
    """This thread's old mask; unlike the C library's this does not spare signals 32 and 33."""
    old = _Mask()
    syscall("rt_sigprocmask", how, mask_bytes(mask), old, linux.SIGSET_SIZE)
    return int.from_bytes(old.raw, sys.byteorder)


def stop_ignoring(signals: Sequence[int]) -> int:
    """Take signals that are ignored by their default; the mask of those that were."""
    ignored = 0
    for number in signals:
        action = ctypes.create_string_buffer(_SIGACTION.size)
        syscall("rt_sigaction", number, None, action, linux.SIGSET_SIZE)
        if _SIGACTION.unpack(action.raw)[0] == linux.SIG_IGN:
            ignored |= 1 << number - 1
            reset_action(number)
    return ignored


def reset_action(number: int) -> None:
    """Give a signal its default action, also one that the C library keeps to itself."""
    syscall("rt_sigaction", number, bytes(_SIGACTION.size), None, linux.SIGSET_SIZE)


class LinuxSignals:
    """See noah.host.api.Signals. All dispositions are SIG_DFL: what is blocked is kept, whatever its default."""

    __slots__ = ("_fd", "inherited_blocked", "inherited_ignored")

    def __init__(self) -> None:
        self.inherited_blocked = 0
        self.inherited_ignored = 0
        self._fd = -1

    def block_all(self, synchronous: bool = True) -> None:
        self.inherited_ignored = inherited_ignored() | stop_ignoring(OF_C_LIBRARY)
        leave = 0 if synchronous else linux_mask(SYNCHRONOUS)
        mask = (1 << linux.NSIG) - 1 & ~leave & ~linux_mask((signal.SIGKILL, signal.SIGSTOP))
        self.inherited_blocked = sigprocmask(linux.SIG_BLOCK, mask)
        flags = linux.SFD_CLOEXEC | linux.SFD_NONBLOCK
        self._fd = syscall("signalfd4", self._fd, mask_bytes(mask), linux.SIGSET_SIZE, flags)
        for number in signal.valid_signals():
            if mask >> number - 1 & 1 and signal.getsignal(number) != signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)

    def collect(self) -> list[Siginfo]:
        # Reading a signalfd is rt_sigtimedwait(2) for many signals at once, with no need of ctypes (twice as fast).
        found: list[Siginfo] = []
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _MOST)
            except BlockingIOError:
                break
            for raw in _INFO.iter_unpack(data):
                signo, errno, code, pid, uid, fd, timerid, band, overrun, _, status, _, value, utime, stime, addr = raw
                # The kernel's own, for a write of this process: the writer has seen EPIPE.
                if signo == linux.SIGPIPE and code == linux.SI_USER and pid == os.getpid():
                    continue
                found.append(
                    Siginfo(signo, errno, code, pid, uid, status, value, utime, stime, addr, band, fd, timerid, overrun)
                )
            if len(data) < _MOST:
                break
        return found

    def pending(self) -> int:
        mask = (ctypes.c_uint64 * 16)()  # the C library's sigset_t
        _sigpending(mask)
        return mask[0]

    @property
    def wakeup_fd(self) -> int:
        return self._fd

    def after_fork(self) -> None:
        """Nothing: a signalfd shows the pending signals of the process that polls it (signalfd(2), fork semantics)."""


class LinuxPoller:
    """See noah.host.api.Poller."""

    __slots__ = ("_signals",)

    def __init__(self, signals: LinuxSignals) -> None:
        self._signals = signals

    def poll(
        self, fds: Sequence[tuple[int, int]], timeout_ns: int | None, signals: bool = True
    ) -> tuple[list[tuple[int, int]], bool]:
        wakeup = self._signals.wakeup_fd if signals else -1
        if not timeout_ns and (len(fds) < 2 or len(dict(fds)) == len(fds)):
            # None or 0, each descriptor once: what select.poll() can do, for a third of what ctypes costs.
            poll = select.poll()
            wanted = [(fd, events) for fd, events in fds if fd >= 0]
            for fd, events in wanted:
                poll.register(fd, events & 0xFFFF)
            if wakeup >= 0:
                poll.register(wakeup, linux_poll.POLLIN)
            try:
                found = poll.poll(timeout_ns)
            except OSError as error:
                raise from_host(error) from None
            if found and found[-1][0] == wakeup:
                del found[-1]
                return found, True
            return found, False
        return _exact(fds, timeout_ns, wakeup)


def _exact(fds: Sequence[tuple[int, int]], timeout_ns: int | None, wakeup: int) -> tuple[list[tuple[int, int]], bool]:
    """poll() in nanoseconds, and with one descriptor as often as it comes."""
    # struct pollfd as two ints: the descriptor, and revents << 16 | events (every architecture here is little-endian)
    table = array("i")
    for fd, events in fds:
        table.append(fd)
        table.append(events & 0x7FFF)
    table.append(wakeup)
    table.append(linux_poll.POLLIN)
    address, length = table.buffer_info()
    deadline = 0 if timeout_ns is None else time.monotonic_ns() + timeout_ns
    while True:
        timeout = None if timeout_ns is None else struct.pack("=qq", *divmod(timeout_ns, 10**9))
        ready = _ppoll(address, length // 2, timeout, None)
        if ready >= 0:
            break
        if ctypes.get_errno() != EINTR:
            raise LinuxError(TO_LINUX[ctypes.get_errno()])
        if timeout_ns is not None:
            timeout_ns = max(0, deadline - time.monotonic_ns())
    if ready == 0:
        return [], False
    found = [
        (fd, revents) for (fd, _), state in zip(fds, table[1::2], strict=False) if (revents := state >> 16 & 0xFFFF)
    ]
    return found, table[-1] >> 16 != 0
