"""futex(2). Who waits for what is in noah.kernel.futex."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.errno import EAGAIN, EINVAL, ENOSYS, LinuxError
from noah.abi.futex import (
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_CLOCK_REALTIME,
    FUTEX_CMD_MASK,
    FUTEX_CMP_REQUEUE,
    FUTEX_OP_OPARG_SHIFT,
    FUTEX_REQUEUE,
    FUTEX_WAIT,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE,
    FUTEX_WAKE_BITSET,
    FUTEX_WAKE_OP,
)
from noah.abi.kinds import Addr, FutexOp, TimespecPtr, UInt
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_U32: Final = 0xFFFFFFFF


@syscall(partial="no PI futexes; a word that processes share is polled by its waiters")
def futex(task: Task, uaddr: Addr, op: FutexOp, val: UInt, timeout: TimespecPtr, uaddr2: Addr, val3: UInt) -> int:
    """futex(2): wait for a word to change, wake who waits."""
    command = op & FUTEX_CMD_MASK
    futexes = task.process.futexes
    if op & FUTEX_CLOCK_REALTIME and command not in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
        raise LinuxError(ENOSYS)
    if uaddr & 3:
        raise LinuxError(EINVAL)
    if command in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
        bitset = val3 if command == FUTEX_WAIT_BITSET else FUTEX_BITSET_MATCH_ANY
        deadline = _deadline(task, timeout, absolute=command == FUTEX_WAIT_BITSET, op=op)
        if not bitset:
            raise LinuxError(EINVAL)
        futexes.wait(task, uaddr, val, bitset, deadline)
        return 0
    if command in (FUTEX_WAKE, FUTEX_WAKE_BITSET):
        bitset = val3 if command == FUTEX_WAKE_BITSET else FUTEX_BITSET_MATCH_ANY
        if not bitset:
            raise LinuxError(EINVAL)
        task.mem.slices(uaddr, 4, write=False)
        return futexes.wake(uaddr, _signed(val) or 1, bitset)
    if command in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
        count = timeout & _U32  # val2 takes the timeout's place
        if _signed(val) < 0 or _signed(count) < 0 or uaddr2 & 3:
            raise LinuxError(EINVAL)
        value = task.mem.read_u32(uaddr)
        task.mem.read_u32(uaddr2)
        if command == FUTEX_CMP_REQUEUE and value != val3:
            raise LinuxError(EAGAIN)
        woken = futexes.wake(uaddr, val, FUTEX_BITSET_MATCH_ANY)
        return woken + futexes.requeue(uaddr, uaddr2, count)
    if command == FUTEX_WAKE_OP:
        if uaddr2 & 3:
            raise LinuxError(EINVAL)
        also = _operate(task, uaddr2, val3)
        woken = futexes.wake(uaddr, _signed(val) or 1, FUTEX_BITSET_MATCH_ANY)
        if also:
            woken += futexes.wake(uaddr2, _signed(timeout & _U32) or 1, FUTEX_BITSET_MATCH_ANY)
        return woken
    task.process.missing(f"futex: command {command}")
    raise LinuxError(ENOSYS)


def _signed(value: int) -> int:
    return (value ^ 0x8000_0000) - 0x8000_0000


def _deadline(task: Task, timeout: int, *, absolute: bool, op: int) -> int | None:
    """On CLOCK_MONOTONIC. FUTEX_WAIT's time is relative, FUTEX_WAIT_BITSET's is absolute."""
    if not timeout:
        return None
    seconds, ns = struct.unpack("<qq", task.mem.read(timeout, 16))
    if seconds < 0 or not 0 <= ns < 1_000_000_000:
        raise LinuxError(EINVAL)
    clock = task.host.clock.clock_gettime
    deadline = int(seconds) * 1_000_000_000 + int(ns)
    if not absolute:
        return deadline + clock(1)
    return deadline + clock(1) - clock(0) if op & FUTEX_CLOCK_REALTIME else deadline


def _operate(task: Task, address: int, encoded: int) -> bool:
    """FUTEX_WAKE_OP: change the word as `encoded` says; whether its old value passes the comparison."""
    operation, comparison = encoded >> 28 & 7, encoded >> 24 & 15
    argument = ((encoded >> 12 & 0xFFF) ^ 0x800) - 0x800
    against = ((encoded & 0xFFF) ^ 0x800) - 0x800
    if encoded >> 28 & FUTEX_OP_OPARG_SHIFT:
        argument = 1 << (argument & 31)
    old = task.mem.read_u32(address)
    changes = (argument, old + argument, old | argument, old & ~argument, old ^ argument)
    if operation >= len(changes):
        raise LinuxError(ENOSYS)
    task.mem.write_u32(address, changes[operation] & _U32)
    signed = _signed(old)
    tests = (
        signed == against,
        signed != against,
        signed < against,
        signed <= against,
        signed > against,
        signed >= against,
    )
    if comparison >= len(tests):
        raise LinuxError(ENOSYS)
    return tests[comparison]
