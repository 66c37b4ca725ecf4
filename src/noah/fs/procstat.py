"""/proc/PID/stat and status of the calling process (proc_pid_stat(5), proc_pid_status(5))."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.resource import RLIM_INFINITY, RLIMIT_RSS, RLIMIT_SIGPENDING, RUSAGE_CHILDREN, RUSAGE_SELF
from noah.abi.sched import SCHED_RESET_ON_FORK
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
        nice = procs.getpriority(0, 0)
        values = [
            *(process.parent_pid, procs.getpgid(0), procs.getsid(0), fields.tty, fields.foreground, PF_RANDOMIZE),
            *(usage.minflt, children.minflt, usage.majflt, children.majflt),
            *(*times, 20 + nice, nice),
            *(len(process.tasks), 0, fields.start_time, memory.total * PAGE, memory.resident, soft_rss),
            *(1, 1, 0, 0, 0),  # startcode, endcode, startstack, esp, eip: hidden, as from another user
            *(task.sigpending.mask & _LOW, task.sigmask & _LOW, ignored & _LOW, caught & _LOW),
            *(0, 0, 0, 17, fields.processor, 0, process.policy & ~SCHED_RESET_ON_FORK, 0, 0, 0),
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
        procs = process.host.procs
        creds = process.creds
        memory = Memory(process.space)
        ignored, caught = self._masks()
        usage = procs.getrusage(RUSAGE_SELF)
        cpus = procs.sched_getaffinity(0)
        anonymous = memory.resident - memory.files
        lines = [
            ("Name", shown_name(self._comm())),
            ("Umask", f"{process.fs.umask:04o}"),
            ("State", {"R": "R (running)", "S": "S (sleeping)"}[self._state()]),
            ("Tgid", process.pid),
            ("Ngid", 0),
            ("Pid", task.tid),
            ("PPid", process.parent_pid),
            ("TracerPid", 0),
            ("Uid", f"{creds.uid}\t{creds.euid}\t{creds.suid}\t{creds.fsuid}"),
            ("Gid", f"{creds.gid}\t{creds.egid}\t{creds.sgid}\t{creds.fsgid}"),
            ("FDSize", max(64, -(-(max((fd for fd, _ in process.fds.items()), default=0) + 1) // 64) * 64)),
            ("Groups", " ".join(map(str, creds.groups)) + " "),
            ("NStgid", process.pid),
            ("NSpid", task.tid),
            ("NSpgid", procs.getpgid(0)),
            ("NSsid", procs.getsid(0)),
            *self._sizes(memory, anonymous),
            ("CoreDumping", 0),
            ("THP_enabled", 1),
            ("untag_mask", "0xffffffffffffffff"),
            ("Threads", len(process.tasks)),
            ("SigQ", f"0/{process.rlimits.get(RLIMIT_SIGPENDING, (0, 0))[0]}"),
            ("SigPnd", f"{task.sigpending.mask:016x}"),
            ("ShdPnd", f"{process.signals.shared.mask:016x}"),
            ("SigBlk", f"{task.sigmask:016x}"),
            ("SigIgn", f"{ignored:016x}"),
            ("SigCgt", f"{caught:016x}"),
            ("CapInh", f"{creds.inheritable:016x}"),
            ("CapPrm", f"{creds.permitted:016x}"),
            ("CapEff", f"{creds.effective:016x}"),
            ("CapBnd", f"{creds.bounding:016x}"),
            ("CapAmb", f"{creds.ambient:016x}"),
            ("NoNewPrivs", int(process.no_new_privs)),
            ("Seccomp", 0),
            ("Seccomp_filters", 0),
            ("Speculation_Store_Bypass", "vulnerable"),
            ("SpeculationIndirectBranch", "conditional enabled"),
            ("Cpus_allowed", f"{sum(1 << cpu for cpu in cpus):x}"),
            ("Cpus_allowed_list", ranges(cpus)),
            ("Mems_allowed", "1"),
            ("Mems_allowed_list", "0"),
            ("voluntary_ctxt_switches", usage.nvcsw),
            ("nonvoluntary_ctxt_switches", usage.nivcsw),
        ]
        return "".join(f"{name}:\t{value}\n" for name, value in lines).encode("latin-1")

    def _sizes(self, memory: Memory, anonymous: int) -> list[tuple[str, str]]:
        stack = sum(vma.end - vma.start for vma in self._process.space.vmas if vma.name == b"[stack]") // PAGE
        pages = {
            "VmPeak": memory.total,
            "VmSize": memory.total,
            "VmLck": self._process.space.locked // PAGE,
            "VmPin": 0,
            "VmHWM": memory.resident,
            "VmRSS": memory.resident,
            "RssAnon": anonymous,
            "RssFile": memory.files,
            "RssShmem": 0,
            "VmData": max(0, memory.data - stack),
            "VmStk": stack,
            "VmExe": memory.code,
            "VmLib": 0,
            "VmPTE": 0,
            "VmSwap": 0,
            "HugetlbPages": 0,
        }
        return [(name, f"{count * _KIB:8} kB") for name, count in pages.items()]


def shown_name(comm: bytes) -> str:
    """As status writes it (proc_task_name())."""
    return comm.decode("latin-1").replace("\\", "\\\\").replace("\n", "\\n")


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `0-3,5`."""
    parts: list[list[int]] = []
    for value in numbers:
        if parts and value == parts[-1][-1] + 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    return ",".join("-".join(map(str, part)) for part in parts)
