"""Robust futexes (set_robust_list(2)): the word of a lock whose owner has died says so, and somebody is woken.

A thread that ends in Noah's sight does it itself: it walks its list. A process that is killed takes its list with it,
as the list is in its own memory: so whoever waits for such a word, which names its owner, looks now and then whether
that one still lives. That it is a robust lock's word, the waiter's own list tells: glibc notes there what it is about
to lock (list_op_pending). musl does not while it waits, so that its threads wait for ever.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, ENOENT, ENOSYS, ESRCH, LinuxError
from noah.abi.futex import FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT
from noah.abi.poll import POLLIN
from noah.abi.wait import P_PID, WEXITED, WNOHANG, WNOWAIT

if TYPE_CHECKING:
    from noah.kernel.task import Process, Task

_PI: Final = 1  # set in a list entry's address: a PI futex
_HEAD: Final = struct.Struct("<3Q")  # first entry, offset of the word in an entry, the one in the works
_ADDRESSES: Final = (1 << 64) - 1


def release_robust(task: Task) -> None:
    """Mark the futexes that an ending thread holds as abandoned (exit_robust_list() in kernel/futex)."""
    mem, head = task.mem, task.robust_list
    task.robust_list = 0
    if not head:
        return
    try:
        entry, offset, pending = mem.unpack(_HEAD, head)
        entry, pending = entry & ~_PI, pending & ~_PI
        for _ in range(ROBUST_LIST_LIMIT):
            if entry == head:
                break
            following = mem.read_u64(entry) & ~_PI
            if entry != pending:
                _abandon(task, entry + offset & _ADDRESSES)
            entry = following
        if pending:
            _abandon(task, pending + offset & _ADDRESSES)
    except LinuxError:
        return


def _abandon(task: Task, address: int) -> None:
    word = task.mem.read_u32(address)
    if word & FUTEX_TID_MASK == task.tid:
        _mark(task, address, word)


def _mark(task: Task, address: int, word: int) -> None:
    task.mem.write_u32(address, word & FUTEX_WAITERS | FUTEX_OWNER_DIED)
    # Without a look at FUTEX_WAITERS: whoever set it after the word was read waits already, or sees the new word.
    task.process.futexes.wake(task, address, 1, FUTEX_BITSET_MATCH_ANY, 0)


def abandoned(task: Task, address: int, value: int) -> bool:
    """Whether a thread need not wait for a word of this value any more: it is a robust lock's, whose owner was killed.

    The word says so then.
    """
    owner = value & FUTEX_TID_MASK
    if not value & FUTEX_WAITERS or not is_wanted(task, address) or not is_gone(task.process, owner):
        return False
    try:
        give_up(task, address, owner)
    except LinuxError:  # no lock to be had for that
        return False
    return True


def is_wanted(task: Task, address: int) -> bool:
    """Whether it is the word of a robust lock that the thread is about to take."""
    if not task.robust_list:
        return False
    try:
        _, offset, pending = task.mem.unpack(_HEAD, task.robust_list)
    except LinuxError:
        return False
    return pending != 0 and (pending & ~_PI) + offset & _ADDRESSES == address


def give_up(task: Task, address: int, owner: int) -> None:
    """Mark a word as a dead owner's, unless somebody else was first.

    Nobody but who does this changes who owns a dead thread's lock, and those do it one after the other.
    """
    with task.process.box.marking():
        word = task.mem.read_u32(address)
        if word & FUTEX_TID_MASK == owner:
            _mark(task, address, word)


def is_gone(process: Process, tid: int) -> bool:
    """Whether a thread of whatever process has ended; False where that cannot be told."""
    host = process.host
    if not tid or any(task.tid == tid for task in process.tasks):
        return False
    if not host.caps.threads_scheduled and not process.box.has_known(tid):  # not a process' number, then
        return False
    try:
        host.procs.kill(tid, 0)
    except LinuxError as error:
        return error.errno == ESRCH
    return _is_zombie(process, tid)


def _is_zombie(process: Process, pid: int) -> bool:
    """Whether a process has ended and its parent does not know yet; on hosts without pidfd, only one's own child."""
    host = process.host
    try:
        fd = host.procs.pidfd_open(pid)
    except LinuxError as error:
        if error.errno in (EINVAL, ENOENT):  # a thread beside its process' first: it is there, so it lives
            return False
        if error.errno != ENOSYS:
            return error.errno == ESRCH
    else:
        try:
            return bool(host.poller.poll([(fd, POLLIN)], 0, signals=False)[0])
        finally:
            host.files.close(fd)
    try:
        return host.procs.waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)[0].pid != 0
    except LinuxError:
        return False
