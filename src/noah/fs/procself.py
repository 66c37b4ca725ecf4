"""/proc/PID of the calling process: everything is known. It is also what the process tells others who ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_AUDIT_CONTROL
from noah.abi.errno import EACCES, EINVAL, ENOENT, EPERM, ERANGE, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_PATH, O_RDONLY, O_WRONLY, SEEK_CUR
from noah.abi.resource import RLIM_INFINITY
from noah.fs import procmaps
from noah.fs.procmounts import mountinfo, mounts, mountstats
from noah.fs.procpid import number
from noah.fs.procstat import Status
from noah.fs.virtual import DirNode, FdNode, Node
from noah.vfs.namespace import Walk

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procns import Namespaces
    from noah.fs.procview import ProcessView, TaskView
    from noah.vfs.file import OpenFile
    from noah.vfs.place import Place

IDENTITY_MAP: Final = b"         0          0 4294967295\n"
_MM: Final = frozenset((b"auxv", b"environ", b"maps", b"numa_maps", b"smaps", b"smaps_rollup"))
"""Files that, once opened, show nothing after the process has started another program (proc_mem_open())."""
_LIMITS: Final = (
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
)
"""By resource number (fs/proc/base.c: lnames)."""

_UNSET: Final = 0xFFFF_FFFF  # AUDIT_UID_UNSET, AUDIT_SID_UNSET

_Content = Callable[["SelfFiles"], bytes]


class SelfFiles:
    """See noah.fs.procpid.ProcessFiles. `task`: the thread that it is about; the first one for /proc/PID."""

    __slots__ = ("_asked", "_host", "_namespaces", "_process", "_program", "_task", "_thread")

    def __init__(
        self,
        process: ProcessView,
        host: HostProc,
        namespaces: Namespaces,
        task: TaskView | None = None,
        *,
        asked: bool = False,
    ) -> None:
        """asked: by another process."""
        self._process = process
        self._host = host
        self._namespaces = namespaces
        self._thread = task is not None
        self._task = task if task is not None else process.tasks[0]
        self._program = process.auxv
        self._asked = asked

    @property
    def owner(self) -> tuple[int, int]:
        creds = self._process.creds
        return (creds.euid, creds.egid) if self._process.dumpable == 1 else (0, 0)

    def read(self, name: bytes) -> bytes:
        if name.startswith(b"fdinfo/"):
            return self._fdinfo(number(name[7:]))
        if name in _MM and not self._lives():
            return b""
        content = _CONTENTS.get(name)
        if content is None:
            raise LinuxError(EINVAL)
        return content(self)

    def _lives(self) -> bool:
        return self._process.auxv is self._program

    def write(self, name: bytes, data: bytes) -> None:
        _WRITES.get(name, SelfFiles._refuse)(self, data)

    def _refuse(self, data: bytes) -> None:
        raise LinuxError(EPERM)

    def node(self, name: bytes) -> Node | None:
        space = self._process.space
        if name == b"mem":
            return procmaps.MemoryNode(procmaps.MemFile, space, self._lives, 0o600, self.owner)
        if name == b"pagemap":
            return procmaps.MemoryNode(procmaps.PagemapFile, space, self._lives, 0o400, self.owner)
        return None

    def check_traceable(self) -> None:
        """A process may always look at itself (__ptrace_may_access())."""

    # -- links

    def link(self, name: bytes) -> bytes:
        fs = self._process.fs
        if name == b"exe":
            return self._process.exe
        return (fs.cwd if name == b"cwd" else fs.root).shown_path(fs.root)

    def jump(self, name: bytes) -> Place:
        fs = self._process.fs
        if name == b"exe":
            return Walk(fs, fs.mounts.root.root, 0).resolve(self._process.exe, follow=True)
        return (fs.cwd if name == b"cwd" else fs.root).place(b"")

    def namespaces(self) -> DirNode:
        return self._namespaces.directory(self.owner, self.check_traceable)

    # -- descriptors

    def fds(self) -> Sequence[int]:
        return [fd for fd, _ in self._process.fds.items()]

    def _file(self, fd: int) -> OpenFile | None:
        try:
            return self._process.fds.get(fd) if fd >= 0 else None
        except LinuxError:
            return None

    def fd(self, fd: int) -> Node | None:
        file = self._file(fd)
        if file is None:
            return None
        return FdNode(lambda: file.path, self._fd_mode(file), self.owner, file.place)

    def _fd_mode(self, file: OpenFile) -> int:
        access = file.flags & O_ACCMODE
        return 0 if file.flags & O_PATH else (0o500 if access == O_RDONLY else 0o300 if access == O_WRONLY else 0o700)

    def tell(self, question: bytes) -> bytes:
        """The answer for another process of the box, which has checked that it may know.

        The name of a file here or in task/TID, or `task` for the thread ids, or fd/N: the mode of the link in octal, a
        blank, what it says.
        """
        head, _, rest = question.partition(b"/")
        if head == b"task" and rest:
            tid, _, name = rest.partition(b"/")
            thread = self.thread(number(tid))
            if thread is None:
                raise LinuxError(ENOENT)
            return thread.read(name)
        if head == b"task":
            return b" ".join(b"%d" % tid for tid in self.tids())
        return self._fd_link(number(rest)) if head == b"fd" else self.read(question)

    def _fd_link(self, fd: int) -> bytes:
        file = self._file(fd)
        if file is None:
            raise LinuxError(ENOENT)
        return b"%o %s" % (self._fd_mode(file), file.path)

    def _fdinfo(self, fd: int) -> bytes:
        file = self._file(fd)
        if file is None:
            raise LinuxError(ENOENT)
        try:
            position = file.seek(0, SEEK_CUR)
        except LinuxError:
            position = 0
        try:
            mount = file.place().mount.id
        except LinuxError:
            mount = 0
        values = position, file.get_flags(), mount, file.stat().ino
        return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % values

    # -- threads

    def tids(self) -> Sequence[int]:
        return sorted(task.tid for task in self._process.tasks)

    def thread(self, tid: int) -> SelfFiles | None:
        for task in self._process.tasks:
            if task.tid == tid:
                return SelfFiles(self._process, self._host, self._namespaces, task, asked=self._asked)
        return None

    # -- contents

    def _comm(self) -> bytes:
        return (self._process.comm if self._task.leader else self._task.comm or self._process.comm) + b"\n"

    def _set_comm(self, data: bytes) -> None:
        name = data.rstrip(b"\n")[:15]
        if self._task.leader:
            self._process.comm = name
        else:
            self._task.comm = name
        self._process.host.procs.set_name(name)
        self._process.show()

    def _oom_score_adj(self) -> bytes:
        return b"%d\n" % self._process.oom_score_adj

    def _set_oom_score_adj(self, data: bytes) -> None:
        value = _integer(data)
        if not -1000 <= value <= 1000:
            raise LinuxError(EINVAL)
        self._oom(value)

    def _set_oom_adj(self, data: bytes) -> None:
        value = _integer(data)
        if not -17 <= value <= 15:
            raise LinuxError(EINVAL)
        self._oom(1000 if value == 15 else value * 1000 // 17)

    def _oom(self, value: int) -> None:
        # Lower than it was takes CAP_SYS_RESOURCE, which a box does not have (__set_oom_adj()).
        if value < self._process.oom_score_adj and not self._process.creds.privileged:
            raise LinuxError(EACCES)
        self._process.oom_score_adj = value

    def _set_login(self, data: bytes) -> None:
        """kernel/audit.c: audit_set_loginuid(). Whoever is not logged in may log in."""
        text = data.removesuffix(b"\n")
        if not text.isdigit():
            raise LinuxError(EINVAL)
        uid = int(text)
        if uid > _UNSET:
            raise LinuxError(ERANGE)
        process = self._process
        if process.login[0] != _UNSET and not process.creds.capable(CAP_AUDIT_CONTROL):
            raise LinuxError(EPERM)
        # The host's kernel counts sessions; process ids tell them apart as well.
        process.login = (uid, process.pid if uid != _UNSET else _UNSET)

    def _set_timer_slack(self, data: bytes) -> None:
        self._process.timer_slack = _integer(data) or 50_000

    def _children(self) -> bytes:
        if not self._task.leader:
            return b""
        box, pid = self._process.box, self._process.pid
        shown = ((other, box.shown(other)) for other in sorted(box.members()))
        return b"".join(b"%d " % other for other, what in shown if what is not None and what.parent == pid)

    def _limits(self) -> bytes:
        lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}"]
        for resource, (name, unit) in enumerate(_LIMITS):
            soft, hard = (
                "unlimited" if limit == RLIM_INFINITY else str(limit)
                for limit in self._process.rlimits.get(resource, (RLIM_INFINITY, RLIM_INFINITY))
            )
            lines.append(f"{name:<25} {soft:<20} {hard:<20} {unit:<10}")
        return "\n".join(lines).encode() + b"\n"

    def _syscall(self) -> bytes:
        """The system call that the thread waits in, its arguments, stack pointer and program counter."""
        call = self._task.system_call()
        if call is None:
            return b"running\n"
        return (" ".join([str(call[0]), *map(hex, call[1:])]) + "\n").encode()

    def _stack(self) -> bytes:
        raise LinuxError(EACCES)  # takes CAP_SYS_ADMIN over the machine

    def _status(self) -> Status:
        return Status(self._process, self._host, self._task, thread=self._thread, asked=self._asked)

    def _of_host(self, name: bytes) -> bytes:
        """What the host counts for this process; b"" where it does not."""
        return self._host.read(b"self/" + (b"task/%d/" % self._task.tid if self._thread else b"") + name) or b""

    def _sched(self) -> bytes:
        head = b"%s (%d, #threads: %d)\n" % (self._comm().rstrip(b"\n"), self._task.tid, len(self._process.tasks))
        return head + self._of_host(b"sched").partition(b"\n")[2]

    def _io(self) -> bytes:
        names = (b"rchar", b"wchar", b"syscr", b"syscw", b"read_bytes", b"write_bytes", b"cancelled_write_bytes")
        return self._of_host(b"io") or b"".join(b"%s: 0\n" % name for name in names)


def _integer(data: bytes) -> int:
    """kstrtoint(): EINVAL for what is no number."""
    try:
        return int(data.strip(), 0)
    except ValueError:
        raise LinuxError(EINVAL) from None


_CONTENTS: Final[dict[bytes, _Content]] = {
    b"auxv": lambda files: files._process.auxv,
    b"cgroup": lambda files: b"0::/\n",
    b"children": SelfFiles._children,
    b"cmdline": lambda files: b"".join(word + b"\0" for word in files._process.argv),
    b"comm": SelfFiles._comm,
    b"coredump_filter": lambda files: b"00000033\n",
    b"cpuset": lambda files: b"/\n",
    b"environ": lambda files: b"".join(word + b"\0" for word in files._process.environ),
    b"gid_map": lambda files: IDENTITY_MAP,
    b"io": SelfFiles._io,
    b"limits": SelfFiles._limits,
    b"loginuid": lambda files: b"%d" % files._process.login[0],
    b"maps": lambda files: procmaps.maps(files._process.space),
    b"mountinfo": lambda files: mountinfo(files._process.fs),
    b"mounts": lambda files: mounts(files._process.fs),
    b"mountstats": lambda files: mountstats(files._process.fs),
    b"numa_maps": lambda files: procmaps.numa_maps(files._process.space),
    b"oom_adj": lambda files: b"%d\n" % (files._process.oom_score_adj * 17 // 1000),
    b"oom_score": lambda files: b"%d\n" % max(0, 666 + files._process.oom_score_adj * 2 // 3),
    b"oom_score_adj": SelfFiles._oom_score_adj,
    b"personality": lambda files: b"%08x\n" % files._process.personality,
    b"projid_map": lambda files: IDENTITY_MAP,
    b"sched": SelfFiles._sched,
    b"schedstat": lambda files: files._of_host(b"schedstat") or b"0 0 0\n",
    b"sessionid": lambda files: b"%d" % files._process.login[1],
    b"setgroups": lambda files: b"allow\n",
    b"smaps": lambda files: procmaps.smaps(files._process.space),
    b"smaps_rollup": lambda files: procmaps.smaps_rollup(files._process.space),
    b"stack": SelfFiles._stack,
    b"stat": lambda files: files._status().stat(),
    b"statm": lambda files: procmaps.statm(files._process.space),
    b"status": lambda files: files._status().status(),
    b"syscall": SelfFiles._syscall,
    b"timers": lambda files: files._process.timers.show(),
    b"timerslack_ns": lambda files: b"%d\n" % files._process.timer_slack,
    b"uid_map": lambda files: IDENTITY_MAP,
    b"wchan": lambda files: b"0",
}
_WRITES: Final[dict[bytes, Callable[[SelfFiles, bytes], None]]] = {
    b"comm": SelfFiles._set_comm,
    b"loginuid": SelfFiles._set_login,
    b"oom_adj": SelfFiles._set_oom_adj,
    b"oom_score_adj": SelfFiles._set_oom_score_adj,
    b"timerslack_ns": SelfFiles._set_timer_slack,
}
