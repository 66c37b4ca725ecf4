"""futex(2). Who waits for what is in noah.kernel.futex."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.errno import EAGAIN, EFAULT, EINVAL, ENOSYS, LinuxError
from noah.abi.futex import (
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_CLOCK_REALTIME,
    FUTEX_CMD_MASK,
    FUTEX_CMP_REQUEUE,
    FUTEX_CMP_REQUEUE_PI,
    FUTEX_LOCK_PI,
    FUTEX_LOCK_PI2,
    FUTEX_OP_OPARG_SHIFT,
    FUTEX_PRIVATE_FLAG,
    FUTEX_REQUEUE,
    FUTEX_TRYLOCK_PI,
    FUTEX_UNLOCK_PI,
    FUTEX_WAIT,
    FUTEX_WAIT_BITSET,
    FUTEX_WAIT_REQUEUE_PI,
    FUTEX_WAKE,
    FUTEX_WAKE_BITSET,
    FUTEX_WAKE_OP,
)
from noah.abi.kinds import Addr, ClockId, FutexOp, TimespecPtr, UInt
from noah.abi.time import CLOCK_MONOTONIC, CLOCK_REALTIME
from noah.kernel.futex import host_address, lock_pi, read_waitv
from noah.kernel.task import Task
from noah.syscalls.registry import NUMBERS, syscall
from noah.vm.api import WordCalls

_U32: Final = 0xFFFFFFFF


_INSIDE: Final = (FUTEX_WAKE, FUTEX_WAIT, FUTEX_WAIT_BITSET)
_ON_EITHER_CLOCK: Final = (FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2)


def word_calls(arch: str) -> WordCalls:
    """Which of these calls an engine may answer itself (Machine.answer_inside)."""
    bits = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG
    return WordCalls(
        NUMBERS[arch]["futex"],
        FUTEX_WAKE | FUTEX_PRIVATE_FLAG,
        (FUTEX_WAIT | FUTEX_PRIVATE_FLAG,),
        (bits, bits | FUTEX_CLOCK_REALTIME),
        EAGAIN,
    )


@syscall(partial="no PI futexes on the host posix")
def futex(task: Task, uaddr: Addr, op: FutexOp, val: UInt, timeout: TimespecPtr, uaddr2: Addr, val3: UInt) -> int:
    """futex(2): wait for a word to change, wake who waits."""
    command = op & FUTEX_CMD_MASK
    private = op & FUTEX_PRIVATE_FLAG
    futexes = task.process.futexes
    if op & FUTEX_CLOCK_REALTIME and command not in _ON_EITHER_CLOCK:
        raise LinuxError(ENOSYS)
    if uaddr & 3:
        raise LinuxError(EINVAL)
    if private and command in _INSIDE:
        task.vcpu.met_inside_call()
    if command in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
        bitset = val3 if command == FUTEX_WAIT_BITSET else FUTEX_BITSET_MATCH_ANY
        deadline = _deadline(task, timeout, absolute=command == FUTEX_WAIT_BITSET, op=op)
        if not bitset:
            raise LinuxError(EINVAL)
        futexes.wait(task, uaddr, val, bitset, deadline, private)
        return 0
    if command in (FUTEX_WAKE, FUTEX_WAKE_BITSET):
        bitset = val3 if command == FUTEX_WAKE_BITSET else FUTEX_BITSET_MATCH_ANY
        if not bitset:
            raise LinuxError(EINVAL)
        if not private:
            task.mem.slices(uaddr, 4, write=False)
        elif uaddr >= task.process.machine.user_limit:  # Linux looks no further than at the address (get_futex_key())
            raise LinuxError(EFAULT)
        return futexes.wake(task, uaddr, _signed(val), bitset, private)
    if command in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
        count = _signed(timeout & _U32)  # val2 takes the timeout's place
        if _signed(val) < 0 or count < 0 or uaddr2 & 3:
            raise LinuxError(EINVAL)
        value = task.mem.read_u32(uaddr)
        task.mem.read_u32(uaddr2)
        if command == FUTEX_CMP_REQUEUE and value != val3:
            raise LinuxError(EAGAIN)
        return futexes.requeue(task, uaddr, uaddr2, val, count, private)
    if command == FUTEX_WAKE_OP:
        if uaddr2 & 3:
            raise LinuxError(EINVAL)
        also = _operate(task, uaddr2, val3)
        woken = futexes.wake(task, uaddr, _signed(val), FUTEX_BITSET_MATCH_ANY, private)
        if also:
            woken += futexes.wake(task, uaddr2, _signed(timeout & _U32), FUTEX_BITSET_MATCH_ANY, private)
        return woken
    if command in (FUTEX_LOCK_PI, FUTEX_LOCK_PI2) and task.host.caps.futex:
        clock = CLOCK_MONOTONIC if command == FUTEX_LOCK_PI2 and not op & FUTEX_CLOCK_REALTIME else CLOCK_REALTIME
        lock_pi(task, uaddr, clock, _absolute(task, timeout), private)
        return 0
    if command == FUTEX_WAIT_REQUEUE_PI and task.host.caps.futex:
        deadline = _absolute(task, timeout)
        if uaddr == uaddr2 or uaddr2 & 3:
            raise LinuxError(EINVAL)
        clock = CLOCK_REALTIME if op & FUTEX_CLOCK_REALTIME else CLOCK_MONOTONIC
        futexes.wait_and_lock(task, uaddr, val, clock, deadline, private, uaddr2)
        return 0
    if command == FUTEX_CMP_REQUEUE_PI and task.host.caps.futex:
        count = _signed(timeout & _U32)
        if val != 1 or count < 0 or uaddr == uaddr2 or uaddr2 & 3:
            raise LinuxError(EINVAL)
        task.mem.slices(uaddr2, 4, write=True)
        if task.mem.read_u32(uaddr) != val3:
            raise LinuxError(EAGAIN)
        return futexes.wake_to_lock(task, uaddr, uaddr2, val + count, private)
    if command in (FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI) and task.host.caps.futex:
        return task.host.mem.futex(host_address(task, uaddr, write=True), command | private, val)
    task.process.missing(f"futex: command {command}")
    raise LinuxError(ENOSYS)


@syscall
def futex_waitv(
    task: Task, waiters: Addr, nr_futexes: UInt, flags: UInt, timeout: TimespecPtr, clockid: ClockId
) -> int:
    """futex(2): wait for one of several words."""
    if flags or clockid not in (CLOCK_MONOTONIC, CLOCK_REALTIME):
        raise LinuxError(EINVAL)
    deadline = _absolute(task, timeout)
    if deadline is not None and clockid == CLOCK_REALTIME:
        deadline += task.host.clock.clock_gettime(CLOCK_MONOTONIC) - task.host.clock.clock_gettime(CLOCK_REALTIME)
    return task.process.futexes.wait_any(task, read_waitv(task, waiters, nr_futexes), deadline)


def _signed(value: int) -> int:
    return (value ^ 0x8000_0000) - 0x8000_0000


def _absolute(task: Task, timeout: int) -> int | None:
    """A struct timespec in ns, None for no time limit."""
    if not timeout:
        return None
    seconds, ns = struct.unpack("<qq", task.mem.read(timeout, 16))
    if seconds < 0 or not 0 <= ns < 1_000_000_000:
        raise LinuxError(EINVAL)
    return int(seconds) * 1_000_000_000 + int(ns)


def _deadline(task: Task, timeout: int, *, absolute: bool, op: int) -> int | None:
    """On CLOCK_MONOTONIC. FUTEX_WAIT's time is relative, FUTEX_WAIT_BITSET's is absolute."""
    deadline = _absolute(task, timeout)
    if deadline is None:
        return None
    clock = task.host.clock.clock_gettime
    if not absolute:
        return deadline + clock(CLOCK_MONOTONIC)
    return deadline + clock(CLOCK_MONOTONIC) - clock(CLOCK_REALTIME) if op & FUTEX_CLOCK_REALTIME else deadline


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
