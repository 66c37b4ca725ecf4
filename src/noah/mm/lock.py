"""mlock(2) and its family (mm/mlock.c): checked, counted and populated as Linux does, but not pinned on the host.

The caller tells whether it has CAP_IPC_LOCK (AddressSpace.lock_unlimited).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import EINVAL, ENOMEM, EPERM, LinuxError
from noah.abi.mman import MAP_LOCKED, MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT
from noah.mm.advise import populate
from noah.mm.vma import HOST_CLOCK, page_align
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace


def check_allowed(space: AddressSpace) -> None:
    """EPERM for whoever may lock nothing at all (can_do_mlock())."""
    if not space.limit_memlock and not space.lock_unlimited:
        raise LinuxError(EPERM)


def mlock(space: AddressSpace, address: int, length: int, *, on_fault: bool = False) -> None:
    """mlock(2), mlock2(2)."""
    check_allowed(space)
    start = address & -PAGE
    length = page_align(length + (address & (PAGE - 1)))
    end = start + length
    wanted = space.locked + length
    if wanted > space.limit_memlock and not space.lock_unlimited:
        overlap = space.vmas.overlapping(start, end)
        wanted -= sum(min(v.end, end) - max(v.start, start) for v in overlap if v.flags & MAP_LOCKED)
        if wanted > space.limit_memlock:
            raise LinuxError(ENOMEM)
    _apply(space, start, end, locked=True)
    if not on_fault:
        populate(space, start, end)


def munlock(space: AddressSpace, address: int, length: int) -> None:
    """munlock(2)."""
    start = address & -PAGE
    _apply(space, start, start + page_align(length + (address & (PAGE - 1))), locked=False)


def mlockall(space: AddressSpace, flags: int) -> None:
    """mlockall(2)."""
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise LinuxError(EINVAL)
    check_allowed(space)
    if flags & MCL_CURRENT and space.total() > space.limit_memlock and not space.lock_unlimited:
        raise LinuxError(ENOMEM)
    space.lock_future = bool(flags & MCL_FUTURE)
    if flags & MCL_CURRENT:
        _mark(space, 0, space.machine.user_limit, locked=True)
        if not flags & MCL_ONFAULT:
            populate(space, 0, space.machine.user_limit)


def munlockall(space: AddressSpace) -> None:
    """munlockall(2)."""
    space.lock_future = False
    _mark(space, 0, space.machine.user_limit, locked=False)


def _apply(space: AddressSpace, start: int, end: int, *, locked: bool) -> None:
    """apply_vma_lock_flags(): up to the first hole."""
    if end >= 1 << 64:
        raise LinuxError(EINVAL)
    if start == end:
        return
    at = start
    for vma in space.vmas.overlapping(start, end):
        if vma.start > at:
            break
        at = min(vma.end, end)
        _mark(space, max(vma.start, start), at, locked=locked)
    if at < end:
        raise LinuxError(ENOMEM)


def _mark(space: AddressSpace, start: int, end: int, *, locked: bool) -> None:
    flag = MAP_LOCKED if locked else 0
    for vma in space.vmas.overlapping(start, end):
        if vma.flags & MAP_LOCKED != flag and vma.offset != HOST_CLOCK:
            low, high = max(vma.start, start), min(vma.end, end)
            space.check_count(space.vmas.splits(low, high))
            for piece in space.vmas.cut(low, high):
                piece.flags = piece.flags & ~MAP_LOCKED | flag
                space.vmas.insert(piece)
