"""Puts the portable host together."""

from __future__ import annotations

import fcntl
import os
from typing import Final

from noah.host.api import Host
from noah.host.posix.clock import PosixClock, PosixRng
from noah.host.posix.events import PosixEvents
from noah.host.posix.files import PosixDirs, PosixFiles
from noah.host.posix.inherited import claim
from noah.host.posix.mem import PosixMem
from noah.host.posix.procs import PosixProcs
from noah.host.posix.signals import PosixPoller, PosixSignals
from noah.host.posix.sockets import PosixSockets
from noah.host.posix.ttys import PosixTtys
from noah.host.values import Caps

CAPS: Final = Caps(
    openat2=False,
    o_path=False,
    o_tmpfile=False,
    proc_fd=False,
    nowait=False,
    xattr=False,
    ofd_locks=hasattr(fcntl, "F_OFD_SETLK"),
    seals=False,
    sigqueue=False,
    waitid=hasattr(os, "waitid"),
    pidfd=False,
    threads_scheduled=False,
    events=False,
    abstract_sockets=False,
    futex=False,
    proc=False,
    ioctl_passthrough=False,
)


def make() -> Host:
    """The host that uses only what Python has on every POSIX system."""
    inherited = claim()
    signals = PosixSignals()
    return Host(
        name="posix",
        inherited=inherited,
        caps=CAPS,
        files=PosixFiles(),
        dirs=PosixDirs(),
        procs=PosixProcs(signals),
        signals=signals,
        poller=PosixPoller(signals),
        ttys=PosixTtys(),
        clock=PosixClock(),
        rng=PosixRng(),
        mem=PosixMem(),
        sockets=PosixSockets(),
        events=PosixEvents(),
    )
