"""Puts the Linux host together, after a look at what its kernel can do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, O_DIRECTORY, O_PATH
from noah.host.api import Host
from noah.host.linux.events import LinuxEvents
from noah.host.linux.files import LinuxDirs, LinuxFiles
from noah.host.linux.mem import LinuxClock, LinuxMem
from noah.host.linux.procs import LinuxProcs
from noah.host.linux.signals import LinuxPoller, LinuxSignals
from noah.host.linux.sockets import LinuxSockets
from noah.host.linux.ttys import LinuxTtys
from noah.host.posix.clock import PosixRng
from noah.host.posix.inherited import claim
from noah.host.values import Caps


def make() -> Host:
    """The host that uses all that Linux has."""
    inherited = claim()
    signals = LinuxSignals()
    files = LinuxFiles()
    return Host(
        name="linux",
        inherited=inherited,
        caps=Caps(
            openat2=_has_openat2(files),
            o_path=True,
            o_tmpfile=True,
            proc_fd=os.path.isdir("/proc/self/fd"),
            nowait=True,
            xattr=True,
            ofd_locks=True,
            seals=True,
            sigqueue=True,
            waitid=True,
            pidfd=True,
            threads_scheduled=True,
            events=True,
            abstract_sockets=True,
            futex=True,
            proc=os.path.isfile("/proc/self/stat"),
            ioctl_passthrough=True,
        ),
        files=files,
        dirs=LinuxDirs(),
        procs=LinuxProcs(signals),
        signals=signals,
        poller=LinuxPoller(signals),
        ttys=LinuxTtys(),
        clock=LinuxClock(),
        rng=PosixRng(),
        mem=LinuxMem(),
        sockets=LinuxSockets(),
        events=LinuxEvents(),
    )


def _has_openat2(files: LinuxFiles) -> bool:
    """v5.6; also a container's seccomp filter may refuse it."""
    try:
        root = files.openat2_in_root(AT_FDCWD, b".", O_PATH | O_DIRECTORY)
    except LinuxError:
        return False
    files.close(root)
    return True
