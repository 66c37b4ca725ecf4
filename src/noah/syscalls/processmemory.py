"""Memory of processes: process_vm_readv(2), process_vm_writev(2)."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EFAULT, EINVAL, LinuxError
from noah.abi.kinds import IovecOutPtr, IovecPtr, Pid, ULong
from noah.abi.limits import IOV_MAX
from noah.abi.structs import Iovec
from noah.kernel.othermemory import AT_ONCE, check_traceable, pages
from noah.kernel.othermemory import read as read_memory
from noah.kernel.othermemory import write as write_memory
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_PARTIAL: Final = "another process copies when it is asked: EACCES from one that is stopped"


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
    own = pid == task.pid or any(thread.tid == pid for thread in task.process.tasks)
    if not own:
        check_traceable(task, pid)
    data = bytearray(b"".join(views)) if write else bytearray()
    done = 0
    try:
        for start, length in ranges:
            end = start + min(length, room - done)
            while start < end:
                wanted = min(end - start, AT_ONCE)
                if write:
                    part = bytes(data[done : done + wanted])
                    count = _write_own(task, start, part) if own else write_memory(task, pid, start, part)
                else:
                    found = _read_own(task, start, wanted) if own else read_memory(task, pid, start, wanted)
                    data += found
                    count = len(found)
                start += count
                done += count
    except LinuxError as error:
        if error.errno != EFAULT or not done:
            raise
    if not write:
        _fill(views, data)
    return done


def _read_own(task: Task, address: int, length: int) -> bytes:
    start, count = next(pages(address, length))
    return task.mem.read(start, count)


def _write_own(task: Task, address: int, data: bytes) -> int:
    start, count = next(pages(address, len(data)))
    task.mem.write(start, data[:count])
    return count


def _fill(views: list[memoryview], data: bytearray) -> None:
    at = 0
    for view in views:
        part = data[at : at + len(view)]
        view[: len(part)] = part
        at += len(part)
