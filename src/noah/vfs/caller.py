"""Who asks: what files need to know of the task that makes a system call. kernel.task.Task is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat
    from noah.mm.user import UserMemory
    from noah.vfs.credentials import Credentials
    from noah.vfs.fdtable import FdTable
    from noah.vfs.namespace import FsContext


class Caller(Protocol):
    """The calling task, as far as files may see it."""

    host: Host
    mem: UserMemory
    creds: Credentials
    fds: FdTable
    fs: FsContext
    pid: int

    def wait(self, fds: Sequence[tuple[int, int]], deadline_ns: int | None = None) -> list[tuple[int, int]]:
        """Wait for (host fd, POLL* events) until CLOCK_MONOTONIC reaches deadline_ns (None: for ever).

        Returns (fd, revents); empty when the time is over. Raises LinuxError(ERESTARTSYS) when a signal of the guest is
        to be delivered: files let it pass, the dispatcher makes EINTR or a restart of it.
        """

    def check_not_running(self, stat: Stat) -> None:
        """ETXTBSY for the file of a program that runs in the box: nobody may write to it."""

    def send_signal(self, signo: int) -> None:
        """Queue a signal for the caller itself (SIGPIPE, SIGXFSZ, SIGTTIN)."""

    def blocks_or_ignores(self, signo: int) -> bool:
        """Whether the guest's thread would not notice the signal: what job control asks."""
