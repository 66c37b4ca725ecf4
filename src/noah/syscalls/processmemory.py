"""Memory of processes: process_vm_readv(2), process_vm_writev(2)."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EFAULT, EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import IovecOutPtr, IovecPtr, Pid, ULong
from noah.abi.limits import IOV_MAX
from noah.abi.structs import Iovec
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_AT_ONCE: Final = 1 << 16
_PARTIAL: Final = "another process' memory is out of reach: EPERM"


@syscall(partial=_PARTIAL)
def process_vm_readv(
    task: Task, pid: Pid, lvec: IovecOutPtr, liovcnt: ULong, rvec: IovecPtr, riovcnt: ULong, flags: ULong
) -> int:
    """process_vm_readv(2): read the memory of a process."""
    return _copy(task, pid, (lvec, liovcnt), (rvec, riovcnt), flags, write=False)


@syscall(partial=_PARTIAL)
def process_vm_writev(
    task: Task, pid: Pid, lvec: IovecPtr, liovcnt: ULong, rvec: IovecOutPtr, riovcnt: ULong, flags: ULong
) -> int:
    """process_vm_writev(2): write to the memory of a process."""
    return _copy(task, pid, (lvec, liovcnt), (rvec, riovcnt), flags, write=True)


def _copy(task: Task, pid: int, local: tuple[int, int], remote: tuple[int, int], flags: int, *, write: bool) -> int:
    """process_vm_rw(): short if some of the remote memory is not there, EFAULT if it is the first byte."""
    if flags:
        raise LinuxError(EINVAL)
    views = task.mem.iovec(*local, write=not write)
    room = sum(map(len, views))
    if not room:
        return 0
    address, count = remote
    if count > IOV_MAX:
        raise LinuxError(EINVAL)
    ranges = list(Iovec.struct.iter_unpack(task.mem.read(address, count * Iovec.struct.size)))
    if pid != task.pid and all(thread.tid != pid for thread in task.process.tasks):
        raise LinuxError(EPERM if task.process.box.contains(pid) else ESRCH)
    data = bytearray(b"".join(views)) if write else bytearray()
    done = 0
    try:
        for start, length in ranges:
            end = start + min(length, room - done)
            while start < end:
                part = min(end - start, _AT_ONCE, 4096 - start % 4096 if start % 4096 else _AT_ONCE)
                if write:
                    task.mem.write(start, data[done : done + part])
                else:
                    data += task.mem.read(start, part)
                start += part
                done += part
    except LinuxError as error:
        if error.errno != EFAULT or not done:
            raise
    if not write:
        _fill(views, data)
    return done


def _fill(views: list[memoryview], data: bytearray) -> None:
    at = 0
    for view in views:
        part = data[at : at + len(view)]
        view[: len(part)] = part
        at += len(part)
