"""brk(2) (mm/mmap.c): the area behind a program's own that malloc(3) begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENOMEM, LinuxError
from noah.abi.mman import MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_LOCKED, MAP_PRIVATE, PROT_READ, PROT_WRITE
from noah.mm.advise import populate
from noah.mm.vma import STACK_GAP, Vma, page_align
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace

_PROT: Final = PROT_READ | PROT_WRITE


def brk(space: AddressSpace, address: int) -> int:
    """brk(2): the end of the heap, whether it moved or not."""
    if space.brk_start <= address <= space.machine.user_limit and address - space.brk_start <= space.limit_data:
        old, new = page_align(space.brk_end), page_align(address)
        try:
            if new < old:
                space.remove(new, old)
            elif new > old:
                _grow(space, old, new)
            space.brk_end = address
        except LinuxError:
            pass
    return space.brk_end


def _grow(space: AddressSpace, old: int, new: int) -> None:
    above = space.vmas.above(old - 1)
    if above is not None:
        gap = STACK_GAP if above.flags & MAP_GROWSDOWN else 0
        if new + PAGE > above.start - gap:
            raise LinuxError(ENOMEM)
    if new - old > space.ram:
        raise LinuxError(ENOMEM)
    flags = MAP_PRIVATE | MAP_ANONYMOUS
    space.check_growth(_PROT, flags, new - old)
    space.check_count(1)
    if space.lock_future:
        space.check_lock(new - old)
        flags |= MAP_LOCKED
    vma = Vma(old, new, _PROT, flags, name=b"[heap]")
    if not extend(space, vma):
        space.back(vma)
    space.vmas.insert(vma)
    if space.lock_future:
        populate(space, old, new)


def extend(space: AddressSpace, vma: Vma) -> bool:
    """Back an anonymous area right behind its lower neighbour in the arena, if there is room: they merge then."""
    below = space.vmas.find(vma.start - 1)
    length = vma.end - vma.start
    if below is None or below.offset < 0 or not below.alike(vma):
        return False
    at = below.offset + below.end - below.start
    if not space.arena.take(at, length):
        return False
    vma.offset = at
    try:
        space.arena.anonymous(at, length)
        space.install(vma)
    except (MemoryError, OSError):
        space.arena.free(at, length)
        raise LinuxError(ENOMEM) from None
    return True
