"""/proc (proc(5)): the processes of the box, and what programs read of the system.

The host's own /proc is never reachable: its /proc/self is Noah.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import DT_DIR, DT_LNK, DT_REG
from noah.abi.mount import PROC_SUPER_MAGIC
from noah.abi.time import CLOCK_REALTIME
from noah.fs.hostproc import HostProc
from noah.fs.procother import OtherProcess
from noah.fs.procpid import ProcessFiles
from noah.fs.procsys import SystemFiles
from noah.fs.virtual import DirNode, FileNode, LinkNode, Node, VirtualTree

if TYPE_CHECKING:
    from noah.fs.procview import ProcessView
    from noah.host.api import Host

_LINKS: Final = {b"mounts": b"self/mounts", b"net": b"self/net"}
_DEVICE: Final = 0x17  # st_dev: a device number that no file system of a host has by chance
_PID_INO: Final = 1 << 20  # inode numbers of /proc/PID start at PID times this


class ProcTree(VirtualTree):
    """The file system. It is empty until attach() says which process looks at it."""

    __slots__ = ("_files", "_host", "_system")

    def __init__(self, host: Host) -> None:
        clock = host.clock
        root = DirNode(self._child, self._names, 1)
        super().__init__(root, b"proc", PROC_SUPER_MAGIC, _DEVICE, lambda: clock.clock_gettime(CLOCK_REALTIME))
        self._host = HostProc(host)
        self._files: ProcessFiles | None = None
        self._system: SystemFiles | None = None

    def attach(self, process: ProcessView, release: bytes, version: bytes) -> None:
        """The process that this host process is; release and version are uname(2)'s."""
        self._files = ProcessFiles(process, self._host)
        self._system = SystemFiles(self._host, release, version)

    def _child(self, name: bytes) -> Node | None:
        files = self._files
        if files is None:
            return None
        process = files.process
        if name == b"self":
            return LinkNode(lambda: b"%d" % process.pid, 2)
        if name == b"thread-self":
            return LinkNode(lambda: b"%d/task/%d" % (process.pid, process.tasks[0].tid), 3)
        if name in _LINKS:
            return LinkNode(lambda: _LINKS[name], 4)
        if name.isdigit() and not name.startswith(b"0") and len(name) < 10:
            pid = int(name)
            if pid == process.pid:
                return files.directory(pid * _PID_INO)
            return (
                OtherProcess(process, self._host, pid).directory(pid * _PID_INO) if process.box.contains(pid) else None
            )
        return self._system_node(name)

    def _names(self) -> Sequence[tuple[bytes, int]]:
        if self._files is None or self._system is None:
            return ()
        process = self._files.process
        found = {path.partition(b"/")[0]: DT_DIR if b"/" in path else DT_REG for path in self._system.files}
        pids = [(b"%d" % pid, DT_DIR) for pid in sorted({process.pid, *process.box.members()})]
        links = [(name, DT_LNK) for name in (b"self", b"thread-self", *_LINKS)]
        return [*sorted(found.items()), *links, *pids]

    def _system_node(self, path: bytes) -> Node | None:
        """A file, or the directory that the paths of files make."""
        assert self._system is not None
        files = self._system.files
        ino = 100 + sum(path) * 251 % 0xFFFF
        content = files.get(path)
        if content is not None:
            return FileNode(content, ino)
        prefix = path + b"/"
        below: dict[bytes, int] = {}
        for name in files:
            if name.startswith(prefix):
                first, slash, _ = name[len(prefix) :].partition(b"/")
                below[first] = DT_DIR if slash else DT_REG
        if not below:
            return None
        return DirNode(lambda name: self._system_node(prefix + name), lambda: sorted(below.items()), ino)
