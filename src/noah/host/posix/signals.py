"""Signals and waiting on any POSIX host. See noah.host.api.Signals for how the parts work together."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from noah.abi import poll as linux_poll
from noah.abi.errno import EINVAL, LinuxError
from noah.host.errnos import from_host
from noah.host.posix.libc import LIBC, check
from noah.host.signums import TO_LINUX, linux_signal
from noah.host.tables import Flags, named
from noah.host.values import Siginfo

SYNCHRONOUS: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP)
_NEVER: Final = (signal.SIGKILL, signal.SIGSTOP)
# The interpreter itself ignores these two from its start: what the parent had is lost.
_PYTHONS_OWN: Final = (signal.SIGPIPE, signal.SIGXFSZ)

_SIGSET_SIZE: Final = 128  # the largest sigset_t there is (glibc's)
_POLL: Final = Flags(named(linux_poll, "POLL"), named(select, "POLL"))
_MAX_MS: Final = (1 << 31) - 1


def linux_mask(host_signals: Sequence[int]) -> int:
    """Bit n-1 for Linux signal n."""
    mask = 0
    for number in host_signals:
        mask |= 1 << linux_signal(number) - 1
    return mask


def inherited_ignored() -> int:
    """Signals that the parent had ignored, as far as the interpreter shows it."""
    numbers = [n for n in signal.valid_signals() if n not in _PYTHONS_OWN and signal.getsignal(n) == signal.SIG_IGN]
    return linux_mask(numbers)


class PosixSignals:
    """See noah.host.api.Signals. SIGPIPE is ignored at all times: one that another process sends is lost."""

    __slots__ = ("_handled", "_kept", "_pipe", "_set", "inherited_blocked", "inherited_ignored", "taken")

    def __init__(self) -> None:
        self.inherited_blocked = 0
        self.inherited_ignored = 0
        self._handled: frozenset[int] = frozenset()
        self._set = ctypes.create_string_buffer(_SIGSET_SIZE)
        LIBC.sigemptyset(self._set)
        self._pipe = (-1, -1)
        self._kept: list[Siginfo] = []
        self.taken: list[int] = []
        """Host signals that pending() found in the pipe, still to be collected."""

    def block_all(self, synchronous: bool = True) -> None:
        self.inherited_ignored = inherited_ignored()
        leave = {*_NEVER, signal.SIGPIPE, *(() if synchronous else SYNCHRONOUS)}
        self._handled = frozenset(n for n in TO_LINUX if n not in leave and n in signal.valid_signals())
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self._handled)
        self.inherited_blocked = linux_mask([*blocked])
        for number in self._handled:
            signal.signal(number, _nothing)
            check(LIBC.sigaddset(self._set, number))
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.after_fork()

    def collect(self) -> list[Siginfo]:
        self.keep()
        found, self._kept = self._kept, []
        return [*(Siginfo(linux_signal(number)) for number in self._drain()), *found]

    def keep(self) -> bool:
        """Take what is pending, with its siginfo, for collect(). Whether that has something."""
        kept = self._kept
        if sys.platform == "darwin":
            while ready := [n for n in signal.sigpending() if n in self._handled]:
                kept.append(Siginfo(linux_signal(signal.sigwait([ready[0]]))))
        else:
            while (info := signal.sigtimedwait(self._handled, 0)) is not None:
                status = info.si_status if info.si_signo == signal.SIGCHLD else 0
                number = linux_signal(info.si_signo)
                kept.append(Siginfo(number, 0, info.si_code, info.si_pid, info.si_uid, status))
        return bool(kept or self.taken)

    def pending(self) -> int:
        self.taken = self._drain()
        kept = sum({1 << info.signo - 1 for info in self._kept})
        return kept | linux_mask([*(n for n in signal.sigpending() if n in self._handled), *self.taken])

    @property
    def wakeup_fd(self) -> int:
        return self._pipe[0]

    def after_fork(self) -> None:
        """The forking thread is the interpreter's main thread now, which alone may do this."""
        for fd in self._pipe:
            if fd >= 0:
                os.close(fd)
        self._kept, self.taken = [], []
        try:
            self._pipe = os.pipe()
        except OSError as error:
            raise from_host(error) from None
        for fd in self._pipe:
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def unblock(self) -> None:
        """Let the signals in, for the time of a poll: their C-level handler writes into the pipe."""
        LIBC.pthread_sigmask(signal.SIG_UNBLOCK, self._set, None)

    def block(self) -> None:
        LIBC.pthread_sigmask(signal.SIG_BLOCK, self._set, None)

    def _drain(self) -> list[int]:
        taken, self.taken = self.taken, []
        if self._pipe[0] >= 0:
            try:
                taken += os.read(self._pipe[0], 65536)
            except BlockingIOError:
                pass
        return taken


def _nothing(signum: int, frame: object) -> None:
    """The Python-level half of a handler: all is done when the C level has written into the pipe."""


class PosixPoller:
    """See noah.host.api.Poller. Timeouts are rounded up to milliseconds."""

    __slots__ = ("_signals",)

    def __init__(self, signals: PosixSignals) -> None:
        self._signals = signals

    def poll(
        self, fds: Sequence[tuple[int, int]], timeout_ns: int | None, signals: bool = True
    ) -> tuple[list[tuple[int, int]], bool]:
        poll = select.poll()
        wanted: dict[int, int] = {}
        for fd, events in fds:
            if fd >= 0:
                wanted[fd] = wanted.get(fd, 0) | events
        try:
            for fd, events in wanted.items():
                poll.register(fd, _POLL.to_host(events))
        except OverflowError:
            raise LinuxError(EINVAL) from None
        if not signals:
            return self._answer(fds, _wait(poll, timeout_ns)), False
        wakeup = self._signals.wakeup_fd
        poll.register(wakeup, select.POLLIN)
        # What is pending keeps its siginfo: it tells an engine's kick from the same signal of another process.
        pending = self._signals.keep()
        self._signals.unblock()
        try:
            found = _wait(poll, 0 if pending else timeout_ns)
        finally:
            self._signals.block()
        return self._answer(fds, found), pending or wakeup in found

    def _answer(self, fds: Sequence[tuple[int, int]], found: dict[int, int]) -> list[tuple[int, int]]:
        always = linux_poll.POLLERR | linux_poll.POLLHUP | linux_poll.POLLNVAL
        result = []
        for fd, events in fds:
            if fd in found and (revents := _POLL.to_linux(found[fd]) & (events | always)):
                result.append((fd, revents))
        return result


def _wait(poll: select.poll, timeout_ns: int | None) -> dict[int, int]:
    """What is ready: at once, or within timeout_ns. The interpreter itself goes on after EINTR (PEP 475)."""
    if timeout_ns is None:
        return dict(poll.poll())
    deadline = time.monotonic_ns() + timeout_ns
    while True:
        left_ms = max(0, -(-(deadline - time.monotonic_ns()) // 1_000_000))
        try:
            found = poll.poll(min(left_ms, _MAX_MS))
        except OSError as error:
            raise from_host(error) from None
        if found or left_ms == 0 or time.monotonic_ns() >= deadline:
            return dict(found)
