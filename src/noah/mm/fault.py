"""Memory faults: stacks that grow, files that end, and what is the guest's own mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENOMEM, LinuxError
from noah.abi.mman import MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_LOCKED, MAP_PRIVATE, PROT_READ, PROT_WRITE
from noah.mm import views
from noah.mm.vma import MMAP_MIN, NOWHERE, STACK_GAP, Vma, engine_prot
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace

_STACK_STEP: Final = 128 << 10  # a stack grows by this much at a time: a fault costs more than memory

# What a fault was, for the signal's si_code.
FAULT_RETRY: Final = 0
FAULT_MAPERR: Final = 1
FAULT_ACCERR: Final = 2
FAULT_BUS: Final = 3


def fault(space: AddressSpace, address: int, access: int) -> int:
    """A guest access that the engine could not do. FAULT_RETRY: it can now."""
    vma = space.vmas.find(address)
    if vma is None:
        return FAULT_RETRY if grow_stack(space, address) else FAULT_MAPERR
    if not engine_prot(vma.prot) & access:
        return FAULT_ACCERR
    page = address & -PAGE
    if vma.file is not None and vma.file_offset + page - vma.start >= vma.file.size():
        return FAULT_BUS
    views.take(space, vma, page)
    if vma.offset >= 0 and not space.machine.fill(address):
        # The page is there by now: the file grew, or another thread changed its protection meanwhile.
        space.machine.map(page, PAGE, vma.offset + page - vma.start, engine_prot(vma.prot))
    return FAULT_RETRY


def host_fault(space: AddressSpace) -> bool:
    """The host has no page where the guest has one: files that shrank. True if their ends were unmapped now."""
    found = False
    for vma in space.vmas:
        if vma.file is not None and vma.offset >= 0 and vma.prot:
            present = space.present(vma)
            rest = vma.end - vma.start - present
            if rest:
                space.machine.unmap(vma.start + present, rest)
                space.machine.flush(vma.offset + present, rest)
                found = True
    return found


def files_shrank(space: AddressSpace) -> None:
    """The guest has cut off a file: an engine that cannot report host faults must not come to its pages."""
    if not space.machine.coherent:
        host_fault(space)


def map_stack(space: AddressSpace, top: int, size: int, initial: int) -> None:
    """The main stack: `initial` bytes below `top`, with room in the arena to grow to `size`."""
    try:
        start = space.arena.alloc(size, top - size)
    except MemoryError:
        raise LinuxError(ENOMEM) from None
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN
    offset = start + size - initial
    vma = Vma(top - initial, top, PROT_READ | PROT_WRITE, flags, offset, name=b"[stack]")
    vma.floor = top - size
    space.arena.anonymous(offset, initial)
    space.install(vma)
    space.vmas.insert(vma)


def grow_stack(space: AddressSpace, address: int) -> bool:
    """Extend a MAP_GROWSDOWN area down to an address below it, if limits and neighbours allow (expand_stack())."""
    vmas = space.vmas
    vma = vmas.above(address)
    if vma is None or not vma.flags & MAP_GROWSDOWN:
        return False
    page = address & -PAGE
    bottom = max(MMAP_MIN, vma.end - space.limit_stack)
    below = vmas.find_below(page)
    if below is not None:
        bottom = max(bottom, below.end + (STACK_GAP if below.prot and not below.flags & MAP_GROWSDOWN else 0))
    if page < bottom:
        return False
    start = page
    if vma.name and page >= vma.floor:  # the main stack
        start = max((bottom + PAGE - 1) & -PAGE, vma.floor, min(page, vma.start - _STACK_STEP))
    length = vma.start - start
    try:
        space.check_growth(vma.prot, vma.flags, length)
        if vma.flags & MAP_LOCKED:
            space.check_lock(length, ENOMEM)
        piece = Vma(start, vma.start, vma.prot, vma.flags, NOWHERE, name=vma.name)
        if vma.floor <= start:
            piece.offset = vma.offset - length
            space.arena.anonymous(piece.offset, length)
            space.install(piece)
            vmas.lower(vma, start, piece.offset)
        else:
            space.back(piece)
            vmas.insert(piece)
    except (LinuxError, MemoryError, OSError):
        return False
    return True
