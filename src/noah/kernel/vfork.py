"""The child of a vfork(2) in its parent's place: guest code goes on in the same host process and virtual machine.

Most such children set signals and descriptors up and execute a program. What they need of their own until then is no
more than signal actions, a signal mask, a table of descriptors and registers, and their parent is suspended. So they
borrow the parent's machine, with its memory, and get a host process when they execute a program (one that is forked
without the guest's memory), or make the first call that is not in the list, or need a signal: from then on
noah.kernel.fork shares by copying. Signals that arrive meanwhile are the parent's and wait at the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from noah.abi.errno import LinuxError
from noah.abi.sched import CLONE_CLEAR_SIGHAND, CLONE_SETTLS, CLONE_VFORK, CLONE_VM
from noah.abi.signal import SI_KERNEL, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGSEGV, SIGTSTP, bit
from noah.host.values import Siginfo
from noah.kernel.control import NoReturn, ProcessExit
from noah.kernel.fork import fork, fork_for_program
from noah.kernel.pending import Pending
from noah.kernel.signals import SignalState
from noah.kernel.task import Program, Task
from noah.mm.fault import FAULT_RETRY, fault
from noah.vm.api import EXIT_CRASHED, EXIT_EXCEPTION, EXIT_FAULT, EXIT_SYSCALL

_MASK: Final = (1 << 64) - 1
_FLAGS: Final = CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_CLEAR_SIGHAND
_OF_TERMINALS: Final = bit(SIGHUP) | bit(SIGINT) | bit(SIGQUIT) | bit(SIGTSTP)


def can_borrow(task: Task, flags: int, exit_signal: int) -> bool:
    """Whether a vfork's child begins in its parent's place. Not beside other threads, which would see its signals."""
    process = task.process
    return (
        bool(process.borrowing.calls)
        and flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM | CLONE_VFORK
        and not flags & ~_FLAGS
        and exit_signal == SIGCHLD
        and process.threads is None
        and task.saved_mask is None
    )


def vfork(task: Task, begin: Callable[[], None]) -> int:
    """vfork(2). Returns the child's pid in the parent; raises NoReturn in the child, once it is one.

    begin: makes the registers the child's.
    """
    own = task.pid
    parent = _Parent(task)
    try:
        begin()
        pid = _run(task, parent)
    except BaseException:
        if task.pid == own:  # no process for the child: as if there had never been one
            parent.go_on(task)
        raise
    parent.go_on(task)
    return pid


class _Parent:
    """What the suspended parent has that the child changes in its place."""

    __slots__ = (
        "_altstack",
        "_arrived",
        "_clear_child_tid",
        "_fds",
        "_fp",
        "_gs",
        "_mask",
        "_pending",
        "_regs",
        "_shown",
        "_signals",
        "_tls",
    )

    def __init__(self, task: Task) -> None:
        vcpu, signals = task.vcpu, task.process.signals
        self._regs = [vcpu.regs[index] for index in range(len(vcpu.regs))]
        self._tls, self._gs, self._fp = vcpu.get_tls(), vcpu.get_gs(), vcpu.get_fp()
        self._mask, self._altstack, self._clear_child_tid = task.sigmask, task.altstack, task.clear_child_tid
        self._pending = task.sigpending
        self._signals = {name: getattr(signals, name) for name in SignalState.__slots__}
        task.sigpending = Pending()
        self._fds = task.fds
        task.process.fds = task.fds = task.fds.copy()
        self._arrived: list[Siginfo] = []
        self._shown = signals.lend()

    def before_fork(self, task: Task) -> None:
        """What a terminal has sent to the process group meanwhile is for the child as well."""
        host = task.host.signals
        if host.pending() & _OF_TERMINALS:
            self._arrived = host.collect()

    def go_on(self, task: Task) -> None:
        """In the parent's process: everything is as it was."""
        vcpu, signals = task.vcpu, task.process.signals
        for index, value in enumerate(self._regs):
            vcpu.regs[index] = value
        if vcpu.get_tls() != self._tls:
            vcpu.set_tls(self._tls)
        if vcpu.get_gs() != self._gs:
            vcpu.set_gs(self._gs)
        vcpu.set_fp(self._fp)
        task.sigmask, task.altstack, task.clear_child_tid = self._mask, self._altstack, self._clear_child_tid
        task.sigpending = self._pending
        task.fds.close_all()
        task.process.fds = task.fds = self._fds
        signals.actions.hide()
        for name, value in self._signals.items():
            setattr(signals, name, value)
        if self._arrived:
            signals.take_over(task, self._arrived)

    def let_go(self, task: Task) -> None:
        """In the child's process: what it did to signals and descriptors is its own; the rest is as after any fork."""
        task.fds.succeed(self._fds)
        signals = task.process.signals
        signals.keep(self._shown, self._signals["files"])
        for info in self._arrived:
            if info.code == SI_KERNEL and bit(info.signo) & _OF_TERMINALS:
                signals.send(task, info)


def _run(task: Task, parent: _Parent) -> int:
    process, vcpu = task.process, task.vcpu
    borrowing = process.borrowing
    arch = process.arch
    while True:
        kind = vcpu.run()
        regs = vcpu.regs
        if kind == EXIT_SYSCALL:
            nr = regs[arch.number] & 0xFFFF_FFFF
            args = [regs[index] for index in arch.args]
            find, handler = borrowing.find_program.get(nr), borrowing.calls.get(nr)
            try:
                if find is not None:
                    program = find(task, *args[:3])
                elif handler is not None:
                    regs[arch.result] = handler(task, *args) & _MASK
                    continue
                else:
                    break
            except LinuxError as error:
                regs[arch.result] = -error.errno & _MASK
                continue
            return _execute(task, program, parent)
        elif kind != EXIT_FAULT or fault(process.space, vcpu.fault_address, vcpu.fault_access) != FAULT_RETRY:
            break
    return _get_a_process(task, kind, parent)


def _execute(task: Task, program: Program, parent: _Parent) -> int:
    """The child executes a program: the memory that it shares is none of its own any more."""
    files = task.host.files
    ends: tuple[int, ...] = ()
    parent.before_fork(task)
    try:
        reader, writer = ends = files.pipe()
        pid = fork_for_program(task)
    except LinuxError:
        for end in ends:
            files.close(end)
        program.close()
        raise
    if pid:
        program.close()
        files.close(writer)
        files.read(reader, 1)  # until there is nobody to write: the program is loaded, or the child dead
        files.close(reader)
        return pid
    files.close(reader)
    parent.let_go(task)
    program.execute(task, machine_is_empty=True)
    files.close(writer)
    raise NoReturn


def _get_a_process(task: Task, kind: int, parent: _Parent) -> int:
    """The child goes on in a host process of its own, with whatever ended the run."""
    arch, regs = task.process.arch, task.vcpu.regs
    if kind == EXIT_SYSCALL:
        regs[arch.pc] = regs[arch.pc] - arch.insn_size & _MASK  # it makes the call again
    parent.before_fork(task)
    pid = fork(task, CLONE_VM | CLONE_VFORK)
    if pid:
        return pid
    parent.let_go(task)
    if kind == EXIT_EXCEPTION:
        task.process.signals.force_exception(task)
    elif kind == EXIT_CRASHED:
        raise ProcessExit(signal=SIGSEGV)
    raise NoReturn
