"""What /proc shows of a process: the Protocol that kernel.task.Process satisfies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.mm.space import AddressSpace
    from noah.vfs.credentials import Credentials
    from noah.vfs.fdtable import FdTable
    from noah.vfs.namespace import FsContext


class BoxView(Protocol):
    """The processes that may see each other."""

    def members(self) -> Iterator[int]: ...
    def contains(self, pid: int) -> bool: ...


class SignalsView(Protocol):
    @property
    def actions(self) -> Sequence[tuple[int, int, int, int]]:
        """By signal number: handler, flags, restorer, mask."""


class PendingView(Protocol):
    @property
    def mask(self) -> int: ...


class TaskView(Protocol):
    @property
    def tid(self) -> int: ...
    @property
    def sigmask(self) -> int: ...
    @property
    def sigpending(self) -> PendingView: ...


class ProcessView(Protocol):
    """The calling process. See noah.kernel.task.Process."""

    comm: bytes

    @property
    def host(self) -> Host: ...
    @property
    def box(self) -> BoxView: ...
    @property
    def creds(self) -> Credentials: ...
    @property
    def fds(self) -> FdTable: ...
    @property
    def fs(self) -> FsContext: ...
    @property
    def signals(self) -> SignalsView: ...
    @property
    def space(self) -> AddressSpace: ...
    @property
    def tasks(self) -> Sequence[TaskView]: ...
    @property
    def pid(self) -> int: ...
    @property
    def parent_pid(self) -> int: ...
    @property
    def exe(self) -> bytes: ...
    @property
    def argv(self) -> Sequence[bytes]: ...
    @property
    def environ(self) -> Sequence[bytes]: ...
    @property
    def auxv(self) -> bytes: ...
    @property
    def rlimits(self) -> dict[int, tuple[int, int]]: ...
    @property
    def no_new_privs(self) -> bool: ...
    @property
    def dumpable(self) -> int: ...
    @property
    def personality(self) -> int: ...
