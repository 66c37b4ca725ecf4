"""The box: the guest processes that see each other.

All of them descend from one host process, so a piece of shared memory inherited over fork is registry enough: a byte for
each possible process id. It needs no file, no lock (every process writes its own byte or its child's) and is gone with
the last process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from noah.abi.errno import LinuxError
from noah.abi.limits import PID_MAX_LIMIT
from noah.host.api import Host

_SCAN: Final = 1 << 16


class Box:
    """Process ids of one `noah run` and everything that it started."""

    __slots__ = ("_host", "_members")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._members = host.mem.shared(PID_MAX_LIMIT)

    def add(self, pid: int) -> None:
        self._members[pid] = 1

    def remove(self, pid: int) -> None:
        """The process was reaped by its parent."""
        self._members[pid] = 0

    def contains(self, pid: int) -> bool:
        return 0 < pid < PID_MAX_LIMIT and self._members[pid] != 0

    def members(self) -> Iterator[int]:
        """Every process of the box that still exists; entries of processes that others reaped are dropped."""
        for start in range(0, PID_MAX_LIMIT, _SCAN):
            block = bytes(self._members[start : start + _SCAN])
            at = block.find(1)
            while at >= 0:
                pid = start + at
                try:
                    self._host.procs.kill(pid, 0)
                    yield pid
                except LinuxError:
                    self._members[pid] = 0
                at = block.find(1, at + 1)

    def group_contains(self, pgid: int) -> bool:
        """Whether a process group holds a process of the box."""
        if self.contains(pgid):
            return True
        for pid in self.members():
            try:
                if self._host.procs.getpgid(pid) == pgid:
                    return True
            except LinuxError:
                continue
        return False
