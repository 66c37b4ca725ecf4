"""Signals and waiting on Linux: rt_sigtimedwait(2), signalfd(2), ppoll(2). See noah.host.api.Signals."""

from __future__ import annotations

import ctypes
import os
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
from noah.host.errnos import TO_LINUX
from noah.host.linux.kernel import NUMBERS, syscall
from noah.host.posix.signals import SYNCHRONOUS, inherited_ignored, linux_mask
from noah.host.values import Siginfo

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_ppoll: Final = _LIBC.ppoll
_ppoll.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_void_p]
_raw: Final = _LIBC.syscall
_raw.restype = ctypes.c_long
_raw.argtypes = [ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_long]

_SIGTIMEDWAIT: Final = NUMBERS["rt_sigtimedwait"]
_INFO_SIZE: Final = 128
_Info: Final = ctypes.c_char * _INFO_SIZE
_Mask: Final = ctypes.c_char * linux.SIGSET_SIZE
_NOW: Final = bytes(16)  # struct timespec

_HEAD: Final = struct.Struct("=iii")  # si_signo, si_errno, si_code; the union starts at 16
_SENDER: Final = struct.Struct("=iIQ")  # pid, uid, value
_CHILD: Final = struct.Struct("=iIi4xqq")  # pid, uid, status, utime, stime
_TIMER: Final = struct.Struct("=iiQ")  # timer id, overrun, value
_BAND: Final = struct.Struct("=qi")  # band, fd
_ADDRESS: Final = struct.Struct("=Q")
_UNION: Final = 16

_FAULTS: Final = {linux.SIGSEGV, linux.SIGBUS, linux.SIGFPE, linux.SIGILL, linux.SIGTRAP}


def mask_bytes(mask: int) -> bytes:
    """sigset_t of the kernel."""
    return mask.to_bytes(linux.SIGSET_SIZE, sys.byteorder)


def sigprocmask(how: int, mask: int) -> int:
    """This thread's old mask; unlike the C library's this does not spare signals 32 and 33."""
    old = _Mask()
    syscall("rt_sigprocmask", how, mask_bytes(mask), old, linux.SIGSET_SIZE)
    return int.from_bytes(old.raw, sys.byteorder)


def parse(raw: bytes) -> Siginfo:
    """Siginfo of the kernel's 128 bytes: include/linux/signal.h, siginfo_layout()."""
    signo, errno, code = _HEAD.unpack_from(raw)
    if signo == linux.SIGCHLD and linux.CLD_EXITED <= code <= linux.CLD_CONTINUED:
        pid, uid, status, utime, stime = _CHILD.unpack_from(raw, _UNION)
        return Siginfo(signo, errno, code, pid, uid, status, 0, utime, stime)
    if code == linux.SI_TIMER:
        timerid, overrun, value = _TIMER.unpack_from(raw, _UNION)
        return Siginfo(signo, errno, code, value=value, timerid=timerid, overrun=overrun)
    if code == linux.SI_SIGIO or (signo == linux.SIGIO and linux.POLL_IN <= code <= linux.POLL_HUP):
        band, fd = _BAND.unpack_from(raw, _UNION)
        return Siginfo(signo, errno, code, band=band, fd=fd)
    if signo in _FAULTS and 0 < code < linux.SI_KERNEL:
        return Siginfo(signo, errno, code, addr=_ADDRESS.unpack_from(raw, _UNION)[0])
    pid, uid, value = _SENDER.unpack_from(raw, _UNION)
    return Siginfo(signo, errno, code, pid, uid, value=value if code < 0 else 0)


class LinuxSignals:
    """See noah.host.api.Signals. All dispositions are SIG_DFL: what is blocked is kept, whatever its default."""

    __slots__ = ("_fd", "_mask", "inherited_blocked", "inherited_ignored")

    def __init__(self) -> None:
        self.inherited_blocked = 0
        self.inherited_ignored = 0
        self._mask = mask_bytes(0)
        self._fd = -1

    def block_all(self, synchronous: bool = True) -> None:
        self.inherited_ignored = inherited_ignored()
        leave = 0 if synchronous else linux_mask(SYNCHRONOUS)
        mask = (1 << linux.NSIG) - 1 & ~leave & ~linux_mask((signal.SIGKILL, signal.SIGSTOP))
        self.inherited_blocked = sigprocmask(linux.SIG_BLOCK, mask)
        self._mask = mask_bytes(mask)
        for number in signal.valid_signals():
            if mask >> number - 1 & 1 and signal.getsignal(number) != signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)

    def collect(self) -> list[Siginfo]:
        found: list[Siginfo] = []
        info = _Info()
        while True:
            signo = _raw(_SIGTIMEDWAIT, self._mask, ctypes.byref(info), _NOW, linux.SIGSET_SIZE)
            if signo > 0:
                taken = parse(info.raw)
                # The kernel's own, for a write of this process: the writer has seen EPIPE.
                if signo != linux.SIGPIPE or taken.code != linux.SI_USER or taken.pid != os.getpid():
                    found.append(taken)
            elif ctypes.get_errno() != EINTR:  # EAGAIN: no more
                return found

    def pending(self) -> int:
        mask = _Mask()
        syscall("rt_sigpending", mask, linux.SIGSET_SIZE)
        return int.from_bytes(mask.raw, sys.byteorder)

    @property
    def wakeup_fd(self) -> int:
        if self._fd < 0:
            self._fd = syscall("signalfd4", -1, self._mask, linux.SIGSET_SIZE, linux.SFD_CLOEXEC | linux.SFD_NONBLOCK)
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
        # struct pollfd as two ints: the descriptor, and revents << 16 | events (both hosts are little-endian)
        table = array("i")
        for fd, events in fds:
            table.append(fd)
            table.append(events & 0x7FFF)
        if signals:
            table.append(self._signals.wakeup_fd)
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
        result = []
        for index, (fd, _) in enumerate(fds):
            if revents := table[2 * index + 1] >> 16 & 0xFFFF:
                result.append((fd, revents))
        return result, signals and table[-1] >> 16 != 0
