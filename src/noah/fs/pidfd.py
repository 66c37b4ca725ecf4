"""Descriptors for processes (pidfd_open(2)): the host's, or on hosts without them a process id that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENOSYS, LinuxError
from noah.abi.fcntl import O_NONBLOCK, O_RDWR
from noah.abi.poll import POLLHUP, POLLIN, POLLRDNORM
from noah.abi.time import CLOCK_MONOTONIC
from noah.abi.wait import P_PID, WEXITED, WNOHANG, WNOWAIT
from noah.host.values import Stat
from noah.vfs.file import OpenFile
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.host.api import Host

_LOOK_NS: Final = 5_000_000


class PidFile(OpenFile):
    """Readable when the process has ended."""

    __slots__ = ("_handle", "_host", "pid", "poll_fd")

    def __init__(self, host: Host, pid: int, flags: int = 0) -> None:
        """flags: PIDFD_NONBLOCK."""
        super().__init__(O_RDWR | flags)
        self._host = host
        self.pid = pid
        self._handle: Handle | None = None
        self.poll_fd = -1
        try:
            self._handle = Handle(host.files, host.procs.pidfd_open(pid, flags))
            self.poll_fd = self._handle.number
        except LinuxError as error:
            if error.errno != ENOSYS:
                raise

    def close(self) -> None:
        self._handle = None

    @property
    def path(self) -> bytes:
        return b"anon_inode:[pidfd]"

    def stat(self) -> Stat:
        if self._handle is not None:
            return self._host.files.fstat(self._handle.number)
        return Stat(0, self.pid, 0o600, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0)

    def set_flags(self, flags: int) -> None:
        self.flags = self.flags & ~O_NONBLOCK | flags & O_NONBLOCK

    def ready(self, events: int) -> int:
        if not self.has_ended():
            return 0
        return events & (POLLIN | POLLRDNORM) | (0 if self._exists() else POLLHUP)

    def changes_at(self) -> int:
        return self._host.clock.clock_gettime(CLOCK_MONOTONIC) + _LOOK_NS

    def has_ended(self) -> bool:
        procs = self._host.procs
        try:
            found, _ = procs.waitid(P_PID, self.pid, WEXITED | WNOHANG | WNOWAIT)
            return found.pid != 0
        except LinuxError:  # no child of ours
            return not self._exists()

    def _exists(self) -> bool:
        try:
            self._host.procs.kill(self.pid, 0)
        except LinuxError:
            return False
        return True
