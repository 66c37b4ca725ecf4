"""A Caller without a guest: files read and write memory of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import ERESTARTSYS, LinuxError
from noah.abi.time import CLOCK_MONOTONIC
from noah.vfs.credentials import Credentials
from noah.vfs.fdtable import FdTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from noah.host.api import Host
    from noah.mm.user import UserMemory
    from noah.vfs.namespace import FsContext


class FakeCaller:
    """Satisfies noah.vfs.caller.Caller. `on_wait`, when set, is called instead of the first wait that follows."""

    def __init__(self, host: Host, fs: FsContext) -> None:
        self.host = host
        self.fs = fs
        self.fds = FdTable()
        self.creds = Credentials(0, 0)
        self.pid = host.procs.getpid()
        self.mem: UserMemory
        self.signals: list[int] = []
        self.on_wait: list[Callable[[], None]] = []
        self.waits = 0

    def wait(self, fds: Sequence[tuple[int, int]], deadline_ns: int | None = None) -> list[tuple[int, int]]:
        self.waits += 1
        if self.on_wait:
            self.on_wait.pop(0)()
        left = None
        if deadline_ns is not None:
            left = max(0, deadline_ns - self.host.clock.clock_gettime(CLOCK_MONOTONIC))
        found, _ = self.host.poller.poll(fds, left if left is not None else 5_000_000_000, signals=False)
        assert found or left is not None, "waited for what never comes"
        return found

    def send_signal(self, signo: int) -> None:
        self.signals.append(signo)

    def check_not_running(self, stat: object) -> None:
        """Nothing runs."""

    def blocks_or_ignores(self, signo: int) -> bool:
        return False


def interrupt() -> None:
    """For on_wait: a signal of the guest comes."""
    raise LinuxError(ERESTARTSYS)


def view(size: int) -> memoryview:
    return memoryview(bytearray(size))
