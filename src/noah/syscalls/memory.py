"""Memory: mmap(2) and its family. The rules are in noah.mm.space."""

from __future__ import annotations

from noah.abi.errno import EACCES, EBADF, EINVAL, ENOMEM, EPERM, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_PATH, O_RDONLY, O_RDWR, O_WRONLY
from noah.abi.kinds import Addr, Fd, Int, MadviseAdvice, MmapFlags, MmapProt, MremapFlags, Off, Size, UInt, ULong
from noah.abi.mman import (
    MAP_ANONYMOUS,
    MAP_LOCKED,
    MAP_SHARED,
    MAP_TYPE,
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    MLOCK_ONFAULT,
    PROT_WRITE,
)
from noah.kernel.task import Task
from noah.syscalls.registry import syscall
from noah.vm.arena import PAGE


@syscall
def mmap(task: Task, addr: Addr, length: Size, prot: MmapProt, flags: MmapFlags, fd: Fd, offset: Off) -> int:
    """mmap(2): map memory or a file."""
    mapped = None
    if not flags & MAP_ANONYMOUS:
        file = task.fds.get(fd)
        mode = file.flags & O_ACCMODE
        if file.flags & O_PATH:
            raise LinuxError(EBADF)
        if mode == O_WRONLY or (flags & MAP_TYPE) != 2 and prot & PROT_WRITE and mode == O_RDONLY:
            raise LinuxError(EACCES)
        if not length or offset & (PAGE - 1):
            raise LinuxError(EINVAL)
        mapped = file.mapped(writable=mode == O_RDWR)
        if mapped is None and not flags & MAP_TYPE == MAP_SHARED:
            flags |= MAP_ANONYMOUS  # /dev/zero
    elif offset & (PAGE - 1):
        raise LinuxError(EINVAL)
    address = task.space.mmap(addr, length, prot, flags, mapped, offset & (1 << 64) - 1)
    if flags & MAP_LOCKED:
        task.space.mlock(address, length)
    return address


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
    return task.space.brk(addr)


@syscall
def mremap(task: Task, old: Addr, old_length: Size, new_length: Size, flags: MremapFlags, new: Addr) -> int:
    """mremap(2): grow, shrink or move a mapping."""
    return task.space.mremap(old, old_length, new_length, flags, new)


@syscall
def madvise(task: Task, addr: Addr, length: Size, advice: MadviseAdvice) -> int:
    """madvise(2): say how memory will be used."""
    task.space.madvise(addr, length, advice)
    return 0


@syscall
def mincore(task: Task, addr: Addr, length: Size, vec: Addr) -> int:
    """mincore(2): which pages are resident."""
    if length > task.space.machine.user_limit:
        raise LinuxError(ENOMEM)
    task.mem.write(vec, task.space.mincore(addr, length))
    return 0


@syscall
def msync(task: Task, addr: Addr, length: Size, flags: Int) -> int:
    """msync(2): write a mapped file back."""
    task.space.msync(addr, length, flags)
    return 0


@syscall
def mlock(task: Task, addr: Addr, length: Size) -> int:
    """mlock(2): keep memory resident."""
    task.space.mlock(addr, length)
    return 0


@syscall
def mlock2(task: Task, addr: Addr, length: Size, flags: UInt) -> int:
    """mlock2(2): mlock(2) with flags."""
    if flags & ~MLOCK_ONFAULT:
        raise LinuxError(EINVAL)
    task.space.mlock(addr, length)
    return 0


@syscall
def munlock(task: Task, addr: Addr, length: Size) -> int:
    """munlock(2): undo mlock(2)."""
    task.space.munlock(addr, length)
    return 0


@syscall(partial="MCL_FUTURE is accepted and has no effect")
def mlockall(task: Task, flags: Int) -> int:
    """mlockall(2): keep all memory resident."""
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise LinuxError(EINVAL)
    if not task.space.limit_memlock and not task.creds.privileged:
        raise LinuxError(EPERM)
    if flags & MCL_CURRENT:
        task.space.mlockall(lock=True)
    return 0


@syscall
def munlockall(task: Task) -> int:
    """munlockall(2): undo mlockall(2)."""
    task.space.mlockall(lock=False)
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


