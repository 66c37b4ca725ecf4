"""/proc/PID of the box's other processes: by their cards (noah.kernel.card), the host's numbers, and by asking them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_SYS_PTRACE
from noah.abi.errno import EACCES, ENOENT, EPERM, ESRCH, LinuxError
from noah.fs.adopt import tree_of
from noah.fs.procmaps import PAGE
from noah.fs.procself import SelfFiles
from noah.fs.procstat import PF_RANDOMIZE, Facts, Sizes, make_status
from noah.fs.virtual import DirNode, FdNode, Node
from noah.vfs.handle import Handle
from noah.vfs.namespace import Walk

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procns import Namespaces
    from noah.fs.procview import ProcessView, ShownView
    from noah.vfs.place import Place

_STATES: Final = {
    b"R": "R (running)",
    b"S": "S (sleeping)",
    b"D": "D (disk sleep)",
    b"T": "T (stopped)",
    b"Z": "Z (zombie)",
    b"I": "I (idle)",
}
# Fields of stat by position behind the name (proc_pid_stat(5), where the state is number 3)
_PPID, _PGRP, _SESSION, _FLAGS, _THREADS, _STARTED, _VSIZE, _RSS = 1, 2, 3, 6, 17, 19, 20, 21
_ADDRESSES: Final = (23, 24, 25, 26, 27, 42, 43, 44, 45, 46, 47, 48)  # startcode to eip, start_data to env_end
_SIGNALS: Final = (28, 29, 30, 31)
_FIELDS: Final = 50
_OF_BOX: Final = frozenset(
    (
        *(b"cgroup", b"coredump_filter", b"cpuset", b"gid_map", b"mountinfo", b"mounts", b"mountstats"),
        *(b"projid_map", b"setgroups", b"stack", b"uid_map", b"wchan"),
    )
)
"""The same for all processes."""
_WITHOUT_MEMORY: Final = frozenset((b"auxv", b"environ", b"maps", b"numa_maps", b"pagemap", b"smaps", b"statm"))
"""Empty for a zombie."""


class OtherFiles:
    """See noah.fs.procpid.ProcessFiles. tid: the thread that it is about, 0 for /proc/PID."""

    __slots__ = ("_host", "_mine", "_namespaces", "_pid", "_process", "_shown", "_tid")

    def __init__(
        self, process: ProcessView, host: HostProc, namespaces: Namespaces, pid: int, shown: ShownView, tid: int = 0
    ) -> None:
        """process: the calling one. shown: what the process of that pid shows."""
        self._process = process
        self._host = host
        self._namespaces = namespaces
        self._mine = SelfFiles(process, host, namespaces)
        self._pid = pid
        self._shown = shown
        self._tid = tid

    @property
    def owner(self) -> tuple[int, int]:
        return (self._shown.ids[1], self._shown.ids[5]) if self._shown.dumpable else (0, 0)

    def _now(self) -> ShownView:
        """What it shows now. ENOENT when it has ended."""
        shown = self._process.box.shown(self._pid)
        if shown is None:
            raise LinuxError(ENOENT)
        return shown

    def _ask(self, name: bytes) -> bytes:
        return self._process.ask(self._pid, b"task/%d/%s" % (self._tid, name) if self._tid else name)

    def read(self, name: bytes) -> bytes:
        if name in _OF_BOX:
            return self._mine.read(name)
        if name == b"comm":
            return self._comm() + b"\n"
        if self._is_zombie() and (name in _WITHOUT_MEMORY or name == b"cmdline"):
            return b"0 0 0 0 0 0 0\n" if name == b"statm" else b""
        if name == b"cmdline":
            return self._now().cmdline
        if name == b"environ" and (environ := self._now().environ) is not None:
            return environ
        if name == b"stat":
            return self._stat()
        if name == b"statm":
            return self._statm()
        if name == b"status":
            return self._status()
        return self._ask(name)

    def write(self, name: bytes, data: bytes) -> None:
        """EPERM: a process changes its own alone."""
        raise LinuxError(EPERM)

    def node(self, name: bytes) -> Node | None:
        return None

    def check_traceable(self) -> None:
        """PTRACE_MODE_READ_FSCREDS (ptrace(2)): EACCES for somebody else's process."""
        creds, shown = self._process.creds, self._now()
        ids = shown.ids
        same = (creds.fsuid,) * 3 == ids[:3] and (creds.fsgid,) * 3 == ids[4:7]
        if not ((same and shown.dumpable) or creds.capable(CAP_SYS_PTRACE)):
            raise LinuxError(EACCES)

    # -- links

    def link(self, name: bytes) -> bytes:
        self.check_traceable()
        if self._is_zombie():
            raise LinuxError(ENOENT)
        shown = self._now()
        return shown.exe if name == b"exe" else shown.cwd if name == b"cwd" else shown.root

    def jump(self, name: bytes) -> Place:
        return self._walk(self.link(name))

    def _walk(self, path: bytes) -> Place:
        fs = self._process.fs
        return Walk(fs, fs.mounts.root.root, 0).resolve(path, follow=True)

    def namespaces(self) -> DirNode:
        return self._namespaces.directory(self.owner, self.check_traceable)

    # -- descriptors

    def fds(self) -> Sequence[int]:
        return sorted(self._now().fds)

    def fd(self, fd: int) -> Node | None:
        self.check_traceable()
        number = self._now().fds.get(fd)
        if number is None:
            return None
        found = self._host.open_fd(self._pid, number)
        if found is not None:
            return self._host_fd(number, found)
        mode, _, path = self._ask(b"fd/%d" % fd).partition(b" ")
        return FdNode(lambda: path, int(mode, 8), self.owner, lambda: self._walk(path))

    def _host_fd(self, number: int, found: int) -> FdNode:
        mounts = self._process.fs.mounts
        files = mounts.anonymous.files
        tree = tree_of(mounts, found, files.fstat(found).mode)
        handle = Handle(tree.files, found)
        mode = self._host.fd_mode(self._pid, number)
        return FdNode(lambda: tree.guest_path(handle, b""), mode, self.owner, lambda: tree.place_of(handle, b""))

    # -- threads

    def tids(self) -> Sequence[int]:
        if self._now().threads < 2 or self._is_zombie():
            return [self._pid]
        return [int(word) for word in self._process.ask(self._pid, b"task").split()]

    def thread(self, tid: int) -> OtherFiles | None:
        if tid != self._pid and tid not in self.tids():
            return None
        return OtherFiles(self._process, self._host, self._namespaces, self._pid, self._shown, tid)

    # -- contents

    def _fields(self) -> list[bytes]:
        """Fields of stat from the state on; made up where the host does not tell them."""
        own = b"%d/task/%d" % (self._pid, self._tid) if self._tid else b"%d" % self._pid
        fields = self._host.stat_fields(own)
        if len(fields) < _FIELDS:
            procs = self._process.host.procs
            try:
                numbers = [self._now().parent, procs.getpgid(self._pid), procs.getsid(self._pid), 0, -1]
            except LinuxError:
                raise LinuxError(ENOENT) from None
            fields = [b"S", *(b"%d" % number for number in numbers), *(b"0",) * (_FIELDS - 6)]
            fields[_STARTED] = b"%d" % self._now().started
        return fields

    def _is_zombie(self) -> bool:
        return self._fields()[0] == b"Z"

    def _comm(self) -> bytes:
        if self._tid in (0, self._pid):
            return self._now().comm
        return self._ask(b"comm").rstrip(b"\n")

    def _resident(self, pages: int) -> int:
        """Pages of memory, of those that are mapped; what the host counts, without Noah's own."""
        data = self._host.read(b"%d/statm" % self._pid)
        return max(0, min(pages, int(data.split()[1]) - self._now().own_pages)) if data else pages

    def _parent(self, fields: Sequence[bytes]) -> int:
        return self._process.box.parent(int(fields[_PPID]))

    def _answer(self, name: bytes) -> bytes | None:
        """What the process says where the host tells nothing; None where it does, and if the process is silent."""
        if self._host.exists:
            return None
        try:
            return self._ask(name)
        except LinuxError as error:
            if error.errno == ESRCH:
                raise
            return None

    def _stat(self) -> bytes:
        answer = self._answer(b"stat")
        if answer is not None:
            return answer
        shown, fields = self._now(), self._fields()
        fields[_PPID] = b"%d" % self._parent(fields)
        fields[_FLAGS] = b"%d" % PF_RANDOMIZE
        fields[_THREADS] = b"%d" % shown.threads
        if fields[0] != b"Z":
            fields[_VSIZE] = b"%d" % (shown.pages * PAGE)
            fields[_RSS] = b"%d" % self._resident(shown.pages)
        for index in (*_ADDRESSES, *_SIGNALS):
            if index < len(fields):
                fields[index] = b"0"
        return b"%d (%s) %s\n" % (self._tid or self._pid, self._comm(), b" ".join(fields))

    def _statm(self) -> bytes:
        answer = self._answer(b"statm")
        if answer is not None:
            return answer
        pages = self._now().pages
        resident = self._resident(pages)
        return b"%d %d 0 0 0 %d 0\n" % (pages, resident, pages)

    def _status(self) -> bytes:
        """From the card: processes are listed often. A thread is asked."""
        if self._tid not in (0, self._pid):
            return self._ask(b"status")
        fields = self._fields()
        shown = self._now()
        facts = Facts(
            comm=shown.comm,
            umask=shown.umask,
            state=_STATES.get(fields[0], "S (sleeping)"),
            pid=self._pid,
            tid=self._tid or self._pid,
            parent=self._parent(fields),
            group=int(fields[_PGRP]),
            session=int(fields[_SESSION]),
            cpus=self._process.host.procs.sched_getaffinity(self._pid),
            ids=shown.ids,
            fds=list(shown.fds),
            groups=shown.groups,
            sizes=Sizes(shown.pages, self._resident(shown.pages)) if fields[0] != b"Z" else None,
            threads=shown.threads,
            pending=(0, 0),
            masks=shown.masks,
            no_new_privs=shown.no_new_privs,
            switches=self._switches(),
        )
        return make_status(self._process, facts)

    def _switches(self) -> tuple[int, int]:
        words = (self._host.read(b"%d/status" % self._pid) or b"").split()[-3:]
        return (int(words[0]), int(words[2])) if len(words) == 3 and words[0].isdigit() else (0, 0)
