"""Signals of a process: actions, pending signals, their delivery (signal(7); kernel/signal.c has the rules).

Host signals stay blocked; collect() takes them over into the guest's own queues, where Linux' rules of blocking,
ignoring and queueing are applied once more. Signals that a process sends to itself never leave Noah. deliver() is
called on the way back to the guest: it runs default actions, builds frames for handlers, restarts interrupted calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import (
    EAGAIN,
    EINTR,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTNOINTR,
    ERESTARTSYS,
    LinuxError,
)
from noah.abi.mman import PROT_EXEC, PROT_READ
from noah.abi.resource import RLIMIT_SIGPENDING
from noah.abi.signal import (
    CONTINUE,
    DEFAULT_ACTIONS,
    IGNORE,
    NSIG,
    POLL_HUP,
    SA_NOCLDWAIT,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SI_KERNEL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGRTMAX,
    SIGRTMIN,
    SIGSEGV,
    SIGURG,
    STOP,
    STOP_SIGNALS,
    UNBLOCKABLE,
    bit,
)
from noah.host.values import Siginfo
from noah.kernel import childsignal, faults, sender, sigframe_aarch64, sigframe_x86_64
from noah.kernel.actions import DEFAULT, Action, Actions
from noah.kernel.asking import KNOCK_CODE, KNOCK_SIGNAL
from noah.kernel.control import ProcessExit
from noah.kernel.pending import Pending
from noah.kernel.timers import OF_CPU_TIME
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.signalfd import SignalFile
    from noah.kernel.task import Process, Task
    from noah.kernel.timers import PosixTimer

_IGNORED_BY_DEFAULT: Final = sum(
    bit(signo) for signo in range(1, NSIG + 1) if DEFAULT_ACTIONS[signo] in (IGNORE, CONTINUE)
)
_RESTARTS: Final = frozenset((-ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND, -ERESTART_RESTARTBLOCK))
_KICK_SIGNAL: Final = SIGRTMAX - 1  # noah.vm.kvm.vcpu.KICK_SIGNAL: it has ended a KVM_RUN and has no further meaning
_MASK: Final = (1 << 64) - 1
_MINUS_EINTR: Final = -EINTR & _MASK
_RESTORE_MASK: Final = 1 << 64  # in `attention`: Task.saved_mask waits to be put back
_FRAMES: Final = {"x86_64": sigframe_x86_64, "aarch64": sigframe_aarch64}


class SignalState:
    """The signal actions and the pending signals of one process."""

    __slots__ = (
        "_continued",
        "_frame",
        "_host_uid",
        "_ignored",
        "_process",
        "_shown",
        "actions",
        "attention",
        "files",
        "fp_format",
        "lent",
        "on_deliver",
        "shared",
        "trampoline",
        "trap",
    )

    def __init__(self, process: Process) -> None:
        self._process = process
        self._frame = _FRAMES[process.machine.arch]
        self._host_uid = process.host.procs.getresuid()[0]
        inherited = process.host.signals.inherited_ignored
        self.actions = Actions(
            [
                (SIG_IGN, 0, 0, 0) if signo and inherited & bit(signo) & ~UNBLOCKABLE else DEFAULT
                for signo in range(NSIG + 1)
            ]
        )
        self._ignored = _IGNORED_BY_DEFAULT | inherited & ~UNBLOCKABLE
        self.shared = Pending()
        self._continued = 0  # SIGCONTs so far
        self.attention = 0
        """Not 0 if deliver() may have something to do."""
        self.files: tuple[SignalFile, ...] = ()
        """The open signalfds."""
        self.on_deliver: Callable[[Task, Siginfo], None] | None = None  # a tracer
        self.trap = (0, 0, 0)
        """The last exception: number, error code, address; signal frames show it."""
        self.fp_format = (0, 0)
        """Of the vCPU's floating-point state, as sigframe_x86_64 has seen it."""
        self._shown: memoryview | None = None
        self.lent = False
        """A child acts in its parent's place (noah.kernel.vfork): the host's signals are not for it."""
        self.trampoline = 0
        """Where handlers without SA_RESTORER return to (aarch64: __kernel_rt_sigreturn of its vDSO)."""

    # -- state

    def start(self, task: Task) -> None:
        """The first task of all: blocked is what Noah's own parent had blocked."""
        self.set_mask(task, self._process.host.signals.inherited_blocked)

    def set_mask(self, task: Task, mask: int) -> None:
        """Block exactly these signals (set_current_blocked())."""
        task.sigmask = mask = mask & ~UNBLOCKABLE & _MASK
        if self._shown is not None and task.leader:
            self._shown[0] = mask
        ignored = self._ignored & ~task.sigmask
        task.sigpending.flush(ignored)
        self.shared.flush(ignored)
        self.recalculate(task)

    def show(self, masks: memoryview, *, current: bool = False) -> None:
        """Keep there, for other processes, what the first thread blocks and what is ignored and caught.

        `current`: it is there already.
        """
        self._shown = masks
        if current:
            return
        masks[0] = self._process.tasks[0].sigmask if self._process.tasks else 0
        masks[1] = masks[2] = 0
        for signo, (handler, *_) in enumerate(self.actions[1:], 1):
            self._note(bit(signo), handler)

    def _note(self, this: int, handler: int) -> None:
        """What a signal does has changed."""
        shown = self._shown
        if shown is not None:
            shown[1] = shown[1] | this if handler == SIG_IGN else shown[1] & ~this
            shown[2] = shown[2] | this if handler not in (SIG_IGN, SIG_DFL) else shown[2] & ~this

    def set_temporary_mask(self, task: Task, mask: int) -> None:
        """Block other signals for the time of one system call (sigsuspend, ppoll, pselect, epoll_pwait).

        The call does nothing more: deliver() puts the old mask back when a handler has run or none had to.
        """
        task.saved_mask = task.sigmask
        self.set_mask(task, mask)

    def set_action(self, task: Task, signo: int, action: Action) -> None:
        """Set what a signal does; pending signals that are now ignored are forgotten, blocked or not (sigaction(2))."""
        self.actions.set(signo, action)
        this = bit(signo)
        self._note(this, action[0])
        if action[0] == SIG_IGN or (action[0] == SIG_DFL and this & _IGNORED_BY_DEFAULT):
            self._ignored |= this
            task.sigpending.flush(this)
            self.shared.flush(this)
        else:
            self._ignored &= ~this
        self.recalculate(task)

    def pending(self, task: Task) -> int:
        """Mask of what is pending for the thread or for the process."""
        return task.sigpending.mask | self.shared.mask

    def pending_anywhere(self) -> int:
        """Mask of what is pending for the process or any of its threads."""
        mask = self.shared.mask
        for task in self._process.tasks:
            mask |= task.sigpending.mask
        return mask

    def deliverable(self, task: Task) -> bool:
        """Whether a signal is pending that ends a wait: neither blocked nor ignored."""
        return bool((task.sigpending.mask | self.shared.mask) & ~task.sigmask & ~self._ignored)

    def blocks_or_ignores(self, task: Task, signo: int) -> bool:
        """What terminals ask before they stop a background process (is_ignored() in drivers/tty)."""
        return bool(bit(signo) & task.sigmask) or self.actions[signo][0] == SIG_IGN

    def reaps_children(self) -> bool:
        """Whether children vanish without wait(2): SIGCHLD is ignored by SIG_IGN, or has SA_NOCLDWAIT."""
        handler, flags, _, _ = self.actions[SIGCHLD]
        return handler == SIG_IGN or bool(flags & SA_NOCLDWAIT)

    def recalculate(self, task: Task) -> None:
        """Work out `attention` for the thread that is in the kernel."""
        attention = (task.sigpending.mask | self.shared.mask) & ~task.sigmask & ~self._ignored
        self.attention = attention if task.saved_mask is None else attention | _RESTORE_MASK
        for file in self.files:
            file.show()

    def on_exec(self, task: Task) -> None:
        """execve(2): handlers are gone, ignored signals stay ignored, blocked and pending ones as they are."""
        self.clear_handlers(task)
        task.altstack = (0, task.altstack[1], 0)  # begin_new_exec() leaves the flags alone
        task.restart = None
        self.trap = (0, 0, 0)

    def map_trampoline(self) -> None:
        """Give a new program the code that handlers without SA_RESTORER return to, where its vDSO is to have it."""
        code = self._frame.TRAMPOLINE
        if code:
            space = self._process.space
            self.trampoline = space.find_free(PAGE)
            space.place(b"[vdso]", self.trampoline, PAGE, PROT_READ | PROT_EXEC, code)

    def clear_handlers(self, task: Task) -> None:
        """What has a handler goes back to its default: execve(2), CLONE_CLEAR_SIGHAND of clone3(2)."""
        self.actions.hide()
        for signo, action in enumerate(self.actions):
            self.actions[signo] = (SIG_IGN, 0, 0, 0) if action[0] == SIG_IGN else DEFAULT
        self._ignored |= _IGNORED_BY_DEFAULT
        if self._shown is not None:
            self._shown[2] = 0
        self.recalculate(task)

    def on_fork_child(self, task: Task) -> None:
        """A new process has no pending signals; mask, actions and stack are its parent's."""
        if task.sigpending.mask:
            task.sigpending = Pending()
        if self.shared.mask:
            self.shared = Pending()
        for file in self.files:
            file.renew()
        if self._shown is not None:
            self._shown[0] = task.sigmask
        self.recalculate(task)

    def lend(self) -> memoryview:
        """A child goes on with this object in its parent's place; what it shows."""
        self.lent = True
        self.actions = self.actions.lend()
        self.shared = Pending()
        self.files = ()
        self.attention = 0
        before = bytes(self._shown) if self._shown is not None else bytes(24)
        self._shown = memoryview(bytearray(before)).cast("Q")
        return self._shown

    def keep(self, masks: memoryview, files: tuple[SignalFile, ...]) -> None:
        """The child has a process of its own now. files: its parent's."""
        self.lent = False
        if self._shown is not None:
            self._shown[1:] = masks[1:]
        self.files = files
        for file in files:
            file.renew()
        self.recalculate(self._process.tasks[0])

    # -- sending

    def send_self(self, task: Task, signo: int, info: Siginfo | None = None) -> None:
        """Send a signal to the own process, as kill(2) would if `info` says nothing else."""
        self.send(task, info or Siginfo(signo, 0, SI_USER, pid=self._process.pid, uid=task.creds.uid))

    def send(self, task: Task, info: Siginfo, *, to_thread: bool = False, timer: PosixTimer | None = None) -> bool:
        """Make a signal pending: send_signal_locked(). False: there is no room for a real-time signal.

        With `to_thread` it is for this task, else for any thread of its process.
        """
        signo = info.signo
        this = bit(signo)
        if this & STOP_SIGNALS:
            task.sigpending.flush(bit(SIGCONT))
            self.shared.flush(bit(SIGCONT))
        elif signo == SIGCONT:
            task.sigpending.flush(STOP_SIGNALS)
            self.shared.flush(STOP_SIGNALS)
            self._continued += 1
        if this & self._ignored & ~task.sigmask:
            return True
        queue = task.sigpending if to_thread else self.shared
        if timer is None:
            if signo < SIGRTMIN and queue.mask & this:
                return True
            if (signo >= SIGRTMIN or info.code < 0) and self._queue_is_full(task):
                if signo >= SIGRTMIN and info.code != SI_USER:
                    return False
                queue.mask |= this  # pending, but nothing is known about it
                self.recalculate(task)
                return True
        queue.add(info, timer)
        for file in self.files:
            file.show(this)
        if this & ~task.sigmask:
            self.attention |= this
        threads = self._process.threads
        if threads is not None:
            threads.notify(task if to_thread else None, this)
        return True

    def _queue_is_full(self, task: Task) -> bool:
        limits = self._process.rlimits.get(RLIMIT_SIGPENDING)
        return limits is not None and len(task.sigpending.queue) + len(self.shared.queue) >= limits[0]

    def force(self, task: Task, info: Siginfo, *, default: bool = False) -> None:
        """A signal that the thread's own code brought about: it cannot be blocked or ignored (force_sig_info()).

        With `default` a handler is not run either.
        """
        signo = info.signo
        this = bit(signo)
        handler, flags, restorer, mask = self.actions[signo]
        blocked = bool(task.sigmask & this)
        if blocked or handler == SIG_IGN or default:
            self.actions.set(signo, (SIG_DFL, flags, restorer, mask))
            self._ignored &= ~this
            task.sigmask &= ~this
        self.send(task, info, to_thread=True)

    def force_fault(self, task: Task, signo: int, code: int, address: int) -> None:
        """SIGSEGV or SIGBUS for the memory access that the vCPU reports (EXIT_FAULT)."""
        self.trap = faults.of_access(task)
        self.force(task, Siginfo(signo, 0, code, addr=address))

    def force_exception(self, task: Task) -> None:
        """The signal for the exception that the vCPU reports (EXIT_EXCEPTION)."""
        info, self.trap = faults.of_exception(task, self.trap)
        self.force(task, info)

    # -- taking over from the host

    def show_pending(self, task: Task) -> None:
        """Before a look at files: what the host still has may be what a signalfd tells of."""
        if self.files:
            self.collect(task)

    def collect(self, task: Task) -> None:
        """Take what the host has pending for this process, and let timers expire that are due."""
        if not self.lent:
            self.take_over(task, self._process.host.signals.collect())

    def take_over(self, task: Task, found: list[Siginfo]) -> None:
        """What collect() has found at the host, or somebody in its stead."""
        process = self._process
        timers = process.timers
        is_ring = process.host.clock.is_ring
        asked = False
        if found and process.threads is not None:
            process.threads.wake_waiters()
        for info in found:
            signo = info.signo
            if signo == _KICK_SIGNAL and info.pid == process.pid:  # what a guest sends to itself never gets to the host
                continue
            knocks = signo == SIGURG and not process.host.caps.sigqueue and process.box.cards.take_knock()
            if knocks or (signo == KNOCK_SIGNAL and info.code == KNOCK_CODE):
                asked = True
                continue
            info = sender.read_letter(process, info)
            rings = is_ring(info)
            if rings or (rings is None and timers.is_due()):
                continue  # the host timer behind all timers of the guest
            if signo == SIGCHLD:
                changed = childsignal.of_host(self, process, info)
                if changed is None:
                    continue
                info = changed
            elif 0 < info.code <= POLL_HUP and info.band:  # F_SETSIG: fd is the host's
                info = info._replace(fd=process.fds.number_of(info.fd))
            info = sender.as_seen(process, info, self._host_uid)
            runs = process.threads.running(task, bit(signo)) if signo in OF_CPU_TIME and process.threads else None
            self.send(runs or task, info, to_thread=runs is not None)
        if timers.is_due():
            timers.expire(task)
        if asked:
            process.box.asking.answer(process)

    # -- delivery

    def take(self, task: Task, allowed: int) -> Siginfo | None:
        """Dequeue the next signal out of a mask (dequeue_signal())."""
        while True:
            entry = task.sigpending.take(allowed) or self.shared.take(allowed)
            if entry is None:
                return None
            info, timer = entry
            if timer is None:
                return info
            current = timer.delivered(info)
            if current is not None:
                return current

    def deliver(self, task: Task, result: int) -> None:
        """Do what pending signals ask for; the registers are then as the guest goes on with them.

        `result` is the negative ERESTART* of an interrupted system call whose result is not yet in its register, or
        anything else. Raises ProcessExit.
        """
        restart = -result if result in _RESTARTS else 0
        arch = self._process.arch
        if task.saved_mask is not None and not restart and task.vcpu.regs[arch.result] != _MINUS_EINTR:
            self._put_mask_back(task)
        while True:
            fault = task.sigpending.take_fault(~task.sigmask)
            info = fault[0] if fault is not None else self.take(task, ~task.sigmask)
            if info is None:
                break
            signo = info.signo
            action = self.actions[signo]
            if self.on_deliver is not None:
                self.on_deliver(task, info)
            if action[0] == SIG_IGN:
                continue
            if action[0] == SIG_DFL:
                self._act_by_default(task, signo)
                continue
            if action[1] & SA_RESETHAND:
                self.set_action(task, signo, (SIG_DFL, *action[1:]))
            if restart:
                self._leave_call(task, restart, action)
                restart = 0
            self._enter_handler(task, info, action)
        if restart:
            self._restart_call(task, restart)
        if task.saved_mask is not None:
            self._put_mask_back(task)
        self.recalculate(task)

    def _put_mask_back(self, task: Task) -> None:
        mask = task.saved_mask
        assert mask is not None
        task.saved_mask = None
        self.set_mask(task, mask)

    def _act_by_default(self, task: Task, signo: int) -> None:
        kind = DEFAULT_ACTIONS[signo]
        if kind == STOP:
            # A SIGCONT that came meanwhile has cancelled the stop: the host would now cancel that SIGCONT by it.
            seen = self._continued
            self.collect(task)
            if self._continued == seen:
                self._process.host.procs.stop_by_signal(signo)
                self.collect(task)
        elif kind not in (IGNORE, CONTINUE):
            raise ProcessExit(signal=signo)

    def _restart_call(self, task: Task, restart: int) -> None:
        """Make the guest repeat its system call: the number register still holds what it asked for."""
        arch = self._process.arch
        regs = task.vcpu.regs
        regs[arch.pc] = regs[arch.pc] - arch.insn_size & _MASK
        if restart == ERESTART_RESTARTBLOCK:
            regs[arch.number] = self._frame.RESTART_SYSCALL

    def _leave_call(self, task: Task, restart: int, action: Action) -> None:
        """Decide how a call goes on that a handler interrupts (handle_signal())."""
        if restart == ERESTARTNOINTR or (restart == ERESTARTSYS and action[1] & SA_RESTART):
            self._restart_call(task, restart)
        else:
            task.vcpu.regs[self._process.arch.result] = _MINUS_EINTR

    def _enter_handler(self, task: Task, info: Siginfo, action: Action) -> None:
        mask = task.sigmask if task.saved_mask is None else task.saved_mask
        try:
            self._frame.push(task, action, info, mask)
        except LinuxError:
            self.force(task, Siginfo(SIGSEGV, 0, SI_KERNEL), default=info.signo == SIGSEGV)
            return
        task.saved_mask = None
        mask = task.sigmask | action[3]
        if not action[1] & SA_NODEFER:
            mask |= bit(info.signo)
        self.set_mask(task, mask)

    def sigreturn(self, task: Task) -> None:
        """rt_sigreturn(2): go back to what the frame on the stack holds; a bad frame is a SIGSEGV."""
        task.restart = None
        try:
            self._frame.pop(task)
        except LinuxError:
            self.force(task, self._frame.bad_frame(task))

    def queue_or_fail(self, task: Task, info: Siginfo, *, to_thread: bool = False) -> None:
        """send() for system calls: EAGAIN when the queue is full."""
        if not self.send(task, info, to_thread=to_thread):
            raise LinuxError(EAGAIN)
