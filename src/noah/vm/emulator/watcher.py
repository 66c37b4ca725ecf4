"""Host signals end a run of the emulator.

Noah keeps host signals blocked and asks for them between runs. KVM_RUN notices a pending signal by itself; Unicorn
cannot, so a thread waits until one is pending for the process and kicks the machine. It never takes the signal.

Linux: a signalfd becomes readable when a signal of its mask is pending (signalfd(2)); it is polled and never read.
Elsewhere: sigpending(2), every 5 ms while guest code runs.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Set
from typing import Final, Protocol

# signal.valid_signals() takes 0.1 ms to make objects of them. 32 and 33 are the C library's own (nptl(7)).
ALL: Final = frozenset(range(1, signal.NSIG)).difference((32, 33) if sys.platform == "linux" else ())

_SFD_CLOEXEC: Final = os.O_CLOEXEC
_SIGSET_SIZE: Final = 128  # sigset_t of glibc and musl
_BACK_OFF: Final = 1.0  # milliseconds, doubled up to:
_BACK_OFF_LIMIT: Final = 20.0
_PERIOD: Final = 0.005  # seconds


class Kickable(Protocol):
    def kick(self) -> None: ...
    def running(self) -> bool:
        """Whether guest code runs right now."""


def _signalfd(signals: Set[int]) -> int:
    """signalfd(2). Raises OSError."""
    mask = sum(1 << number - 1 for number in signals).to_bytes(_SIGSET_SIZE, "little")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.signalfd(-1, mask, _SFD_CLOEXEC)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(fd)


class SignalWatcher:
    """A daemon thread that kicks a machine while one of `signals` is pending for this process."""

    __slots__ = ("_closing", "_descriptors", "_ended", "_machine", "_signals", "_wake")

    def __init__(self, machine: Kickable, signals: Set[int]) -> None:
        self._machine = machine
        self._signals = frozenset(signals)
        self._closing = False
        self._wake = -1
        self._descriptors: list[int] = []
        body = self._watch_by_polling
        if sys.platform == "linux":
            body = self._watch
            self._descriptors.append(_signalfd(self._signals))
            reader, self._wake = os.pipe()
            self._descriptors += (reader, self._wake)
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        # Every process pays for this: threading.Thread.start() would wait for the thread to come up.
        _thread.start_new_thread(self._run, (body,))

    def _run(self, body: Callable[[], None]) -> None:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, ALL)  # it must never be the one that takes a signal
            body()
        finally:
            self._ended.release()

    def _watch(self) -> None:
        signals, closing, _ = self._descriptors
        ending = select.poll()
        ending.register(closing, select.POLLIN)
        either = select.poll()
        either.register(closing, select.POLLIN)
        either.register(signals, select.POLLIN)
        back_off = 0.0
        while True:
            if back_off:
                ending.poll(back_off)
            pending = either.poll(0 if back_off else None)
            if self._closing:
                return
            if not pending:
                back_off = 0.0
            elif not back_off:
                self._machine.kick()
                back_off = _BACK_OFF
            else:
                # Still pending: the owner is about to take it, or has taken it and another one came meanwhile.
                if self._machine.running():
                    self._machine.kick()
                back_off = min(back_off * 2, _BACK_OFF_LIMIT)

    def _watch_by_polling(self) -> None:
        while not self._closing:
            if self._machine.running() and not self._signals.isdisjoint(signal.sigpending()):
                self._machine.kick()
            time.sleep(_PERIOD)

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        if self._wake >= 0:
            os.write(self._wake, b"\0")
        self._ended.acquire()
        self.abandon()

    def abandon(self) -> None:
        """In a forked child, which has the descriptors but not the thread."""
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors.clear()
