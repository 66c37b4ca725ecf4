"""Files that read pending signals (signalfd(2)).

What the guest has pending is known to Noah alone. So that such a file can be waited for like any other, it has a pipe
of its own that holds something while one of its signals is pending; SignalState says when that may have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EINVAL, LinuxError
from noah.abi.fcntl import O_NONBLOCK, O_RDWR
from noah.abi.poll import POLLIN
from noah.abi.siginfo import (
    SiginfoChld,
    SiginfoFault,
    SiginfoKill,
    SiginfoPoll,
    SiginfoSys,
    SiginfoTimer,
    SignalfdSiginfo,
    layout_of,
)
from noah.abi.time import CLOCK_MONOTONIC
from noah.fs.anonymous import MadeUpFile, fill
from noah.kernel.task import Task
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Siginfo
    from noah.kernel.signals import SignalState
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

_SIZE: Final = SignalfdSiginfo.struct.size
_AGAIN_NS: Final = 5_000_000


class SignalFile(MadeUpFile):
    """A signalfd. `mask`: the signals that it reads, blocked or not."""

    __slots__ = ("_host", "_is_raised", "_read_end", "_signals", "_write_end", "mask", "poll_fd")

    kind = b"[signalfd]"

    def __init__(self, signals: SignalState, host: Host, mask: int, *, nonblock: bool) -> None:
        super().__init__(O_RDWR | (O_NONBLOCK if nonblock else 0))
        self._signals = signals
        self._host = host
        self.mask = mask
        self.renew()
        signals.files = (*signals.files, self)
        self.show()

    def renew(self) -> None:
        """A new process sees its own signals: the parent's pipe is no business of its."""
        read_end, write_end = self._host.files.pipe(O_NONBLOCK)
        self._read_end: Handle | None = Handle(self._host.files, read_end)
        self._write_end: Handle | None = Handle(self._host.files, write_end)
        self.poll_fd = read_end
        self._is_raised = False

    def close(self) -> None:
        self._signals.files = tuple(file for file in self._signals.files if file is not self)
        self._read_end = self._write_end = None

    def set_mask(self, mask: int) -> None:
        self.mask = mask
        self.show()

    def show(self, arrived: int = 0) -> None:
        """Let the pipe say whether a signal of the mask is pending. `arrived`: signals that came just now."""
        assert self._write_end is not None
        if self._signals.pending_anywhere() & self.mask:
            if not self._is_raised or arrived & self.mask:
                self._is_raised = True
                try:
                    self._host.files.write(self._write_end.number, b"s")
                except LinuxError:
                    pass  # the pipe is full
        elif self._is_raised:
            self._is_raised = False
            try:
                while self._host.files.read(self.poll_fd, 65536):
                    pass
            except LinuxError:
                pass  # EAGAIN: it is empty

    def read(self, caller: Caller, views: Views) -> int:
        assert isinstance(caller, Task)
        signals = self._signals
        room = sum(map(len, views)) // _SIZE
        if not room:
            raise LinuxError(EINVAL)
        found = b""
        while True:
            signals.collect(caller)
            while len(found) < room * _SIZE and (info := signals.take(caller, self.mask)) is not None:
                found += _describe(info)
            if found:
                break
            if self.flags & O_NONBLOCK:
                raise LinuxError(EAGAIN)
            try:
                if self._is_raised:  # by a signal for another thread
                    caller.wait((), self._host.clock.clock_gettime(CLOCK_MONOTONIC) + _AGAIN_NS)
                else:
                    caller.wait(((self.poll_fd, POLLIN),))
            except LinuxError:
                if not signals.pending(caller) & self.mask:
                    raise
        signals.recalculate(caller)
        return fill(views, found)


def _describe(info: Siginfo) -> bytes:
    """struct signalfd_siginfo: of a union of siginfo_t only what the signal has (signalfd_copyinfo())."""
    layout = layout_of(info.signo, info.code)
    pid = uid = fd = tid = band = overrun = status = value = utime = stime = addr = syscall = call_addr = arch = 0
    if layout is SiginfoKill:
        pid, uid = info.pid, info.uid
    elif layout is SiginfoTimer:
        tid, overrun, value = info.timerid, info.overrun, info.value
    elif layout is SiginfoPoll:
        band, fd = info.band, info.fd
    elif layout is SiginfoFault:
        addr = info.addr
    elif layout is SiginfoChld:
        pid, uid, status, utime, stime = info.pid, info.uid, info.status, info.utime, info.stime
    elif layout is SiginfoSys:
        call_addr, syscall, arch = info.addr, info.status, info.value & 0xFFFF_FFFF
    else:
        pid, uid, value = info.pid, info.uid, info.value
    number = (value & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)
    return SignalfdSiginfo.struct.pack(
        *(info.signo, info.errno, info.code, pid, uid, fd, tid, band & 0xFFFF_FFFF, overrun, 0, status, number, value),
        *(utime, stime, addr, 0, syscall, call_addr, arch),
    )
