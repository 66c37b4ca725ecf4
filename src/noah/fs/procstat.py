"""/proc/PID/stat and status of the calling process (proc_pid_stat(5), proc_pid_status(5))."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.errno import LinuxError
from noah.abi.resource import RLIM_INFINITY, RLIMIT_RSS, RLIMIT_SIGPENDING, RUSAGE_CHILDREN, RUSAGE_SELF
from noah.abi.signal import SIG_IGN
from noah.fs.hostproc import OwnStat
from noah.fs.procmaps import PAGE, Memory
from noah.fs.procview import WAITING
from noah.fs.tty import TtyFile

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procview import ProcessView, TaskView

PF_RANDOMIZE: Final = 0x400000
_KIB: Final = PAGE >> 10
_MASKS: Final = ("SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_LOW: Final = 0x7FFFFFFF  # signals in stat: the first 31, as on 32-bit machines


class Status:
    """What both files tell, of the process or of one thread."""

    __slots__ = ("_asked", "_host", "_process", "_task", "_thread")

    def __init__(self, process: ProcessView, host: HostProc, task: TaskView, *, thread: bool, asked: bool) -> None:
        self._process = process
        self._host = host
        self._task = task
        self._thread = thread
        self._asked = asked

    def _comm(self) -> bytes:
        return self._process.comm if self._task.leader else self._task.comm or self._process.comm

    def _masks(self) -> tuple[int, int]:
        """Signals ignored and caught."""
        ignored = caught = 0
        for signo, action in enumerate(self._process.signals.actions):
            if signo and action[0] == SIG_IGN:
                ignored |= 1 << signo - 1
            elif signo and action[0]:
                caught |= 1 << signo - 1
        return ignored, caught

    def _state(self) -> str:
        """The asking process runs; one that answers others does so from a wait, if not from the midst of its code."""
        if self._task.system_call() is None:
            return "R"
        return "S" if self._asked or self._task.where == WAITING else "R"

    def stat(self) -> bytes:
        process, task = self._process, self._task
        procs = process.host.procs
        memory = Memory(process.space)
        fields = self._host.own_stat(task.tid if self._thread else 0) if self._host.exists else self._own_stat()
        times = procs.times() if fields.times is None or not self._thread else fields.times
        usage, children = procs.getrusage(RUSAGE_SELF), procs.getrusage(RUSAGE_CHILDREN)
        ignored, caught = self._masks()
        soft_rss = min(process.rlimits.get(RLIMIT_RSS, (RLIM_INFINITY, 0))[0], RLIM_INFINITY)
        scheduled = procs.sched_getattr(task.host_tid)
        nice = scheduled.nice
        priority = -1 - scheduled.priority if scheduled.priority else 20 + nice
        values = [
            *(process.parent_pid, procs.getpgid(0), procs.getsid(0), fields.tty, fields.foreground, PF_RANDOMIZE),
            *(usage.minflt, children.minflt, usage.majflt, children.majflt),
            *(*times, priority, nice),
            *(len(process.tasks), 0, fields.start_time, memory.total * PAGE, memory.resident, soft_rss),
            *(1, 1, 0, 0, 0),  # startcode, endcode, startstack, esp, eip: hidden, as from another user
            *(task.sigpending.mask & _LOW, task.sigmask & _LOW, ignored & _LOW, caught & _LOW),
            *(0, 0, 0, 17, fields.processor, scheduled.priority, scheduled.policy, 0, 0, 0),
            *(0, 0, process.space.brk_start, 0, 0, 0, 0, 0),
        ]
        text = b" ".join(b"%d" % value for value in values)
        return b"%d (%s) %s %s\n" % (task.tid, self._comm(), self._state().encode(), text)

    def _own_stat(self) -> OwnStat:
        """What the process knows itself of what a Linux host would tell."""
        process = self._process
        shown = process.box.shown(process.pid)
        started = shown.started if shown is not None else 0
        ttys, session = process.host.ttys, process.host.procs.getsid(0)
        for terminal in [file for _, file in process.fds.items() if isinstance(file, TtyFile)]:
            try:
                if ttys.tcgetsid(terminal.fd) == session:
                    return OwnStat(terminal.stat().rdev, ttys.tcgetpgrp(terminal.fd), started)
            except LinuxError:
                continue  # not its own
        return OwnStat(start_time=started)

    def status(self) -> bytes:
        process, task = self._process, self._task
        creds = process.creds
        memory = Memory(process.space)
        procs = process.host.procs
        usage = procs.getrusage(RUSAGE_SELF)
        stack = sum(vma.end - vma.start for vma in process.space.vmas if vma.name == b"[stack]") // PAGE
        sizes = Sizes(memory.total, memory.resident, memory.files, memory.data - stack, stack, memory.code)
        facts = Facts(
            comm=self._comm(),
            umask=process.fs.umask,
            state={"R": "R (running)", "S": "S (sleeping)"}[self._state()],
            pid=process.pid,
            tid=task.tid,
            parent=process.parent_pid,
            group=procs.getpgid(0),
            session=procs.getsid(0),
            cpus=procs.sched_getaffinity(0),
            ids=(creds.uid, creds.euid, creds.suid, creds.fsuid, creds.gid, creds.egid, creds.sgid, creds.fsgid),
            fds=[fd for fd, _ in process.fds.items()],
            groups=creds.groups,
            sizes=sizes._replace(locked=process.space.locked // PAGE),
            threads=len(process.tasks),
            pending=(task.sigpending.mask, process.signals.shared.mask),
            masks=(
                *(task.sigmask, *self._masks()),
                *(creds.inheritable, creds.permitted, creds.effective, creds.bounding, creds.ambient),
            ),
            no_new_privs=process.no_new_privs,
            switches=(usage.nvcsw, usage.nivcsw),
        )
        return make_status(process, facts)


class Sizes(NamedTuple):
    """Pages of memory."""

    total: int
    resident: int
    files: int = 0
    data: int = 0
    stack: int = 0
    code: int = 0
    locked: int = 0


class Facts(NamedTuple):
    """What status tells of a process or a thread."""

    comm: bytes
    umask: int
    state: str
    pid: int
    tid: int
    parent: int
    group: int
    session: int
    cpus: Sequence[int]
    ids: tuple[int, ...]
    fds: Sequence[int]
    groups: tuple[int, ...]
    sizes: Sizes | None  # None: it has no memory any more
    threads: int
    pending: tuple[int, int]
    masks: tuple[int, ...]  # signals blocked, ignored, caught; capabilities inheritable, permitted, effective, ...
    no_new_privs: bool
    switches: tuple[int, int]


def make_status(process: ProcessView, facts: Facts) -> bytes:
    """The content of status; `process` is the calling one."""
    limit = process.rlimits.get(RLIMIT_SIGPENDING, (0, 0))[0]
    lines: list[tuple[str, object]] = [
        # proc_task_name()
        ("Name", facts.comm.decode("latin-1").replace("\\", "\\\\").replace("\n", "\\n")),
        ("Umask", f"{facts.umask:04o}"),
        ("State", facts.state),
        ("Tgid", facts.pid),
        ("Ngid", 0),
        ("Pid", facts.tid),
        ("PPid", facts.parent),
        ("TracerPid", 0),
        ("Uid", "\t".join(map(str, facts.ids[:4]))),
        ("Gid", "\t".join(map(str, facts.ids[4:]))),
        ("FDSize", max(64, -(-(max(facts.fds, default=0) + 1) // 64) * 64)),
        ("Groups", " ".join(map(str, facts.groups)) + " "),
        ("NStgid", facts.pid),
        ("NSpid", facts.tid),
        ("NSpgid", facts.group),
        ("NSsid", facts.session),
        *(_size_lines(facts.sizes) if facts.sizes is not None else ()),
        ("Threads", facts.threads),
        ("SigQ", f"0/{limit}"),
        *zip(("SigPnd", "ShdPnd"), (f"{mask:016x}" for mask in facts.pending), strict=True),
        *zip(_MASKS, (f"{mask:016x}" for mask in facts.masks), strict=True),
        ("NoNewPrivs", int(facts.no_new_privs)),
        ("Seccomp", 0),
        ("Seccomp_filters", 0),
        ("Speculation_Store_Bypass", "vulnerable"),
        ("SpeculationIndirectBranch", "conditional enabled"),
        ("Cpus_allowed", f"{sum(1 << cpu for cpu in facts.cpus):x}"),
        ("Cpus_allowed_list", ranges(facts.cpus)),
        ("Mems_allowed", "1"),
        ("Mems_allowed_list", "0"),
        ("voluntary_ctxt_switches", facts.switches[0]),
        ("nonvoluntary_ctxt_switches", facts.switches[1]),
    ]
    return "".join(f"{name}:\t{value}\n" for name, value in lines).encode("latin-1")


def _size_lines(sizes: Sizes) -> list[tuple[str, object]]:
    pages = {
        "VmPeak": sizes.total,
        "VmSize": sizes.total,
        "VmLck": sizes.locked,
        "VmPin": 0,
        "VmHWM": sizes.resident,
        "VmRSS": sizes.resident,
        "RssAnon": sizes.resident - sizes.files,
        "RssFile": sizes.files,
        "RssShmem": 0,
        "VmData": max(0, sizes.data),
        "VmStk": sizes.stack,
        "VmExe": sizes.code,
        "VmLib": 0,
        "VmPTE": 0,
        "VmSwap": 0,
        "HugetlbPages": 0,
    }
    lines: list[tuple[str, object]] = [(name, f"{count * _KIB:8} kB") for name, count in pages.items()]
    return [*lines, ("CoreDumping", 0), ("THP_enabled", 1), ("untag_mask", "0xffffffffffffffff")]


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `0-3,5`."""
    parts: list[list[int]] = []
    for value in numbers:
        if parts and value == parts[-1][-1] + 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    return ",".join("-".join(map(str, part)) for part in parts)
