"""/proc/PID of the box's other processes: what they show (noah.kernel.card), and what the host tells of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, ENOENT, LinuxError
from noah.abi.fcntl import DT_DIR, DT_LNK, DT_REG
from noah.fs.hostfs import HostTree
from noah.fs.procmounts import mountinfo, mounts
from noah.fs.virtual import DirNode, FileNode, LinkNode, Node
from noah.vfs.namespace import Walk

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procview import ProcessView, ShownView
    from noah.vfs.place import Place

_PAGE_KIB: Final = 4
_STATES: Final = {
    b"R": "R (running)",
    b"S": "S (sleeping)",
    b"D": "D (disk sleep)",
    b"T": "T (stopped)",
    b"Z": "Z (zombie)",
    b"I": "I (idle)",
}
# Fields of stat by position behind the name (proc_pid_stat(5), where the state is number 3)
_PPID, _FLAGS, _THREADS, _VSIZE, _RSS = 1, 6, 17, 20, 21
_ADDRESSES: Final = (23, 24, 25, 26, 27, 42, 43, 44, 45, 46, 47, 48)  # startcode to eip, start_data to env_end
_SIGNALS: Final = (28, 29, 30, 31)
_PRIVATE: Final = (b"auxv", b"environ", b"io", b"maps", b"mem", b"pagemap", b"smaps", b"stack", b"syscall")
"""Files that only the process itself can answer here: as for somebody who may not trace it (ptrace(2))."""


class OtherProcess:
    """Another process of the box, as the calling `process` sees it."""

    __slots__ = ("_files", "_host", "_pid", "_process")

    def __init__(self, process: ProcessView, host: HostProc, pid: int) -> None:
        self._process = process
        self._host = host
        self._pid = pid
        self._files: dict[bytes, Callable[[], bytes]] = {
            b"cgroup": lambda: b"0::/\n",
            b"cmdline": lambda: b"" if self._is_zombie() else self._shown().cmdline,
            b"comm": lambda: self._shown().comm + b"\n",
            b"loginuid": lambda: b"4294967295",
            b"mountinfo": lambda: mountinfo(process.fs),
            b"mounts": lambda: mounts(process.fs),
            b"oom_adj": lambda: b"0\n",
            b"oom_score": lambda: b"0\n",
            b"oom_score_adj": lambda: b"0\n",
            b"sessionid": lambda: b"4294967295",
            b"stat": self._stat,
            b"statm": self._statm,
            b"status": self._status,
            b"wchan": lambda: b"0",
        }
        for name in _PRIVATE:
            self._files[name] = self._refuse

    def directory(self, ino: int, *, thread: bool = False) -> DirNode | None:
        """/proc/PID; None if there is no such process any more."""
        shown = self._process.box.shown(self._pid)
        if shown is None:
            return None
        owner = shown.ids[1], shown.ids[5]
        links = {b"cwd": shown.cwd, b"exe": shown.exe, b"root": shown.root}

        def child(name: bytes) -> Node | None:
            number = ino + 1 + hash(name) % 0xFFFF
            content = self._files.get(name)
            if content is not None:
                return FileNode(content, number, 0o400 if name in _PRIVATE else 0o444, owner)
            if name in links:
                target = links[name]
                return LinkNode(lambda: self._look(target), number, 0o777, owner, lambda: self._jump(target))
            if name == b"fd":
                return DirNode(lambda fd: self._fd(fd, number, owner), self._fd_names, number, 0o500, owner)
            if name == b"net":
                return self._host.net(number)
            if name == b"task" and not thread:
                return DirNode(
                    lambda tid: self.directory(number, thread=True) if tid == b"%d" % self._pid else None,
                    lambda: [(b"%d" % self._pid, DT_DIR)],
                    number,
                    0o555,
                    owner,
                )
            return None

        def names() -> Sequence[tuple[bytes, int]]:
            found = [(name, DT_REG) for name in self._files] + [(name, DT_LNK) for name in links]
            found += [(b"fd", DT_DIR), (b"net", DT_DIR)]
            return sorted(found if thread else [*found, (b"task", DT_DIR)])

        return DirNode(child, names, ino, 0o555, owner)

    def _shown(self) -> ShownView:
        shown = self._process.box.shown(self._pid)
        if shown is None:
            raise LinuxError(ENOENT)
        return shown

    def _fields(self) -> list[bytes]:
        """Fields of stat from the state on; made up where the host has no /proc."""
        fields = self._host.stat_fields(b"%d" % self._pid)
        if len(fields) < 50:
            procs = self._process.host.procs
            try:
                numbers = [self._shown().parent, procs.getpgid(self._pid), procs.getsid(self._pid), 0, -1]
            except LinuxError:
                raise LinuxError(ENOENT) from None
            fields = [b"S", *(b"%d" % number for number in numbers), *(b"0",) * 44]
        return fields

    def _is_zombie(self) -> bool:
        return self._fields()[0] == b"Z"

    def _refuse(self) -> bytes:
        raise LinuxError(EACCES, "only the process itself can tell")

    # Links: for who may trace the process (PTRACE_MODE_READ_FSCREDS)

    def _look(self, target: bytes) -> bytes:
        creds = self._process.creds
        ids = self._shown().ids
        if not creds.privileged and ((creds.fsuid,) * 3 != ids[:3] or (creds.fsgid,) * 3 != ids[4:7]):
            raise LinuxError(EACCES)
        if self._is_zombie():
            raise LinuxError(ENOENT)
        return target

    def _jump(self, target: bytes) -> Place:
        fs = self._process.fs
        return Walk(fs, fs.mounts.root.root, 0).resolve(self._look(target), follow=True)

    def _fd_names(self) -> Sequence[tuple[bytes, int]]:
        return [(b"%d" % fd, DT_LNK) for fd in self._shown().fds]

    def _fd(self, name: bytes, ino: int, owner: tuple[int, int]) -> Node | None:
        if not name.isdigit() or len(name) > 9 or int(name) not in self._shown().fds:
            return None

        def target() -> bytes:
            number = self._shown().fds.get(int(name))
            if number is None:
                raise LinuxError(ENOENT)
            return self._look(self._guest_path(self._host.fd(self._pid, number)))

        return LinkNode(target, ino + 1 + int(name), 0o700, owner)

    def _guest_path(self, path: bytes) -> bytes:
        """For what the host says of a descriptor; nothing of the host's tree that the guest does not have."""
        if not path.startswith(b"/"):
            return path  # pipe:[1234]
        found = b"/"
        length = -1
        for mount in self._process.fs.mounts.all():
            tree = mount.fs
            if (
                isinstance(tree, HostTree)
                and len(tree.host_path) > length
                and (path + b"/").startswith(tree.host_path + b"/")
            ):
                length = len(tree.host_path)
                found = mount.path.rstrip(b"/") + path[length:]
        return found or b"/"

    # Files

    def _resident(self, pages: int) -> int:
        """Pages of memory, of those that are mapped: the host counts Noah's own as well."""
        data = self._host.read(b"%d/statm" % self._pid)
        return min(pages, int(data.split()[1])) if data else pages

    def _parent(self, fields: Sequence[bytes]) -> int:
        parent = int(fields[_PPID])
        return parent if self._process.box.contains(parent) else 0

    def _stat(self) -> bytes:
        shown, fields = self._shown(), self._fields()
        fields[_PPID] = b"%d" % self._parent(fields)
        fields[_FLAGS] = b"%d" % 0x400000
        fields[_THREADS] = b"%d" % shown.threads
        if fields[0] != b"Z":
            fields[_VSIZE] = b"%d" % (shown.pages * _PAGE_KIB << 10)
            fields[_RSS] = b"%d" % self._resident(shown.pages)
        for index in (*_ADDRESSES, *_SIGNALS):
            if index < len(fields):
                fields[index] = b"0"
        return b"%d (%s) %s\n" % (self._pid, shown.comm, b" ".join(fields))

    def _statm(self) -> bytes:
        pages = self._shown().pages
        resident = self._resident(pages)
        return b"%d %d %d 0 0 0 0\n" % (pages, resident, resident)

    def _status(self) -> bytes:
        shown, fields = self._shown(), self._fields()
        capabilities = 0x1FFFFFFFFFF if shown.ids[1] == 0 else 0
        lines: list[tuple[str, object]] = [
            ("Name", shown.comm.decode("latin-1").replace("\\", "\\\\").replace("\n", "\\n")),
            ("Umask", f"{shown.umask:04o}"),
            ("State", _STATES.get(fields[0], "S (sleeping)")),
            ("Tgid", self._pid),
            ("Ngid", 0),
            ("Pid", self._pid),
            ("PPid", self._parent(fields)),
            ("TracerPid", 0),
            ("Uid", "\t".join(map(str, shown.ids[:4]))),
            ("Gid", "\t".join(map(str, shown.ids[4:]))),
            ("FDSize", max(64, -(-(max(shown.fds, default=0) + 1) // 64) * 64)),
            ("Groups", ""),
        ]
        if fields[0] != b"Z":
            resident = self._resident(shown.pages) * _PAGE_KIB
            size = shown.pages * _PAGE_KIB
            sizes = {"VmPeak": size, "VmSize": size, "VmLck": 0, "VmPin": 0, "VmHWM": resident, "VmRSS": resident}
            lines += [(name, f"{value:8} kB") for name, value in {**sizes, "VmSwap": 0}.items()]
        lines += [("Threads", shown.threads)]
        lines += [(name, f"{0:016x}") for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh")]
        lines += [("CapPrm", f"{capabilities:016x}"), ("CapEff", f"{capabilities:016x}")]
        return "".join(f"{name}:\t{value}\n" for name, value in lines).encode("latin-1")
