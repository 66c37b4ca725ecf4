"""Process and Task: the state behind one guest process and its thread.

A Process is what threads share: memory, descriptors, signal actions, limits. A Task is one thread: registers (through
its vCPU), signal mask, thread id. Every handler gets its task as an argument; nothing asks which host thread it is on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from noah.abi.elf import AT_SYSINFO_EHDR
from noah.abi.errno import ENOENT, ERESTARTSYS, ETXTBSY, LinuxError
from noah.abi.poll import POLLIN
from noah.host.api import Host
from noah.kernel.box import INIT, Box
from noah.kernel.control import ProcessExit
from noah.kernel.pending import Pending
from noah.kernel.uts import MAX_LENGTH
from noah.mm.space import AddressSpace
from noah.net.network import Network
from noah.vfs.credentials import Credentials
from noah.vfs.fdtable import FdTable
from noah.vfs.namespace import FsContext
from noah.vm.api import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from noah.host.values import Stat
    from noah.kernel.aio import AioContext
    from noah.kernel.arch import Arch
    from noah.kernel.dispatch import Dispatch
    from noah.kernel.fork import SharedUntilExec
    from noah.kernel.futex import Futexes
    from noah.kernel.ipc.process import Ipc
    from noah.kernel.ipc.show import ShownQueue
    from noah.kernel.signals import SignalState
    from noah.kernel.threads import Threads
    from noah.kernel.timers import Timers
    from noah.vm.api import Machine, Vcpu


def _nothing() -> None:
    """The default of Process.before_fork: what must be flushed lest parent and child both write it."""


def _tell_nothing(question: bytes) -> bytes:
    """The default of Process.tell."""
    raise LinuxError(ENOENT)


def _ignore(text: str) -> None:
    """The default of the reports above."""


class Program(Protocol):
    """One that execve(2) has found and can go on with (noah.loader.execve)."""

    def execute(self, task: Task, *, machine_is_empty: bool) -> None: ...
    def close(self) -> None: ...


class Borrowing:
    """What the child of a vfork(2) may do in its parent's place, by the numbers of the calls (noah.kernel.vfork)."""

    __slots__ = ("calls", "find_program")

    def __init__(
        self, calls: dict[int, Callable[..., int]], find_program: dict[int, Callable[[Task, int, int, int], Program]]
    ) -> None:
        self.calls = calls
        self.find_program = find_program


NO_LOGIN: Final = (0xFFFF_FFFF, 0xFFFF_FFFF)  # AUDIT_UID_UNSET, AUDIT_SID_UNSET

# Where a thread is: Task.where
KERNEL: Final = 0
GUEST: Final = 1
WAITING: Final = 2


class Vdso(Protocol):
    """Code that Noah maps into every program: clocks without a system call (vdso(7)). See noah.loader.vdso."""

    def map(self, space: AddressSpace) -> int:
        """Map it; returns the address of its ELF header."""


