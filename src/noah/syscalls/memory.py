"""Memory: mmap(2) and its family. The rules are in noah.mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.capability import CAP_IPC_LOCK
from noah.abi.errno import EACCES, EBADF, EINVAL, ENOMEM, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_PATH, O_RDONLY, O_RDWR, O_WRONLY
from noah.abi.kinds import Addr, Fd, Int, MadviseAdvice, MmapFlags, MmapProt, MremapFlags, Off, Size, UInt, ULong
from noah.abi.mman import MAP_ANONYMOUS, MAP_LOCKED, MAP_PRIVATE, MAP_TYPE, MLOCK_ONFAULT, PROT_WRITE
from noah.kernel.task import Task
from noah.mm import advise, heap, lock
from noah.mm.lock import check_allowed
from noah.mm.remap import mremap as remap
from noah.syscalls.registry import syscall
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace


def _note_privilege(task: Task) -> AddressSpace:
    """Before anything that may lock memory: tell the address space whether its limit holds for this caller."""
    space = task.space
    space.lock_unlimited = task.creds.capable(CAP_IPC_LOCK)
    return space


@syscall
def mmap(task: Task, addr: Addr, length: Size, prot: MmapProt, flags: MmapFlags, fd: Fd, offset: Off) -> int:
    """mmap(2): map memory or a file."""
    if offset & (PAGE - 1):
        raise LinuxError(EINVAL)
    mapped = None
    if not flags & MAP_ANONYMOUS:
        file = task.fds.get(fd)
        if file.flags & O_PATH:
            raise LinuxError(EBADF)
        if not length:
            raise LinuxError(EINVAL)
        mode = file.flags & O_ACCMODE
        if mode == O_WRONLY or (flags & MAP_TYPE != MAP_PRIVATE and prot & PROT_WRITE and mode == O_RDONLY):
            raise LinuxError(EACCES)
        mapped = file.mapped(writable=mode == O_RDWR)
        if mapped is None:
            flags |= MAP_ANONYMOUS  # /dev/zero
    space = task.space
    if flags & MAP_LOCKED:
        check_allowed(_note_privilege(task))
    elif space.lock_future:
        _note_privilege(task)
    return space.mmap(addr, length, prot, flags, mapped, offset & (1 << 64) - 1)


@syscall
def munmap(task: Task, addr: Addr, length: Size) -> int:
    """munmap(2): unmap memory."""
    task.space.munmap(addr, length)
    return 0


@syscall
def mprotect(task: Task, addr: Addr, length: Size, prot: MmapProt) -> int:
    """mprotect(2): change protection."""
    task.space.mprotect(addr, length, prot)
    return 0


@syscall
def pkey_mprotect(task: Task, addr: Addr, length: Size, prot: MmapProt, pkey: Int) -> int:
    """pkey_mprotect(2): mprotect(2) with a protection key; there are none, as on a CPU without them."""
    if pkey != -1:
        raise LinuxError(EINVAL)
    task.space.mprotect(addr, length, prot)
    return 0


@syscall
def brk(task: Task, addr: Addr) -> int:
    """brk(2): move the end of the heap."""
    space = task.space
    if space.lock_future:
        _note_privilege(task)
    return heap.brk(space, addr)


@syscall
def mremap(task: Task, old: Addr, old_length: Size, new_length: Size, flags: MremapFlags, new: Addr) -> int:
    """mremap(2): grow, shrink or move a mapping."""
    space = task.space
    if space.locked:
        _note_privilege(task)
    return remap(space, old, old_length, new_length, flags, new)


@syscall(partial="what only makes memory faster or smaller is accepted and has no effect")
def madvise(task: Task, addr: Addr, length: Size, advice: MadviseAdvice) -> int:
    """madvise(2): say how memory will be used."""
    advise.madvise(task.space, addr, length, advice)
    return 0


@syscall
def mincore(task: Task, addr: Addr, length: Size, vec: Addr) -> int:
    """mincore(2): which pages are resident."""
    if addr & (PAGE - 1):
        raise LinuxError(EINVAL)
    space = task.space
    if addr + length > space.task_size:
        raise LinuxError(ENOMEM)
    task.mem.check_range(vec, -(-length // PAGE))
    for pages in advise.mincore(space, addr, length):
        task.mem.write(vec, pages)
        vec += len(pages)
    return 0


@syscall
def msync(task: Task, addr: Addr, length: Size, flags: Int) -> int:
    """msync(2): write a mapped file back."""
    advise.msync(task.space, addr, length, flags)
    return 0


@syscall(partial="counted, not pinned: the host may swap what it likes")
def mlock(task: Task, addr: Addr, length: Size) -> int:
    """mlock(2): keep memory resident."""
    lock.mlock(_note_privilege(task), addr, length)
    return 0


@syscall(partial="as mlock")
def mlock2(task: Task, addr: Addr, length: Size, flags: UInt) -> int:
    """mlock2(2): mlock(2) with flags."""
    if flags & ~MLOCK_ONFAULT:
        raise LinuxError(EINVAL)
    lock.mlock(_note_privilege(task), addr, length, on_fault=bool(flags))
    return 0


@syscall
def munlock(task: Task, addr: Addr, length: Size) -> int:
    """munlock(2): undo mlock(2)."""
    lock.munlock(task.space, addr, length)
    return 0


@syscall(partial="as mlock")
def mlockall(task: Task, flags: Int) -> int:
    """mlockall(2): keep all memory resident."""
    lock.mlockall(_note_privilege(task), flags)
    return 0


@syscall
def munlockall(task: Task) -> int:
    """munlockall(2): undo mlockall(2)."""
    lock.munlockall(task.space)
    return 0


@syscall(partial="memory policies are accepted for the one node that there is")
def mbind(task: Task, addr: Addr, length: ULong, mode: Int, mask: Addr, maxnode: ULong, flags: UInt) -> int:
    """mbind(2): memory policy of a range."""
    if addr & (PAGE - 1) or mode & 0xFF > 6:
        raise LinuxError(EINVAL)
    return 0


@syscall
def set_mempolicy(task: Task, mode: Int, mask: Addr, maxnode: ULong) -> int:
    """set_mempolicy(2): default memory policy; there is one node."""
    if mode & 0xFF > 6:
        raise LinuxError(EINVAL)
    return 0


@syscall
def get_mempolicy(task: Task, mode: Addr, mask: Addr, maxnode: ULong, addr: Addr, flags: ULong) -> int:
    """get_mempolicy(2): the default policy on the one node."""
    if flags & ~7:
        raise LinuxError(EINVAL)
    if mode:
        task.mem.write_u32(mode, 0)
    if mask:
        if maxnode < 1:
            raise LinuxError(EINVAL)
        task.mem.write(mask, bytes((maxnode + 63) // 64 * 8))
    return 0
