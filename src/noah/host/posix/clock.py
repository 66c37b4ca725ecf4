"""Clocks, interval timers and randomness on any POSIX host."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from noah.abi import signal as linux_signal
from noah.abi import time as linux
from noah.abi.errno import EINVAL, LinuxError
from noah.host.errnos import from_host
from noah.host.tables import Numbers, named
from noah.host.values import Siginfo

# What a host without the clock has instead.
_STAND_IN: Final = {
    "CLOCK_REALTIME_COARSE": "CLOCK_REALTIME",
    "CLOCK_MONOTONIC_COARSE": "CLOCK_MONOTONIC",
    "CLOCK_MONOTONIC_RAW": "CLOCK_MONOTONIC",
    "CLOCK_BOOTTIME": "CLOCK_MONOTONIC",
}
_HOST: Final = named(time, "CLOCK_")
CLOCKS: Final = Numbers(
    named(linux, "CLOCK_"),
    {ours: _HOST[theirs] for ours, theirs in _STAND_IN.items() if theirs in _HOST} | _HOST,
).host
_TIMERS: Final = Numbers(named(linux, "ITIMER_"), named(signal, "ITIMER_"))


class PosixClock:
    """See noah.host.api.Clock."""

    __slots__ = ()

    def clock_gettime(self, clockid: int) -> int:
        try:
            return time.clock_gettime_ns(CLOCKS[clockid])
        except KeyError:
            raise LinuxError(EINVAL, f"no clock {clockid} on this host") from None
        except OSError as error:
            raise from_host(error) from None

    def clock_getres(self, clockid: int) -> int:
        try:
            return round(time.clock_getres(CLOCKS[clockid]) * 1e9)
        except KeyError:
            raise LinuxError(EINVAL, f"no clock {clockid} on this host") from None
        except OSError as error:
            raise from_host(error) from None

    def setitimer(self, which: int, value_ns: int, interval_ns: int) -> tuple[int, int]:
        try:
            value, interval = signal.setitimer(_TIMERS.to_host(which), value_ns / 1e9, interval_ns / 1e9)
        except OSError as error:
            raise from_host(error) from None
        return _ns(value), _ns(interval)

    def ring_in(self, span_ns: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, span_ns / 1e9)

    def is_ring(self, info: Siginfo) -> bool | None:
        if info.signo != linux_signal.SIGALRM or info.pid:
            return False
        return True if info.code == linux_signal.SI_KERNEL else None

    def getitimer(self, which: int) -> tuple[int, int]:
        value, interval = signal.getitimer(_TIMERS.to_host(which))
        return _ns(value), _ns(interval)


def _ns(seconds: float) -> int:
    """A timer's time: the kernel counts microseconds."""
    return round(seconds * 1e6) * 1000


class PosixRng:
    """See noah.host.api.Rng."""

    __slots__ = ()

    def getrandom(self, count: int) -> bytes:
        return os.urandom(count)
