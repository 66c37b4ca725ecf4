"""Threads: the tasks of one process, each a host thread with a vCPU of its own.

The threads of a process share one lock, the kernel lock. A thread holds it while it is in the kernel and lets go of it
while guest code runs and while a call waits (Task.wait, Task.pause), so that handlers never run side by side and need
no locks of their own. A process with one thread has no lock and pays nothing.

Where an engine runs only one vCPU at a time (Machine.parallel), a thread keeps the lock while guest code runs, until it
waits or its turn is over.

`SignalState.attention` is about the thread that holds the lock: enter() works it out anew.

They are made without the module threading: it takes long to load, adds to what it takes to make a thread, and once it
is there, each fork of the interpreter spends a sixth of a millisecond on it in the child.
"""

from __future__ import annotations

from _thread import allocate_lock, get_native_id, start_new_thread

from noah.abi.errno import EAGAIN, LinuxError
from noah.abi.fcntl import O_NONBLOCK
from noah.abi.futex import FUTEX_BITSET_MATCH_ANY
from noah.abi.sched import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_FILES,
    CLONE_FS,
    CLONE_PARENT_SETTID,
    CLONE_SETTLS,
)
from noah.kernel.control import ThreadExit
from noah.kernel.robust import release_robust
from noah.kernel.task import GUEST, KERNEL, WAITING, Process, Task
from noah.kernel.turns import Turns
from noah.vm.api import EngineError


