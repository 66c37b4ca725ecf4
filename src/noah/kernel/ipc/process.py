"""What one process has to do with the IPC objects of its box. Made when it first asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.kernel.ipc.mqueue import Mqueues
from noah.kernel.ipc.msg import MsgQueues
from noah.kernel.ipc.sem import Semaphores
from noah.kernel.ipc.shm import Segments
from noah.kernel.ipc.store import Store

if TYPE_CHECKING:
    from noah.kernel.task import Process


class Ipc:
    """The objects as this process sees them."""

    __slots__ = ("mqueues", "queues", "segments", "semaphores", "store")

    def __init__(self, process: Process) -> None:
        self.store = store = Store(process.host, *process.box.ipc_file())
        self.semaphores = Semaphores(store)
        self.queues = MsgQueues(store)
        self.segments = Segments(store, process.host.files)
        self.mqueues = Mqueues(store)

    @property
    def has_objects(self) -> bool:
        """Whether a child inherits any: attached segments, open queues."""
        return self.segments.is_used or self.mqueues.is_used

    def after_fork(self) -> None:
        """In the child."""
        self.store.after_fork()
        self.segments.after_fork()
        self.mqueues.after_fork()

    def end(self, pid: int) -> None:
        """The process ends."""
        self.semaphores.end(pid)
        self.segments.end()
        self.mqueues.end()


def ipc_of(process: Process) -> Ipc:
    if process.ipc is None:
        process.ipc = Ipc(process)
    return process.ipc