class Process:
    """One guest process = one host process."""

    __slots__ = (
        "aio",
        "arch",
        "argv",
        "at_exit",
        "auxv",
        "before_fork",
        "borrowing",
        "box",
        "comm",
        "creds",
        "dumpable",
        "environ",
        "exe",
        "fds",
        "fs",
        "futexes",
        "host",
        "host_faults",
        "ipc",
        "login",
        "machine",
        "missing",
        "network",
        "no_new_privs",
        "on_bug",
        "oom_score_adj",
        "personality",
        "pid",
        "program",
        "rlimits",
        "run_task",
        "signals",
        "silent_children",
        "space",
        "subreaper",
        "tasks",
        "tell",
        "threads",
        "timer_slack",
        "timers",
        "too_many",
        "vdso",
        "vfork_done",
    )

    def __init__(
        self, host: Host, machine: Machine, arch: Arch, box: Box, creds: Credentials, fds: FdTable, fs: FsContext
    ) -> None:
        self.host = host
        self.machine = machine
        self.arch = arch
        self.box = box
        self.creds = creds
        self.fds = fds
        self.fs = fs
        self.space = AddressSpace(machine, host)
        self.pid = host.procs.getpid()
        self.exe = b""  # guest path of the program
        self.program = (0, 0)  # its device and inode
        self.argv: list[bytes] = []
        self.environ: list[bytes] = []
        self.auxv = b""
        self.comm = b""
        self.rlimits: dict[int, tuple[int, int]] = {}
        self.signals: SignalState
        self.timers: Timers
        self.tasks: list[Task] = []
        self.threads: Threads | None = None
        """What threads need of each other; None while there is only one."""
        self.futexes: Futexes
        self.run_task: Callable[[Task], None]
        """What a new thread's host thread does (noah.kernel.run)."""
        self.aio: dict[int, AioContext] = {}
        self.ipc: Ipc | None = None
        """The box's IPC objects, once the process has asked for one."""
        self.network = Network(box.socket_names)
        self.personality = 0
        self.dumpable = 1
        self.no_new_privs = False
        self.subreaper = False
        self.silent_children = False  # there may be some whose end no SIGCHLD tells: waits look now and then
        self.timer_slack = 50_000  # ns
        self.oom_score_adj = 0
        self.login = NO_LOGIN
        """/proc/PID/loginuid and sessionid (pam_loginuid(8)): who has logged in, and which time it was."""
        self.vfork_done: SharedUntilExec | None = None
        """In the child of a vfork: what lets the parent go on; called once, by execve or exit."""
        self.borrowing = Borrowing({}, {})
        self.vdso: Vdso | None = None
        self.too_many = False  # see noah.kernel.limits.note_user()
        self.host_faults = 0  # in a row: see kernel.run
        self.before_fork: Callable[[], None] = _nothing
        self.at_exit: Callable[[ProcessExit], None] | None = None  # a front end's last words (trace files)
        self.tell: Callable[[bytes], bytes] = _tell_nothing
        """What this process answers to others of its box: the content of a file of its /proc/PID."""
        self.missing: Callable[[str], None] = _ignore  # names what a program asked for and did not get
        self.on_bug: Callable[[str], None] = _ignore

    def show(self) -> None:
        """Tell the other processes of the box what has changed about this one (see kernel.card)."""
        self.box.cards.write(self)

    @property
    def parent_pid(self) -> int:
        """As the guest sees it."""
        return self.box.parent(self.host.procs.getppid()) if self.pid != INIT else 0

    @property
    def running_tid(self) -> int:
        """The thread that is in the kernel."""
        return self.running.tid

    @property
    def running(self) -> Task:
        """That thread."""
        return self.threads.holder if self.threads is not None else self.tasks[0]

    @property
    def nodename(self) -> bytes:
        """What the machine is called here."""
        name = self.box.uts.nodename
        return self.host.procs.uname().nodename[:MAX_LENGTH] if name is None else name

    @property
    def domainname(self) -> bytes:
        """The NIS domain name."""
        return self.box.uts.domainname or b"(none)"

    def sysvipc(self, name: bytes) -> bytes:
        """See noah.fs.procview.ProcessView, as for the two behind it."""
        from noah.kernel.ipc import show  # what most programs never ask for

        return show.sysvipc(self, name)

    def mqueues(self) -> list[ShownQueue]:
        from noah.kernel.ipc import show

        return show.mqueues(self)

    def mq_unlink(self, name: bytes) -> None:
        from noah.kernel.ipc import show

        show.unlink(self.running, name)

    def ask(self, pid: int, question: bytes) -> bytes:
        """What another process of the box says (see kernel.asking)."""
        return self.box.asking.ask(self, pid, question)

    def request(self, pid: int, kind: bytes, data: bytes) -> bytes:
        """Have another process of the box do something (see kernel.requests)."""
        return self.box.asking.ask(self, pid, b"\0%s\0%s" % (kind, data))

    def vdso_auxv(self) -> list[tuple[int, int]]:
        """Map the vDSO into a new program's memory; its entry in the auxiliary vector."""
        self.signals.map_trampoline()
        return [(AT_SYSINFO_EHDR, self.vdso.map(self.space))] if self.vdso is not None else []