class Threads:
    """What a process has once it has made a second thread."""

    __slots__ = ("_lock", "_process", "_turns", "holder", "survivor")

    def __init__(self, task: Task) -> None:
        self._process = task.process
        self._turns = None if task.process.machine.parallel else Turns(task.host.clock, self._stop_holder)
        self._lock = self._turns or allocate_lock()
        self._lock.acquire()
        self.holder = task
        self.survivor: Task | None = None  # who executes a program: everyone else ends
        task.process.signals.actions.hide()
        self._admit(task)

    def _admit(self, task: Task) -> None:
        task.wake = task.host.files.pipe(O_NONBLOCK)
        task.run_guest = task.run_beside_others if self._turns is None else task.run_in_turn

    def _stop_holder(self) -> None:
        self.holder.vcpu.kick()

    def turn_is_over(self) -> bool:
        """Whether the thread in the kernel is to let others run, where one runs at a time."""
        return self._turns is not None and self._turns.over

    def give_way(self) -> None:
        """sched_yield(2): as if the turn were over."""
        if self._turns is not None:
            self._turns.give_way()

    def enter(self, task: Task) -> None:
        """Come into the kernel. Raises ThreadExit when the thread is to end."""
        self._lock.acquire()
        self._come_in(task)

    def try_enter(self, task: Task) -> bool:
        """As enter(), unless another thread is in the kernel, which may be waiting until this one leaves the guest."""
        lock = self._lock
        if isinstance(lock, Turns) or not lock.acquire(False):
            return False
        self._come_in(task)
        return True

    def _come_in(self, task: Task) -> None:
        self.holder = task
        task.where = KERNEL
        self._process.signals.recalculate(task)
        if self.survivor is not None and self.survivor is not task:
            raise ThreadExit

    def leave(self, task: Task, where: int) -> None:
        """Leave the kernel for guest code or for a wait."""
        task.where = where
        self._lock.release()

    def stop_others(self, task: Task) -> None:
        """Have no other thread run guest code until the caller, who is in the kernel, leaves it."""
        others = [other for other in self._process.tasks if other is not task]
        for other in others if self._turns is None else ():
            if other.where == GUEST:
                other.vcpu.kick()
            while other.where == GUEST:
                task.host.poller.poll((), 20_000, signals=False)

    def kick(self, task: Task) -> None:
        """Bring a thread into the kernel, out of guest code or out of its wait."""
        if task.where == GUEST:
            task.vcpu.kick()
        elif task.where == WAITING:
            try:
                task.host.files.write(task.wake[1], b"k")
            except LinuxError:
                pass  # the pipe is full: there is enough to wake it

    def notify(self, target: Task | None, mask: int) -> None:
        """A signal has become pending, for one thread or for any: see that somebody looks."""
        if target is None:
            candidates = [self.holder, *self._process.tasks]
            target = next((task for task in candidates if not task.sigmask & ~task.awaited & mask), None)
        if target is not None and target is not self.holder and not target.sigmask & ~target.awaited & mask:
            self.kick(target)

    def running(self, task: Task, mask: int) -> Task | None:
        """Who has used the processor: for what a timer of CPU time sends (complete_signal() prefers that thread).

        The calling thread if it comes out of guest code, else another that is in it, or at the kernel's door.
        """
        if task.interrupted and not task.sigmask & mask:
            return task
        others = (other for other in self._process.tasks if other is not task and other.where != WAITING)
        return next((other for other in others if not other.sigmask & mask), None)

    def wake_waiters(self) -> None:
        """Something was taken from the host that a waiting thread may have been waiting for (a child's end)."""
        for task in self._process.tasks:
            if task.where == WAITING:
                self.kick(task)

    # -- life

    def start(self, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
        """clone(2) with CLONE_THREAD: answers the new thread's id."""
        process = self._process
        try:
            vcpu = process.machine.clone_vcpu(task.vcpu)
        except EngineError as error:
            raise LinuxError(EAGAIN, str(error)) from None
        child = Task(process, vcpu)
        child.fs = task.fs if flags & CLONE_FS else task.fs.copy()
        child.fds = task.fds if flags & CLONE_FILES else task.fds.copy()
        child.sigmask = task.sigmask
        child.comm = task.comm
        arch = process.arch
        if stack:
            vcpu.regs[arch.sp] = stack
        vcpu.regs[arch.result] = 0
        if flags & CLONE_SETTLS:
            vcpu.set_tls(tls)
        child.clear_child_tid = child_tid if flags & CLONE_CHILD_CLEARTID else 0
        started = allocate_lock()
        started.acquire()

        def live() -> None:
            child.tid = get_native_id()
            started.release()
            process.run_task(child)

        try:
            self._admit(child)
            start_new_thread(live, ())
        except (RuntimeError, LinuxError):
            process.machine.free_vcpu(vcpu)
            self._dismiss(child)
            child.leave_fds()
            raise LinuxError(EAGAIN, "the host starts no more threads") from None
        started.acquire()
        if task.host.caps.threads_scheduled:
            child.host_tid = child.tid
        process.tasks.append(child)
        process.box.cards.note_threads(len(process.tasks))
        for wanted, address in ((CLONE_PARENT_SETTID, parent_tid), (CLONE_CHILD_SETTID, child_tid)):
            if flags & wanted:
                try:
                    task.mem.write_u32(address, child.tid)
                except LinuxError:
                    pass  # Linux does not look either
        return child.tid

    def _dismiss(self, task: Task) -> None:
        for end in task.wake:
            task.host.files.close_quietly(end)

    def finish(self, task: Task) -> None:
        """The thread ends and others go on. Lets go of the lock."""
        process = self._process
        let_go(task)
        task.leave_fds()
        process.tasks.remove(task)
        process.box.cards.note_threads(len(process.tasks))
        process.machine.free_vcpu(task.vcpu)
        self._dismiss(task)
        if self.survivor is not None:
            self.kick(self.survivor)
        self._lock.release()
        if task.leader:
            forever = allocate_lock()  # the process' first host thread stays to the end
            forever.acquire()
            forever.acquire()

    def become_alone(self, task: Task) -> None:
        """execve(2): end every other thread; the caller becomes the leader, and the process has one thread again."""
        process = self._process
        self.survivor = task
        for other in process.tasks:
            if other is not task:
                self.kick(other)
        while len(process.tasks) > 1:
            task.rest()
        process.threads = None
        task.run_guest = task.vcpu.run
        task.tid = process.pid
        task.leader = True
        task.lead()
        self._dismiss(task)


def let_go(task: Task) -> None:
    """What a thread owes to those who wait for it: its robust futexes, and the word of set_tid_address(2).

    The word only if others use the same memory (mm_release()).
    """
    release_robust(task)
    if task.clear_child_tid and len(task.process.tasks) > 1:
        address, task.clear_child_tid = task.clear_child_tid, 0
        try:
            task.mem.write_u32(address, 0)
        except LinuxError:
            return
        try:
            task.process.futexes.wake(task, address, 1, FUTEX_BITSET_MATCH_ANY, 0)
        except LinuxError:
            return


def start_thread(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    """Make a thread; the first one turns the process into one with threads."""
    process: Process = task.process
    if process.threads is None:
        try:
            process.threads = Threads(task)
        except LinuxError as error:
            raise LinuxError(EAGAIN, f"no pipe for its wake-ups: {error}") from None
    return process.threads.start(task, flags, stack, parent_tid, child_tid, tls)
