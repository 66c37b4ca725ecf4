"""Asynchronous I/O: io_setup(2) and its family. What requests do is in noah.kernel.aio."""

from __future__ import annotations

from typing import Final

from noah.abi.aio import AIO_MAX_NR
from noah.abi.aiostructs import Iocb, IoEvent
from noah.abi.errno import EAGAIN, EINPROGRESS, EINTR, EINVAL, ERESTARTSYS, LinuxError
from noah.abi.kinds import Addr, Hex64, Long, TimespecPtr, UInt, ULongPtr
from noah.abi.time import CLOCK_MONOTONIC
from noah.kernel.aio import find_context, make_context
from noah.kernel.task import Task
from noah.syscalls.poll import read_deadline, set_mask
from noah.syscalls.registry import syscall
from noah.vm.arena import PAGE

_MOST: Final = 0x1000_0000 // IoEvent.struct.size


@syscall
def io_setup(task: Task, nr_events: UInt, ctx_idp: ULongPtr) -> int:
    """io_setup(2): make a context for asynchronous requests."""
    if task.mem.read_u64(ctx_idp) or not nr_events or nr_events > _MOST:
        raise LinuxError(EINVAL)
    if nr_events > AIO_MAX_NR:
        raise LinuxError(EAGAIN)
    address = make_context(task, nr_events)
    try:
        task.mem.write_u64(ctx_idp, address)
    except LinuxError:
        io_destroy(task, address)
        raise
    return 0


@syscall
def io_destroy(task: Task, ctx_id: Hex64) -> int:
    """io_destroy(2): end a context."""
    find_context(task, ctx_id).end(task)
    del task.process.aio[ctx_id]
    task.space.munmap(ctx_id, PAGE)
    return 0


@syscall
def io_submit(task: Task, ctx_id: Hex64, nr: Long, iocbpp: Addr) -> int:
    """io_submit(2): hand in requests."""
    context = find_context(task, ctx_id)
    if nr < 0:
        raise LinuxError(EINVAL)
    done = 0
    try:
        while done < min(nr, context.room):
            context.submit(task, task.mem.read_u64(iocbpp + 8 * done))
            done += 1
    except LinuxError:
        if not done:
            raise
    return done


@syscall
def io_cancel(task: Task, ctx_id: Hex64, iocb: Addr, result: Addr) -> int:
    """io_cancel(2): take a request back, if it has not been carried out."""
    if task.mem.read_u32(iocb + Iocb.OFFSETS["key"]):
        raise LinuxError(EINVAL)
    find_context(task, ctx_id).cancel(task, iocb)
    raise LinuxError(EINPROGRESS)  # the event says when it is over


@syscall
def io_getevents(task: Task, ctx_id: Hex64, min_nr: Long, nr: Long, events: Addr, timeout: TimespecPtr) -> int:
    """io_getevents(2): fetch what requests have come to."""
    deadline = read_deadline(task, timeout)
    return _fetch(task, ctx_id, min_nr, nr, events, deadline)


@syscall
def io_pgetevents(
    task: Task, ctx_id: Hex64, min_nr: Long, nr: Long, events: Addr, timeout: TimespecPtr, usig: Addr
) -> int:
    """io_getevents(2): io_getevents with a temporary signal mask."""
    deadline = read_deadline(task, timeout)
    if usig:
        set_mask(task, task.mem.read_u64(usig), task.mem.read_u64(usig + 8))
    return _fetch(task, ctx_id, min_nr, nr, events, deadline)


def _fetch(task: Task, ctx_id: int, least: int, most: int, address: int, deadline: int | None) -> int:
    context = find_context(task, ctx_id)
    if not 0 <= least <= most:
        raise LinuxError(EINVAL)
    if deadline == 0:
        deadline = task.host.clock.clock_gettime(CLOCK_MONOTONIC)
    try:
        found = context.take(task, least, most, deadline)
    except LinuxError as error:
        raise LinuxError(EINTR) if error.errno == ERESTARTSYS else error from None
    task.mem.write(address, b"".join(IoEvent.struct.pack(*event) for event in found))
    return len(found)