class Task:
    """One guest thread. Satisfies noah.vfs.caller.Caller."""

    __slots__ = (
        "altstack",
        "awaited",
        "beside",
        "clear_child_tid",
        "comm",
        "creds",
        "dispatch",
        "fds",
        "fs",
        "host",
        "host_tid",
        "interrupted",
        "leader",
        "mem",
        "pdeathsig",
        "pid",
        "process",
        "restart",
        "robust_list",
        "run_guest",
        "saved_mask",
        "sigmask",
        "sigpending",
        "space",
        "tid",
        "vcpu",
        "wake",
        "where",
    )

    def __init__(self, process: Process, vcpu: Vcpu) -> None:
        self.process = process
        self.vcpu = vcpu
        self.host = process.host
        self.mem = process.space.memory
        self.space = process.space
        self.fds = process.fds
        self.fs = process.fs
        self.creds = process.creds
        self.pid = self.tid = process.pid
        self.host_tid = process.pid
        """Whom the host schedules: not always the thread's id (execve(2) by another than the first), nor a thread."""
        self.awaited = 0  # signals that rt_sigtimedwait(2) waits for, blocked as they may be
        self.sigmask = 0  # blocked signals: bit n-1 = signal n
        self.saved_mask: int | None = None  # the mask to go back to after sigsuspend, ppoll, pselect (see signals)
        self.sigpending = Pending()  # signals for this thread
        self.altstack = (0, 0, 0)  # base, SS_* flags, size: see kernel.altstack
        self.clear_child_tid = 0
        self.robust_list = 0
        self.dispatch: Dispatch | None = None
        self.pdeathsig = 0
        self.restart: Callable[[], int] | None = None
        """What restart_syscall(2) goes on with (ERESTART_RESTARTBLOCK)."""
        self.comm = b""
        self.leader = not process.tasks
        self.run_guest: Callable[[], int] = vcpu.run
        """Run guest code until the next exit: how depends on whether there are other threads."""
        self.beside = False
        """A call is being answered while the vCPU stays in the guest, watching. ERESTARTSYS is no answer then: the call
        leaves the guest and is made again."""
        self.interrupted = False  # in the kernel for no system call of its own
        self.where = KERNEL
        self.wake = (-1, -1)  # a pipe that ends the thread's wait; only beside other threads

    def unshare_fs(self) -> None:
        """Have directories and a umask of one's own (CLONE_FS)."""
        self.fs = self.fs.copy()
        if self.leader:
            self.process.fs = self.fs

    def unshare_fds(self) -> None:
        """Have a table of descriptors of one's own (CLONE_FILES)."""
        if any(other.fds is self.fds for other in self.process.tasks if other is not self):
            self.fds = self.fds.copy()
            if self.leader:
                self.fds.lead(self.process.fds)
                self.process.fds = self.fds

    def leave_fds(self) -> None:
        """The thread ends: close what it alone has open."""
        if all(other.fds is not self.fds for other in self.process.tasks if other is not self):
            self.fds.close_all()

    def lead(self) -> None:
        """Its directories and descriptors are what its process shows."""
        process = self.process
        self.fds.lead(process.fds)
        process.fds, process.fs = self.fds, self.fs

    def wait(self, fds: Sequence[tuple[int, int]], deadline_ns: int | None = None) -> list[tuple[int, int]]:
        """See noah.vfs.caller.Caller.wait()."""
        host = self.host
        signals = self.process.signals
        while True:
            if signals.deliverable(self):
                raise LinuxError(ERESTARTSYS)
            if deadline_ns is None:
                left = None
            else:
                left = max(0, deadline_ns - host.clock.clock_gettime(1))
            ready, signalled = self._poll(fds, left)
            if signalled:  # also beside ready files: where the poll has taken a signal, nothing else tells of it
                signals.collect(self)
            if ready or not signalled:
                return ready

    def pause(self, deadline_ns: int | None = None) -> bool:
        """Wait until signals have been collected, deliverable or not (a child's SIGCHLD); False when time is over.

        Raises LinuxError(ERESTARTSYS) as wait() does.
        """
        signals = self.process.signals
        if signals.deliverable(self):
            raise LinuxError(ERESTARTSYS)
        left = None if deadline_ns is None else max(0, deadline_ns - self.host.clock.clock_gettime(1))
        _, signalled = self._poll((), left)
        if signalled:
            signals.collect(self)
        return signalled

    def sleep(self, left_ns: int | None) -> None:
        """Wait until the host or another thread has something for this one, or the time is over."""
        self._poll((), left_ns)

    def _poll(self, fds: Sequence[tuple[int, int]], left: int | None) -> tuple[list[tuple[int, int]], bool]:
        """Poller.poll(), out of the kernel if there are other threads, who can end it."""
        threads = self.process.threads
        if threads is None:
            return self.host.poller.poll(fds, left)
        wake = self.wake[0]
        threads.leave(self, WAITING)
        try:
            ready, signalled = self.host.poller.poll([*fds, (wake, POLLIN)], left)
        finally:
            threads.enter(self)
        if ready and ready[-1][0] == wake:
            del ready[-1]
            self.host.files.read(wake, 4096)
            signalled = True
        return ready, signalled

    def system_call(self) -> tuple[int, ...] | None:
        """The system call that the thread is in: its number, arguments, stack pointer and program counter."""
        if self.interrupted or self.where == GUEST:
            return None
        arch, regs = self.process.arch, self.vcpu.regs
        return tuple(regs[index] for index in (arch.number, *arch.args, arch.sp, arch.pc))

    def rest(self) -> None:
        """Let other threads into the kernel until one of them kicks this one, or some milliseconds are over."""
        threads = self.process.threads
        assert threads is not None
        threads.leave(self, WAITING)
        try:
            self.host.poller.poll([(self.wake[0], POLLIN)], 5_000_000, signals=False)
        finally:
            threads.enter(self)

    def run_beside_others(self) -> int:
        """Run guest code; meanwhile others may be in the kernel."""
        threads = self.process.threads
        if threads is None:
            return self.vcpu.run()
        threads.leave(self, GUEST)
        try:
            return self.vcpu.run()
        finally:
            self.where = KERNEL  # or at its door
            threads.enter(self)

    def run_in_turn(self) -> int:
        """Run guest code where only one thread at a time can, in the kernel or out of it."""
        threads = self.process.threads
        if threads is None:
            return self.vcpu.run()
        if threads.turn_is_over():
            threads.leave(self, KERNEL)
            threads.enter(self)
            return EXIT_INTERRUPTED
        self.where = GUEST
        try:
            return self.vcpu.run()
        finally:
            self.where = KERNEL

    def apply_identity(self) -> None:
        """Let the host check files against the guest's credentials, where it can: see Procs.set_identity()."""
        creds = self.creds
        self.host.procs.set_identity(creds.fsuid, creds.fsgid, creds.groups, creds.effective)
        self.vcpu.host_thread_changed()

    def check_not_running(self, stat: Stat) -> None:
        """See noah.vfs.caller.Caller.check_not_running()."""
        if self.process.box.runs(stat.dev, stat.ino):
            raise LinuxError(ETXTBSY)

    def send_signal(self, signo: int) -> None:
        """See noah.vfs.caller.Caller.send_signal()."""
        self.process.signals.send_self(self, signo)

    def blocks_or_ignores(self, signo: int) -> bool:
        """See noah.vfs.caller.Caller.blocks_or_ignores()."""
        return self.process.signals.blocks_or_ignores(self, signo)
