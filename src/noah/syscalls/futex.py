"""Futexes (futex(2)) of processes with one thread: nobody in the process can be waiting, other processes may be.

A waiter looks at its word again every few milliseconds, so that it needs no wake-up of its own: Linux allows waits to end
for no reason, and whoever waits checks the word.
"""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.errno import EAGAIN, EINVAL, ENOSYS, ETIMEDOUT, LinuxError
from noah.abi.futex import (
    FUTEX_CLOCK_REALTIME,
    FUTEX_CMD_MASK,
    FUTEX_CMP_REQUEUE,
    FUTEX_REQUEUE,
    FUTEX_WAIT,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE,
    FUTEX_WAKE_BITSET,
)
from noah.abi.kinds import Addr, FutexOp, TimespecPtr, UInt
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_FIRST_LOOK: Final = 50_000  # ns
_LAST_LOOK: Final = 5_000_000


@syscall(partial="one thread in a process: WAIT polls the word, WAKE finds nobody; no PI, no WAKE_OP")
def futex(task: Task, uaddr: Addr, op: FutexOp, val: UInt, timeout: TimespecPtr, uaddr2: Addr, val3: UInt) -> int:
    """futex(2): wait for a word to change."""
    command = op & FUTEX_CMD_MASK
    if uaddr & 3:
        raise LinuxError(EINVAL)
    if command in (FUTEX_WAKE, FUTEX_WAKE_BITSET):
        if command == FUTEX_WAKE_BITSET and not val3:
            raise LinuxError(EINVAL)
        task.mem.read_u32(uaddr)
        return 0
    if command in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
        if command == FUTEX_WAIT_BITSET and not val3:
            raise LinuxError(EINVAL)
        return _wait(task, uaddr, val, timeout, absolute=command == FUTEX_WAIT_BITSET, op=op)
    if command in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
        value = task.mem.read_u32(uaddr)
        task.mem.read_u32(uaddr2)
        if command == FUTEX_CMP_REQUEUE and value != val3:
            raise LinuxError(EAGAIN)
        return 0
    task.process.missing(f"futex: command {command}")
    raise LinuxError(ENOSYS)


def _wait(task: Task, uaddr: int, val: int, timeout: int, *, absolute: bool, op: int) -> int:
    clock = task.host.clock.clock_gettime
    deadline = None
    if timeout:
        seconds, ns = struct.unpack("<qq", task.mem.read(timeout, 16))
        if seconds < 0 or not 0 <= ns < 1_000_000_000:
            raise LinuxError(EINVAL)
        deadline = seconds * 1_000_000_000 + ns
        if not absolute:
            deadline += clock(1)
        elif op & FUTEX_CLOCK_REALTIME:
            deadline += clock(1) - clock(0)
    if task.mem.read_u32(uaddr) != val:
        raise LinuxError(EAGAIN)
    pause = _FIRST_LOOK
    while True:
        now = clock(1)
        if deadline is not None and now >= deadline:
            raise LinuxError(ETIMEDOUT)
        task.wait((), now + pause if deadline is None else min(deadline, now + pause))
        if task.mem.read_u32(uaddr) != val:
            return 0
        pause = min(2 * pause, _LAST_LOOK)


