"""/proc/PID: what proc(5) tells of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, LinuxError
from noah.abi.fcntl import DT_DIR, DT_LNK, DT_REG, O_ACCMODE, O_PATH, O_RDONLY, O_WRONLY, SEEK_CUR
from noah.abi.mman import MAP_SHARED, MAP_TYPE, PROT_EXEC, PROT_READ, PROT_WRITE
from noah.abi.resource import RLIM_INFINITY
from noah.abi.signal import SIG_IGN
from noah.abi.stat import major, minor
from noah.fs.procmounts import mountinfo, mounts
from noah.fs.virtual import DirNode, FileNode, LinkNode, Node
from noah.vfs.namespace import Walk

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procview import ProcessView
    from noah.vfs.file import OpenFile
    from noah.vfs.place import Directory, Place

_PAGE: Final = 4096

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


_OF_MEMORY: Final = (b"auxv", b"environ", b"maps", b"smaps")
"""Files that, once opened, show nothing after the process has started another program."""


class ProcessFiles:
    """The files of /proc/PID for the calling process. One object serves a box: `process` is whoever calls."""

    __slots__ = ("_files", "_host", "_oom_score_adj", "process")

    def __init__(self, process: ProcessView, host: HostProc) -> None:
        self.process = process
        self._host = host
        self._oom_score_adj = 0
        self._files: dict[bytes, Callable[[], bytes]] = {
            b"auxv": lambda: self.process.auxv,
            b"cgroup": lambda: b"0::/\n",
            b"cmdline": lambda: b"".join(word + b"\0" for word in self.process.argv),
            b"environ": lambda: b"".join(word + b"\0" for word in self.process.environ),
            b"comm": lambda: self.process.comm + b"\n",
            b"gid_map": lambda: _IDENTITY_MAP,
            b"limits": self._limits,
            b"loginuid": lambda: b"4294967295",
            b"maps": self._maps,
            b"mountinfo": lambda: mountinfo(self.process.fs),
            b"mounts": lambda: mounts(self.process.fs),
            b"oom_adj": lambda: b"%d\n" % (self._oom_score_adj * 17 // 1000),
            b"oom_score": lambda: b"0\n",
            b"oom_score_adj": lambda: b"%d\n" % self._oom_score_adj,
            b"personality": lambda: b"%08x\n" % self.process.personality,
            b"sessionid": lambda: b"4294967295",
            b"setgroups": lambda: b"allow\n",
            b"smaps": self._smaps,
            b"stat": self._stat,
            b"statm": self._statm,
            b"status": self._status,
            b"uid_map": lambda: _IDENTITY_MAP,
            b"wchan": lambda: b"0",
        }

    def directory(self, ino: int, *, thread: bool = False) -> DirNode:
        """/proc/PID, or /proc/PID/task/TID."""
        process = self.process
        owner = process.creds.euid, process.creds.egid
        links: dict[bytes, Callable[[], Directory]] = {
            b"cwd": lambda: process.fs.cwd,
            b"root": lambda: process.fs.root,
        }

        def child(name: bytes) -> Node | None:
            number = ino + 1 + hash(name) % 0xFFFF
            content = self._files.get(name)
            if content is not None:
                if name in _OF_MEMORY:
                    content = self._while_it_runs(content)
                mode = 0o400 if name in (b"environ", b"auxv") else 0o444
                write = {b"comm": self._set_comm, b"oom_score_adj": self._set_oom_score_adj}.get(name)
                return FileNode(content, number, mode | 0o200 if write else mode, owner, write)
            if name in links:
                there = links[name]
                return LinkNode(
                    lambda: there().current_path(process.fs.root), number, 0o777, owner, lambda: there().place(b"")
                )
            if name == b"exe":
                return LinkNode(lambda: process.exe, number, 0o777, owner, self._exe)
            if name == b"fd":
                return DirNode(
                    lambda fd: self._fd(fd, number, owner), lambda: self._fd_names(DT_LNK), number, 0o500, owner
                )
            if name == b"fdinfo":
                return DirNode(
                    lambda fd: self._fdinfo(fd, number, owner), lambda: self._fd_names(DT_REG), number, 0o555, owner
                )
            if name == b"net":
                return self._host.net(number)
            if name == b"task" and not thread:
                return DirNode(
                    lambda tid: self.directory(number, thread=True) if tid in self._tids() else None,
                    lambda: [(tid, DT_DIR) for tid in self._tids()],
                    number,
                    0o555,
                    owner,
                )
            return None

        def names() -> Sequence[tuple[bytes, int]]:
            found = [(name, DT_REG) for name in self._files]
            found += [(b"cwd", DT_LNK), (b"root", DT_LNK), (b"exe", DT_LNK)]
            found += [(b"fd", DT_DIR), (b"fdinfo", DT_DIR), (b"net", DT_DIR)]
            if not thread:
                found.append((b"task", DT_DIR))
            return sorted(found)

        return DirNode(child, names, ino, 0o555, owner)

    def _tids(self) -> list[bytes]:
        return [b"%d" % task.tid for task in self.process.tasks]

    def _while_it_runs(self, content: Callable[[], bytes]) -> Callable[[], bytes]:
        """What a file shows that refers to the memory of the program that runs now (proc_mem_open())."""
        process = self.process
        program = process.auxv
        return lambda: content() if process.auxv is program else b""

    # Links

    def _exe(self) -> Place:
        fs = self.process.fs
        return Walk(fs, fs.mounts.root.root, 0).resolve(self.process.exe, follow=True)

    def _fd_names(self, kind: int) -> Sequence[tuple[bytes, int]]:
        return [(b"%d" % fd, kind) for fd, _ in self.process.fds.items()]

    def _file(self, name: bytes) -> OpenFile | None:
        if not name.isdigit() or (len(name) > 1 and name.startswith(b"0")):
            return None
        try:
            return self.process.fds.get(int(name))
        except LinuxError:
            return None

    def _fd(self, name: bytes, ino: int, owner: tuple[int, int]) -> Node | None:
        file = self._file(name)
        if file is None:
            return None
        access = file.flags & O_ACCMODE
        mode = 0 if file.flags & O_PATH else (0o500 if access == O_RDONLY else 0o300 if access == O_WRONLY else 0o700)
        return LinkNode(lambda: file.path, ino + 1 + int(name), mode, owner, file.place)

    def _fdinfo(self, name: bytes, ino: int, owner: tuple[int, int]) -> Node | None:
        file = self._file(name)
        if file is None:
            return None

        def content() -> bytes:
            try:
                position = file.seek(0, SEEK_CUR)
            except LinuxError:
                position = 0
            status = file.stat()
            return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % (
                position,
                file.get_flags(),
                file.place().mount.id,
                status.ino,
            )

        return FileNode(content, ino + 1 + int(name), 0o444, owner)

    # Files

    def _set_comm(self, data: bytes) -> None:
        self.process.comm = data.rstrip(b"\n")[:15]
        self.process.host.procs.set_name(self.process.comm)

    def _set_oom_score_adj(self, data: bytes) -> None:
        try:
            value = int(data)
        except ValueError:
            raise LinuxError(EINVAL) from None
        if not -1000 <= value <= 1000:
            raise LinuxError(EINVAL)
        self._oom_score_adj = value

    def _limits(self) -> bytes:
        lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}"]
        for resource, (name, unit) in enumerate(_LIMITS):
            soft, hard = (
                "unlimited" if limit == RLIM_INFINITY else str(limit)
                for limit in self.process.rlimits.get(resource, (RLIM_INFINITY, RLIM_INFINITY))
            )
            lines.append(f"{name:<25} {soft:<20} {hard:<20} {unit:<10}")
        return "\n".join(lines).encode() + b"\n"

    def _maps(self) -> bytes:
        return b"".join(line for line, _ in self._areas())

    def _areas(self) -> list[tuple[bytes, int]]:
        """Lines of maps, with each area's length."""
        lines = []
        for vma in self.process.space.vmas:
            file = vma.file
            device, inode, offset = (file.device, file.inode, vma.file_offset) if file is not None else (0, 0, 0)
            head = b"%x-%x %c%c%c%c %08x %02x:%02x %d " % (
                vma.start,
                vma.end,
                b"-r"[bool(vma.prot & PROT_READ)],
                b"-w"[bool(vma.prot & PROT_WRITE)],
                b"-x"[bool(vma.prot & PROT_EXEC)],
                b"ps"[vma.flags & MAP_TYPE == MAP_SHARED],
                offset,
                major(device),
                minor(device),
                inode,
            )
            name = vma.name or (file.path.replace(b"\n", b"\\012") if file is not None else b"")
            lines.append((head.ljust(73) + name + b"\n" if name else head + b"\n", vma.end - vma.start))
        return lines

    def _smaps(self) -> bytes:
        """Sizes only: what is resident is the host's business."""
        return b"".join(
            line
            + b"Size:           %8d kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n" % (length >> 10)
            for line, length in self._areas()
        )

    def _memory(self) -> tuple[int, int]:
        """Total and resident size in pages."""
        total = self.process.space.total() // _PAGE
        return total, min(total, self._host.resident_pages())

    def _statm(self) -> bytes:
        total, resident = self._memory()
        code = sum(vma.end - vma.start for vma in self.process.space.vmas if vma.prot & PROT_EXEC) // _PAGE
        data = sum(vma.end - vma.start for vma in self.process.space.vmas if vma.prot & PROT_WRITE) // _PAGE
        return b"%d %d %d %d 0 %d 0\n" % (total, resident, resident, code, data)

    def _masks(self) -> tuple[int, int]:
        """Signals ignored and caught."""
        ignored = caught = 0
        for signo, action in enumerate(self.process.signals.actions):
            if signo and action[0] == SIG_IGN:
                ignored |= 1 << signo - 1
            elif signo and action[0]:
                caught |= 1 << signo - 1
        return ignored, caught

    def _stat(self) -> bytes:
        process = self.process
        procs = process.host.procs
        task = process.tasks[0]
        total, resident = self._memory()
        fields = self._host.own_stat()
        user, system, child_user, child_system = procs.times()
        usage, children = procs.getrusage(0), procs.getrusage(-1)
        ignored, caught = self._masks()
        soft_rss = min(process.rlimits.get(5, (RLIM_INFINITY, 0))[0], RLIM_INFINITY)
        values = [
            *(process.parent_pid, procs.getpgid(0), procs.getsid(0), fields.tty, fields.foreground, 0x400000),
            *(usage.minflt, children.minflt, usage.majflt, children.majflt),
            *(user, system, child_user, child_system, 20 + procs.getpriority(0, 0), procs.getpriority(0, 0)),
            *(len(process.tasks), 0, fields.start_time, total * _PAGE, resident, soft_rss),
            *(1, 1, 0, 0, 0),  # startcode, endcode, startstack, esp, eip: hidden, as from another user
            *(task.sigpending.mask & 0x7FFFFFFF, task.sigmask & 0x7FFFFFFF, ignored & 0x7FFFFFFF, caught & 0x7FFFFFFF),
            *(0, 0, 0, 17, fields.processor, 0, 0, 0, 0, 0),
            *(0, 0, process.space.brk_start, 0, 0, 0, 0, 0),
        ]
        return b"%d (%s) R " % (process.pid, process.comm) + b" ".join(b"%d" % value for value in values) + b"\n"

    def _status(self) -> bytes:
        process = self.process
        creds = process.creds
        task = process.tasks[0]
        total, resident = self._memory()
        ignored, caught = self._masks()
        capabilities = 0x1FFFFFFFFFF if creds.privileged else 0
        uids = (creds.uid, creds.euid, creds.suid, creds.fsuid)
        gids = (creds.gid, creds.egid, creds.sgid, creds.fsgid)
        cpus = process.host.procs.sched_getaffinity(0)
        mask = sum(1 << cpu for cpu in cpus)
        lines = [
            ("Name", process.comm.decode("latin-1").replace("\\", "\\\\").replace("\n", "\\n")),
            ("Umask", f"{process.fs.umask:04o}"),
            ("State", "R (running)"),
            ("Tgid", process.pid),
            ("Ngid", 0),
            ("Pid", task.tid),
            ("PPid", process.parent_pid),
            ("TracerPid", 0),
            ("Uid", "\t".join(map(str, uids))),
            ("Gid", "\t".join(map(str, gids))),
            ("FDSize", max(64, -(-(max((fd for fd, _ in process.fds.items()), default=0) + 1) // 64) * 64)),
            ("Groups", "".join(f"{group} " for group in creds.groups)),
            ("NStgid", process.pid),
            ("NSpid", task.tid),
            ("NSpgid", process.host.procs.getpgid(0)),
            ("NSsid", process.host.procs.getsid(0)),
            ("VmPeak", f"{total * 4:8} kB"),
            ("VmSize", f"{total * 4:8} kB"),
            ("VmLck", f"{process.space.locked >> 10:8} kB"),
            ("VmPin", f"{0:8} kB"),
            ("VmHWM", f"{resident * 4:8} kB"),
            ("VmRSS", f"{resident * 4:8} kB"),
            ("VmSwap", f"{0:8} kB"),
            ("CoreDumping", 0),
            ("Threads", len(process.tasks)),
            ("SigQ", f"0/{process.rlimits.get(11, (0, 0))[0]}"),
            ("SigPnd", f"{task.sigpending.mask:016x}"),
            ("ShdPnd", f"{0:016x}"),
            ("SigBlk", f"{task.sigmask:016x}"),
            ("SigIgn", f"{ignored:016x}"),
            ("SigCgt", f"{caught:016x}"),
            ("CapInh", f"{0:016x}"),
            ("CapPrm", f"{capabilities:016x}"),
            ("CapEff", f"{capabilities:016x}"),
            ("CapBnd", f"{0x1FFFFFFFFFF:016x}"),
            ("CapAmb", f"{0:016x}"),
            ("NoNewPrivs", int(process.no_new_privs)),
            ("Seccomp", 0),
            ("Seccomp_filters", 0),
            ("Cpus_allowed", f"{mask:x}"),
            ("Cpus_allowed_list", _ranges(cpus)),
            ("Mems_allowed", "1"),
            ("Mems_allowed_list", "0"),
            ("voluntary_ctxt_switches", process.host.procs.getrusage(0).nvcsw),
            ("nonvoluntary_ctxt_switches", process.host.procs.getrusage(0).nivcsw),
        ]
        return "".join(f"{name}:\t{value}\n" for name, value in lines).encode("latin-1")


_IDENTITY_MAP: Final = b"         0          0 4294967295\n"


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `0-3,5`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
