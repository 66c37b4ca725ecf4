"""What /proc shows of a process: the Protocol that kernel.task.Process satisfies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.mm.space import AddressSpace
    from noah.vfs.credentials import Credentials
    from noah.vfs.fdtable import FdTable
    from noah.vfs.namespace import FsContext


WAITING: Final = 2
"""noah.kernel.task.WAITING"""


class ShownView(Protocol):
    """What one process shows the others. See noah.kernel.card.Shown."""

    @property
    def parent(self) -> int: ...
    @property
    def pages(self) -> int: ...
    @property
    def umask(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def own_pages(self) -> int: ...
    @property
    def dumpable(self) -> bool: ...
    @property
    def started(self) -> int: ...
    @property
    def masks(self) -> tuple[int, ...]: ...
    @property
    def no_new_privs(self) -> bool: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def comm(self) -> bytes: ...
    @property
    def exe(self) -> bytes: ...
    @property
    def cwd(self) -> bytes: ...
    @property
    def root(self) -> bytes: ...
    @property
    def cmdline(self) -> bytes: ...
    @property
    def environ(self) -> bytes | None: ...
    @property
    def fds(self) -> dict[int, int]: ...


class BoxView(Protocol):
    """The processes that may see each other."""

    def shown(self, pid: int) -> ShownView | None: ...

    def members(self) -> Iterator[int]: ...
    def contains(self, pid: int) -> bool: ...
    def parent(self, pid: int) -> int:
        """A parent on the host, as the box sees it."""


class SignalsView(Protocol):
    @property
    def actions(self) -> Sequence[tuple[int, int, int, int]]:
        """By signal number: handler, flags, restorer, mask."""

    @property
    def shared(self) -> PendingView: ...


class PendingView(Protocol):
    @property
    def mask(self) -> int: ...


class TimersView(Protocol):
    def show(self) -> bytes:
        """The content of /proc/PID/timers."""


class QueueView(Protocol):
    """A POSIX message queue. See noah.kernel.ipc.show."""

    @property
    def name(self) -> bytes: ...
    @property
    def mode(self) -> int: ...
    @property
    def owner(self) -> tuple[int, int]: ...
    @property
    def content(self) -> bytes: ...


class TaskView(Protocol):
    comm: bytes

    @property
    def leader(self) -> bool: ...
    @property
    def where(self) -> int:
        """WAITING when it surely does."""

    def system_call(self) -> tuple[int, ...] | None:
        """The system call that the thread is in: its number, arguments, stack pointer and program counter."""

    @property
    def tid(self) -> int: ...
    @property
    def host_tid(self) -> int: ...
    @property
    def sigmask(self) -> int: ...
    @property
    def sigpending(self) -> PendingView: ...


class MachineView(Protocol):
    @property
    def arch(self) -> str: ...


class ProcessView(Protocol):
    """The calling process. See noah.kernel.task.Process."""

    comm: bytes
    oom_score_adj: int
    login: tuple[int, int]
    timer_slack: int
    tell: Callable[[bytes], bytes]

    def ask(self, pid: int, question: bytes) -> bytes:
        """What another process of the box tells: see noah.kernel.asking."""

    @property
    def nodename(self) -> bytes: ...
    @property
    def domainname(self) -> bytes: ...
    def sysvipc(self, name: bytes) -> bytes:
        """A file of /proc/sysvipc."""

    def mqueues(self) -> Sequence[QueueView]: ...
    def mq_unlink(self, name: bytes) -> None: ...
    @property
    def running_tid(self) -> int:
        """The thread that makes the system call."""

    def show(self) -> None:
        """Tell the box what has changed."""

    @property
    def machine(self) -> MachineView: ...
    @property
    def timers(self) -> TimersView: ...
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
