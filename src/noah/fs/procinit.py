"""/proc/1: the process that the box's first program descends from. It is Noah, and shows little more than its name.

See docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_FULL_SET
from noah.abi.errno import EACCES, ENOENT, EPERM, LinuxError
from noah.fs.procself import SelfFiles
from noah.fs.procstat import PF_RANDOMIZE, Facts, make_status
from noah.fs.virtual import DirNode, Node

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procns import Namespaces
    from noah.fs.procview import ProcessView
    from noah.vfs.place import Place

INIT: Final = 1
_COMM: Final = b"noah-init"
_OF_BOX: Final = frozenset(
    (
        *(b"cgroup", b"coredump_filter", b"cpuset", b"gid_map", b"mountinfo", b"mounts", b"mountstats"),
        *(b"oom_adj", b"oom_score", b"oom_score_adj", b"projid_map", b"setgroups", b"uid_map", b"wchan"),
    )
)
_CONTENTS: Final = {
    b"cmdline": _COMM + b"\0",
    b"comm": _COMM + b"\n",
    b"environ": b"container=noah\0",  # https://systemd.io/CONTAINER_INTERFACE
    b"loginuid": b"4294967295",
    b"sessionid": b"4294967295",
    b"stat": b"1 (%s) S 0 1 1 0 -1 %d%s 20 0 1%s 17%s\n" % (_COMM, PF_RANDOMIZE, b" 0" * 8, b" 0" * 17, b" 0" * 14),
    b"statm": b"0 0 0 0 0 0 0\n",
}


class InitFiles:
    """See noah.fs.procpid.ProcessFiles."""

    __slots__ = ("_mine", "_namespaces", "_process")

    owner: Final = (0, 0)

    def __init__(self, process: ProcessView, host: HostProc, namespaces: Namespaces) -> None:
        self._process = process
        self._mine = SelfFiles(process, host, namespaces)
        self._namespaces = namespaces

    def read(self, name: bytes) -> bytes:
        if name in _OF_BOX:
            return self._mine.read(name)
        if name == b"status":
            return self._status()
        content = _CONTENTS.get(name)
        if content is None:
            raise LinuxError(EACCES)
        return content

    def write(self, name: bytes, data: bytes) -> None:
        raise LinuxError(EPERM)

    def node(self, name: bytes) -> Node | None:
        return None

    def check_traceable(self) -> None:
        """It is root's; what only its tracer may see of it is empty."""
        if self._process.creds.fsuid:
            raise LinuxError(EACCES)

    def link(self, name: bytes) -> bytes:
        """No file of the box is its program."""
        self.check_traceable()
        if name == b"exe":
            raise LinuxError(ENOENT)
        return b"/"

    def jump(self, name: bytes) -> Place:
        self.link(name)
        return self._process.fs.mounts.root.root.place(b"")

    def namespaces(self) -> DirNode:
        return self._namespaces.directory(self.owner, self.check_traceable)

    def fds(self) -> Sequence[int]:
        return ()

    def fd(self, fd: int) -> Node | None:
        return None

    def tids(self) -> Sequence[int]:
        return (INIT,)

    def thread(self, tid: int) -> InitFiles | None:
        return self if tid == INIT else None

    def _status(self) -> bytes:
        return make_status(
            self._process,
            Facts(
                comm=_COMM,
                umask=0o022,
                state="S (sleeping)",
                pid=INIT,
                tid=INIT,
                parent=0,
                group=INIT,
                session=INIT,
                cpus=self._process.host.procs.sched_getaffinity(0),
                ids=(0,) * 8,
                fds=(),
                groups=(),
                sizes=None,
                threads=1,
                pending=(0, 0),
                masks=(*(0, 0, 0, 0), *(CAP_FULL_SET,) * 3, 0),
                no_new_privs=False,
                switches=(0, 0),
            ),
        )
