"""/proc (proc(5)): the processes of the box, and what programs read of the system.

The host's own /proc is never reachable: its /proc/self is Noah.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import DT_DIR, DT_LNK
from noah.abi.mount import PROC_SUPER_MAGIC
from noah.abi.time import CLOCK_REALTIME
from noah.fs import devicenumbers
from noah.fs.hostproc import HostProc
from noah.fs.procinit import INIT, InitFiles
from noah.fs.procns import Namespaces
from noah.fs.procother import OtherFiles
from noah.fs.procpid import make_directory, number
from noah.fs.procself import SelfFiles
from noah.fs.procsys import SystemFiles
from noah.fs.virtual import DirNode, LinkNode, Node, VirtualTree

if TYPE_CHECKING:
    from noah.fs.procview import ProcessView
    from noah.host.api import Host

_LINKS: Final = {b"mounts": b"self/mounts", b"net": b"self/net"}


class ProcTree(VirtualTree):
    """The file system. It is empty until attach() says which process looks at it."""

    __slots__ = ("_host", "_namespaces", "_process", "_system")

    def __init__(self, host: Host) -> None:
        clock = host.clock
        root = DirNode(self._child, self._names)
        super().__init__(
            root, b"proc", PROC_SUPER_MAGIC, devicenumbers.PROC, lambda: clock.clock_gettime(CLOCK_REALTIME)
        )
        self._host = HostProc(host)
        self._namespaces = Namespaces(self.now)
        self._process: ProcessView | None = None
        self._system: SystemFiles | None = None

    def attach(self, process: ProcessView, release: bytes, version: bytes) -> None:
        """The process that this host process is; release and version are uname(2)'s."""
        self._process = process
        self._system = SystemFiles(process, self._host, release, version)
        process.tell = lambda question: SelfFiles(process, self._host, self._namespaces, asked=True).tell(question)

    def _child(self, name: bytes) -> Node | None:
        process = self._process
        if process is None or self._system is None:
            return None
        if name == b"self":
            return LinkNode(lambda: b"%d" % process.pid)
        if name == b"thread-self":
            return LinkNode(lambda: b"%d/task/%d" % (process.pid, process.running_tid))
        if name in _LINKS:
            return LinkNode(lambda: _LINKS[name])
        pid = number(name)
        return self._process_node(process, pid) if pid >= 0 else self._system.child(name)

    def _process_node(self, process: ProcessView, pid: int) -> Node | None:
        host, namespaces = self._host, self._namespaces
        if pid == process.pid:
            return make_directory(host, SelfFiles(process, host, namespaces))
        if not process.box.contains(pid):
            return make_directory(host, InitFiles(process, host, namespaces)) if pid == INIT else None
        shown = process.box.shown(pid)
        return make_directory(host, OtherFiles(process, host, namespaces, pid, shown)) if shown is not None else None

    def _names(self) -> Sequence[tuple[bytes, int]]:
        process = self._process
        if process is None or self._system is None:
            return ()
        pids = [(b"%d" % pid, DT_DIR) for pid in sorted({INIT, process.pid, *process.box.members()})]
        links = [(name, DT_LNK) for name in (b"self", b"thread-self", *_LINKS)]
        return [*self._system.names(), *links, *pids]
