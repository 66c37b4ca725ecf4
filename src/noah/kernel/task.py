"""Process and Task: the state behind one guest process and its thread.

A Process is what threads share: memory, descriptors, signal actions, limits. A Task is one thread: registers (through
its vCPU), signal mask, thread id. Every handler gets its task as an argument; nothing asks which host thread it is on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from noah.abi.elf import AT_SYSINFO_EHDR
from noah.abi.errno import ERESTARTSYS, LinuxError
from noah.host.api import Host
from noah.kernel.box import Box
from noah.kernel.control import ProcessExit
from noah.kernel.pending import Pending
from noah.mm.space import AddressSpace
from noah.vfs.credentials import Credentials
from noah.vfs.fdtable import FdTable
from noah.vfs.namespace import FsContext

if TYPE_CHECKING:
    from noah.kernel.arch import Arch
    from noah.kernel.fork import SharedUntilExec
    from noah.kernel.signals import SignalState
    from noah.kernel.timers import Timers
    from noah.vm.api import Machine, Vcpu


def _nothing() -> None:
    """The default of Process.before_fork: what must be flushed lest parent and child both write it."""


def _ignore(text: str) -> None:
    """The default of the reports above."""


class Vdso(Protocol):
    """Code that Noah maps into every program: clocks without a system call (vdso(7)). See noah.loader.vdso."""

    def map(self, space: AddressSpace) -> int:
        """Map it; returns the address of its ELF header."""


class Process:
    """One guest process = one host process."""

    __slots__ = (
        "arch",
        "argv",
        "at_exit",
        "auxv",
        "before_fork",
        "box",
        "comm",
        "creds",
        "dumpable",
        "environ",
        "exe",
        "fds",
        "fs",
        "host",
        "host_faults",
        "keep_caps",
        "machine",
        "missing",
        "no_new_privs",
        "on_bug",
        "parent_pid",
        "personality",
        "pid",
        "rlimits",
        "signals",
        "space",
        "subreaper",
        "tasks",
        "timer_slack",
        "timers",
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
        self.parent_pid = 0  # the guest's view: 0 when the parent is not of this box
        self.exe = b""  # guest path of the program
        self.argv: list[bytes] = []
        self.environ: list[bytes] = []
        self.auxv = b""
        self.comm = b""
        self.rlimits: dict[int, tuple[int, int]] = {}
        self.signals: SignalState
        self.timers: Timers
        self.tasks: list[Task] = []
        self.personality = 0
        self.dumpable = 1
        self.no_new_privs = False
        self.keep_caps = False
        self.subreaper = False
        self.timer_slack = 50_000  # ns
        self.vfork_done: SharedUntilExec | None = None
        """In the child of a vfork: what lets the parent go on; called once, by execve or exit."""
        self.vdso: Vdso | None = None
        self.host_faults = 0  # in a row: see kernel.run
        self.before_fork: Callable[[], None] = _nothing
        self.at_exit: Callable[[ProcessExit], None] | None = None  # a front end's last words (trace files)
        self.missing: Callable[[str], None] = _ignore  # names what a program asked for and did not get
        self.on_bug: Callable[[str], None] = _ignore

    def vdso_auxv(self) -> list[tuple[int, int]]:
        """Map the vDSO into a new program's memory; its entry in the auxiliary vector."""
        self.signals.map_trampoline()
        return [(AT_SYSINFO_EHDR, self.vdso.map(self.space))] if self.vdso is not None else []


class Task:
    """One guest thread. Satisfies noah.vfs.caller.Caller."""

    __slots__ = (
        "altstack",
        "clear_child_tid",
        "creds",
        "fds",
        "fs",
        "host",
        "mem",
        "pdeathsig",
        "pid",
        "process",
        "restart",
        "robust_list",
        "saved_mask",
        "sigmask",
        "sigpending",
        "space",
        "tid",
        "vcpu",
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
        self.sigmask = 0  # blocked signals: bit n-1 = signal n
        self.saved_mask: int | None = None  # the mask to go back to after sigsuspend, ppoll, pselect (see signals)
        self.sigpending = Pending()  # signals for this thread
        self.altstack = (0, 0, 0)  # base, SS_* flags, size: see kernel.altstack
        self.clear_child_tid = 0
        self.robust_list = 0
        self.pdeathsig = 0
        self.restart: Callable[[], int] | None = None
        """What restart_syscall(2) goes on with (ERESTART_RESTARTBLOCK)."""

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
            ready, signalled = host.poller.poll(fds, left)
            if ready:
                return ready
            if not signalled:
                return ready
            signals.collect(self)

    def pause(self, deadline_ns: int | None = None) -> bool:
        """Wait until signals have been collected, deliverable or not (a child's SIGCHLD); False when time is over.

        Raises LinuxError(ERESTARTSYS) as wait() does.
        """
        signals = self.process.signals
        if signals.deliverable(self):
            raise LinuxError(ERESTARTSYS)
        left = None if deadline_ns is None else max(0, deadline_ns - self.host.clock.clock_gettime(1))
        _, signalled = self.host.poller.poll((), left)
        if signalled:
            signals.collect(self)
        return signalled

    def send_signal(self, signo: int) -> None:
        """See noah.vfs.caller.Caller.send_signal()."""
        self.process.signals.send_self(self, signo)

    def blocks_or_ignores(self, signo: int) -> bool:
        """See noah.vfs.caller.Caller.blocks_or_ignores()."""
        return self.process.signals.blocks_or_ignores(self, signo)
