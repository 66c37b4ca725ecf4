"""fork(2) and vfork(2): a guest child is a host child with a virtual machine of its own over the same, copied memory.

A vfork child shares its parent's memory until it executes a program or exits. Once it is a process (before that see
noah.kernel.vfork) it is a copy as well; the pages that it wrote (by the dirty bits of its own page tables, and by
Noah's writes for it) are sent back through a pipe on which the suspended parent waits: what the parent sees then is
what sharing would have shown. posix_spawn(3) relies on it. Other threads of the parent are suspended too, lest what
they write meanwhile be overwritten.
"""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.errno import LinuxError
from noah.abi.sched import CLONE_PARENT, CLONE_VFORK, CLONE_VM
from noah.abi.signal import SIGCHLD, SIGKILL
from noah.host.api import Files
from noah.kernel.control import ProcessExit
from noah.kernel.task import Process, Task
from noah.vm.api import EngineError
from noah.vm.arena import PAGE

_HEADER: Final = struct.Struct("<QQ")  # arena offset, length


def fork(task: Task, flags: int = 0, exit_signal: int = SIGCHLD) -> int:
    """Fork the calling task's process. Returns the child's pid in the parent, 0 in the child.

    flags: CLONE_PARENT; CLONE_VFORK (the parent waits until the child has called execve(2) or has ended), with CLONE_VM
    it then gets back what the child wrote.
    """
    process = task.process
    files = process.host.files
    ends = files.pipe() if flags & CLONE_VFORK else None
    try:
        if flags & CLONE_VFORK and flags & CLONE_VM and process.threads is not None:
            process.threads.stop_others(task)
        process.machine.before_fork(task.vcpu)
        pid = _fork_host(task, flags, exit_signal)
    except LinuxError:
        for end in ends or ():
            files.close(end)
        raise
    if pid:
        process.silent_children |= exit_signal != SIGCHLD
        if ends is not None:
            files.close(ends[1])
            _take_back(task, ends[0])
            files.close(ends[0])
        return pid
    try:
        process.machine.after_fork(task.vcpu)
    except EngineError as error:
        raise _stillborn(process) from error
    if not flags & CLONE_VM:
        process.space.after_fork()
    _begin(task)
    if ends is not None:
        files.close(ends[0])
        process.vfork_done = SharedUntilExec(task, ends[1], give_back=bool(flags & CLONE_VM))
    return 0


def fork_for_program(task: Task) -> int:
    """The same for a child that executes a program at once: its machine is as after Machine.reset()."""
    process = task.process
    try:
        pid = process.machine.fork_empty(task.vcpu, lambda: _fork_host(task, 0, SIGCHLD))
    except EngineError as error:
        raise _stillborn(process) from error
    if not pid:
        _begin(task)
    return pid


def _stillborn(process: Process) -> ProcessExit:
    """The end of a child that the engine gives no machine. Its parent goes on already: there is no one to tell."""
    process.vfork_done = None  # it is the parent's
    return ProcessExit(signal=SIGKILL)


def _fork_host(task: Task, flags: int, exit_signal: int) -> int:
    """Fork the host process. In the child, the box knows it then."""
    process = task.process
    procs = process.host.procs
    files = process.host.files
    process.before_fork()
    process.box.share_ipc()
    parent = process.pid
    # What is only the parent's would be gone with a detach or close of the parent's.
    taken = files.pipe() if process.ipc is not None and process.ipc.has_objects else ()
    try:
        if flags & CLONE_PARENT or exit_signal != SIGCHLD:
            pid = procs.clone(flags & CLONE_PARENT, exit_signal)
        else:
            pid = procs.fork()
    except LinuxError:
        for end in taken:
            files.close(end)
        raise
    if pid:
        process.box.add(pid, task.creds, process.program)
        if taken:
            files.close(taken[1])
            files.read(taken[0], 1)  # until the child has taken its part of the objects, or has ended
            files.close(taken[0])
        return pid
    process.pid = task.pid = task.tid = task.host_tid = procs.getpid()
    task.robust_list = 0
    _leave_others(task)
    process.box.add(process.pid, task.creds, process.program)
    process.box.cards.take(process, parent)
    if process.ipc is not None:
        process.ipc.after_fork()
    for end in taken:
        files.close(end)
    return 0


def _leave_others(task: Task) -> None:
    """The child has its parent thread's directories and descriptors, and nothing of other threads."""
    tables = {id(other.fds): other.fds for other in task.process.tasks if other.fds is not task.fds}
    task.lead()
    for table in tables.values():
        table.close_all()


def _begin(task: Task) -> None:
    """What a new process does not have of its parent's."""
    process = task.process
    process.silent_children = False
    process.subreaper = False
    task.pdeathsig = 0
    task.dispatch = None
    process.tasks[:] = [task]
    process.threads = None
    process.futexes = process.futexes.renew()
    task.leader = True
    task.run_guest = task.vcpu.run
    process.signals.on_fork_child(task)
    process.timers.on_fork_child()
    if process.vfork_done is not None:  # a vfork child that forks: the promise stays with its parent
        process.vfork_done.forget()
        process.vfork_done = None


class SharedUntilExec:
    """The child's side of a vfork. Calling it gives the memory back and lets the parent go on."""

    __slots__ = ("_give_back", "_pipe", "_task")

    def __init__(self, task: Task, pipe: int, *, give_back: bool) -> None:
        self._task = task
        self._pipe = pipe
        self._give_back = give_back
        if give_back:
            task.process.machine.begin_write_log()
            task.mem.log = []

    def __call__(self) -> None:
        task = self._task
        process = task.process
        process.vfork_done = None
        if self._give_back:
            self._send(task)
        process.host.files.close(self._pipe)

    def _send(self, task: Task) -> None:
        process = task.process
        pages = set(process.machine.written_pages())
        for offset, length in task.mem.log or ():
            pages.update(range(offset & -PAGE, offset + length, PAGE))
        task.mem.log = None
        view = process.machine.arena.view
        files = process.host.files
        for start, length in _runs(sorted(page for page in pages if process.space.is_private_memory(page))):
            _write_all(files, self._pipe, _HEADER.pack(start, length))
            _write_all(files, self._pipe, view[start : start + length])

    def forget(self) -> None:
        self._task.mem.log = None
        self._task.process.host.files.close(self._pipe)


def _runs(pages: list[int]) -> list[tuple[int, int]]:
    """Join neighbouring pages."""
    runs: list[tuple[int, int]] = []
    for page in pages:
        if runs and runs[-1][0] + runs[-1][1] == page:
            runs[-1] = (runs[-1][0], runs[-1][1] + PAGE)
        else:
            runs.append((page, PAGE))
    return runs


def _write_all(files: Files, fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[files.write(fd, rest) :]


def _take_back(task: Task, pipe: int) -> None:
    """Wait for the child; copy what it wrote. A child that is killed gives nothing back."""
    process = task.process
    files = process.host.files
    view = process.machine.arena.view
    while True:
        head = b""
        while len(head) < _HEADER.size:
            part = files.read(pipe, _HEADER.size - len(head))
            if not part:
                return
            head += part
        start, length = _HEADER.unpack(head)
        received = bytearray()
        while len(received) < length:
            part = files.read(pipe, length - len(received))
            if not part:
                return
            received += part
        if process.space.is_private_memory(start):
            view[start : start + length] = received
