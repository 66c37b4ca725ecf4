"""/proc/PID and /proc/PID/task/TID: which files there are, and who may read them (fs/proc/base.c: tgid_base_stuff)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from noah.abi.fcntl import DT_DIR, DT_LNK, DT_REG
from noah.fs.virtual import DirNode, FileNode, LinkNode, Node

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.vfs.place import Place


class _Entry(NamedTuple):
    mode: int = 0o444
    traced: bool = False  # for who may trace the process (PTRACE_MODE_READ), checked when it is opened
    process: bool = True  # in /proc/PID
    thread: bool = True  # in /proc/PID/task/TID


_READ: Final = _Entry()
_WRITE: Final = _Entry(0o644)
_OWN: Final = _Entry(0o400, traced=True)
_TRACED: Final = _Entry(traced=True)
_IN_PROCESS: Final = _Entry(thread=False)

_FILES: Final = {
    b"auxv": _OWN,
    b"cgroup": _READ,
    b"children": _Entry(process=False),
    b"cmdline": _READ,
    b"comm": _WRITE,
    b"coredump_filter": _Entry(0o644, thread=False),
    b"cpuset": _READ,
    b"environ": _OWN,
    b"gid_map": _WRITE,
    b"io": _OWN,
    b"limits": _READ,
    b"loginuid": _WRITE,
    b"maps": _TRACED,
    b"mem": _Entry(0o600, traced=True),
    b"mountinfo": _READ,
    b"mounts": _READ,
    b"mountstats": _Entry(0o400, thread=False),
    b"numa_maps": _TRACED,
    b"oom_adj": _WRITE,
    b"oom_score": _READ,
    b"oom_score_adj": _WRITE,
    b"pagemap": _OWN,
    b"personality": _Entry(0o400),
    b"projid_map": _WRITE,
    b"sched": _WRITE,
    b"schedstat": _READ,
    b"sessionid": _READ,
    b"setgroups": _WRITE,
    b"smaps": _TRACED,
    b"smaps_rollup": _TRACED,
    b"stack": _Entry(0o400),
    b"stat": _READ,
    b"statm": _READ,
    b"status": _READ,
    b"syscall": _Entry(0o400),
    b"timers": _IN_PROCESS,
    b"timerslack_ns": _Entry(0o666, thread=False),
    b"uid_map": _WRITE,
    b"wchan": _READ,
}
_LINKS: Final = (b"cwd", b"exe", b"root")


class ProcessFiles(Protocol):
    """What a process, or one thread of it, shows to the calling one. See procself and procother."""

    @property
    def owner(self) -> tuple[int, int]: ...
    def read(self, name: bytes) -> bytes:
        """The content of a file."""

    def write(self, name: bytes, data: bytes) -> None: ...
    def node(self, name: bytes) -> Node | None:
        """A file that is not just its content."""

    def check_traceable(self) -> None:
        """EACCES for who may not trace the process."""

    def link(self, name: bytes) -> bytes: ...
    def jump(self, name: bytes) -> Place: ...
    def namespaces(self) -> DirNode: ...
    def fds(self) -> Sequence[int]: ...
    def fd(self, fd: int) -> Node | None: ...
    def tids(self) -> Sequence[int]: ...
    def thread(self, tid: int) -> ProcessFiles | None: ...


def make_directory(host: HostProc, files: ProcessFiles, *, thread: bool = False) -> DirNode:
    """/proc/PID, or /proc/PID/task/TID."""
    owner = files.owner

    def child(name: bytes) -> Node | None:
        entry = _FILES.get(name)
        if entry is not None and (entry.thread if thread else entry.process):
            node = files.node(name)
            return node if node is not None else _file(files, name, entry, owner)
        if name in _LINKS:
            return LinkNode(lambda: files.link(name), 0o777, owner, lambda: files.jump(name))
        directory = _DIRECTORIES.get(name)
        if directory is not None and not (thread and name == b"task"):
            return directory(host, files, owner)
        return None

    def names() -> Sequence[tuple[bytes, int]]:
        found = [(name, DT_REG) for name, entry in _FILES.items() if (entry.thread if thread else entry.process)]
        found += [(name, DT_LNK) for name in _LINKS]
        found += [(name, DT_DIR) for name in _DIRECTORIES if not (thread and name == b"task")]
        return sorted(found)

    return DirNode(child, names, 0o555, owner)


def _file(files: ProcessFiles, name: bytes, entry: _Entry, owner: tuple[int, int]) -> FileNode:
    write = (lambda data: files.write(name, data)) if entry.mode & 0o222 else None
    guard = files.check_traceable if entry.traced else None
    return FileNode(lambda: files.read(name), entry.mode, owner, write, guard=guard)


def number(name: bytes) -> int:
    """A name as a number that is written as Linux writes it; -1 for any other."""
    return int(name) if name.isdigit() and len(name) < 11 and (len(name) == 1 or not name.startswith(b"0")) else -1


def _fd(host: HostProc, files: ProcessFiles, owner: tuple[int, int]) -> DirNode:
    def names() -> list[tuple[bytes, int]]:
        files.check_traceable()
        return [(b"%d" % fd, DT_LNK) for fd in files.fds()]

    return DirNode(lambda name: files.fd(number(name)), names, 0o500, owner)


def _fdinfo(host: HostProc, files: ProcessFiles, owner: tuple[int, int]) -> DirNode:
    def child(name: bytes) -> Node | None:
        if number(name) not in files.fds():
            return None
        return FileNode(lambda: files.read(b"fdinfo/" + name), 0o444, owner, guard=files.check_traceable)

    def names() -> list[tuple[bytes, int]]:
        files.check_traceable()
        return [(b"%d" % fd, DT_REG) for fd in files.fds()]

    return DirNode(child, names, 0o555, owner)


def _task(host: HostProc, files: ProcessFiles, owner: tuple[int, int]) -> DirNode:
    def child(name: bytes) -> Node | None:
        one = files.thread(number(name))
        return make_directory(host, one, thread=True) if one is not None else None

    return DirNode(child, lambda: [(b"%d" % tid, DT_DIR) for tid in files.tids()], 0o555, owner)


_DIRECTORIES: Final[dict[bytes, Callable[[HostProc, ProcessFiles, tuple[int, int]], DirNode]]] = {
    b"fd": _fd,
    b"fdinfo": _fdinfo,
    b"net": lambda host, files, owner: host.net(),
    b"ns": lambda host, files, owner: files.namespaces(),
    b"task": _task,
}
