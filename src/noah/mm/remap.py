"""mremap(2): grow, shrink or move areas (mm/mremap.c).

Moving is an edit of the page tables: the pages keep their place in the arena. Only an area that grows where the arena
has no room behind it gets a new place there, and its pages move as well.

What is one area for Linux may be several here, that are not neighbours in the arena (Vma.alike()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import EFAULT, EINVAL, ENOMEM, EPERM, LinuxError
from noah.abi.mman import MAP_LOCKED, MAP_PRIVATE, MAP_SHARED, MAP_TYPE, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from noah.mm.advise import populate
from noah.mm.heap import extend
from noah.mm.vma import HOST_CLOCK, MMAP_MIN, Vma, page_align
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace


def mremap(space: AddressSpace, old: int, old_length: int, new_length: int, flags: int, new: int) -> int:
    """mremap(2). Returns the new address."""
    if flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) or old & (PAGE - 1):
        raise LinuxError(EINVAL)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not flags & MREMAP_MAYMOVE:
        raise LinuxError(EINVAL)
    if flags & MREMAP_DONTUNMAP and old_length != new_length:
        raise LinuxError(EINVAL)
    old_length, new_length = page_align(old_length), page_align(new_length)
    if not 0 < new_length <= space.task_size:
        raise LinuxError(EINVAL)
    vma = space.vmas.find(old)
    if vma is None:
        raise LinuxError(EFAULT)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return _move_to(space, old, old_length, new_length, flags, new)
    if new_length <= old_length:
        if new_length < old_length:
            space.munmap(old + new_length, old_length - new_length)
        return old
    _check_resize(space, vma, old, old_length, new_length)
    end = old + old_length
    if old_length and end == space.vmas.extent_end(vma) and _is_free(space, end, old + new_length):
        _grow(space, old, end, new_length)
        moved = old
    elif flags & MREMAP_MAYMOVE:
        moved = _move(space, old, old_length, space.find_free(new_length), new_length)
    else:
        raise LinuxError(ENOMEM)
    if vma.flags & MAP_LOCKED:
        populate(space, moved, moved + new_length)
    return moved


def _move_to(space: AddressSpace, old: int, old_length: int, new_length: int, flags: int, new: int) -> int:
    """mremap_to()"""
    limit = space.machine.user_limit
    if new & (PAGE - 1) or new > limit - new_length:
        raise LinuxError(EINVAL)
    if old < new + new_length and new < old + old_length:
        raise LinuxError(EINVAL)
    space.check_count(6)
    if flags & MREMAP_FIXED:
        if new < MMAP_MIN:
            raise LinuxError(EPERM)
        space.remove(new, new + new_length)
    if new_length < old_length:
        space.munmap(old + new_length, old_length - new_length)
        old_length = new_length
    vma = space.vmas.find(old)
    if vma is None:
        raise LinuxError(EFAULT)
    _check_resize(space, vma, old, old_length, new_length)
    keep = bool(flags & MREMAP_DONTUNMAP)
    if keep:
        space.check_growth(vma.prot, vma.flags, old_length)
    if not flags & MREMAP_FIXED and not (new >= MMAP_MIN and _is_free(space, new, new + new_length)):
        new = space.find_free(new_length)
    return _move(space, old, old_length, new, new_length, keep=keep)


def _check_resize(space: AddressSpace, vma: Vma, old: int, old_length: int, new_length: int) -> None:
    """vma_to_resize()"""
    if not old_length and vma.flags & MAP_TYPE != MAP_SHARED:
        raise LinuxError(EINVAL)
    if vma.offset == HOST_CLOCK or old_length > space.vmas.extent_end(vma) - old:
        raise LinuxError(EFAULT)
    if new_length > old_length:
        if vma.flags & MAP_LOCKED:
            space.check_lock(new_length - old_length)
        space.check_growth(vma.prot, vma.flags, new_length - old_length)


def _is_free(space: AddressSpace, start: int, end: int) -> bool:
    return end <= space.machine.user_limit and not space.vmas.overlapping(start, end)


def _grow(space: AddressSpace, old: int, end: int, new_length: int) -> None:
    """Make what ends at `end` longer where it stands."""
    last = space.vmas.find(end - 1)
    assert last is not None
    tail = last.like(end, old + new_length, end - last.start)
    if last.offset >= 0:
        if last.file is None:
            if not extend(space, tail):
                _replace(space, old, end - old, last.like(old, old + new_length))
                return
        elif last.file.fd < 0:
            first = space.vmas.find(old)
            assert first is not None
            _replace(space, old, end - old, first.like(old, old + new_length, old - first.start))
            return
        else:
            space.back(tail)
    space.vmas.insert(tail)


def _move(space: AddressSpace, old: int, old_length: int, new: int, new_length: int, *, keep: bool = False) -> int:
    """move_vma(): `new` is free. With `keep` the old place stays mapped, to fresh pages if it is private."""
    vma = space.vmas.find(old)
    assert vma is not None
    space.check_count(3)
    target = vma.like(new, new + new_length, old - vma.start)
    shared = vma.flags & MAP_TYPE == MAP_SHARED
    if not old_length or (keep and shared):
        space.back(target, vma.offset + old - vma.start)
        space.vmas.insert(target)
    elif new_length > old_length:
        _replace(space, old, old_length, target)
    else:
        fresh = vma.like(old, old + old_length, old - vma.start)
        _shift(space, old, old_length, new)
        if keep:
            fresh.flags &= ~MAP_LOCKED
            if vma.offset >= 0:
                space.back(fresh)
            space.vmas.insert(fresh)
    return new


def _shift(space: AddressSpace, old: int, length: int, new: int) -> None:
    """Let pages appear at another address; the arena stays as it is."""
    machine = space.machine
    for vma in space.vmas.cut(old, old + length):
        if vma.offset >= 0:
            machine.unmap(vma.start, vma.end - vma.start)
            machine.flush(vma.offset, vma.end - vma.start)
        vma.start += new - old
        vma.end += new - old
        vma.floor += new - old
        if vma.offset >= 0:
            space.install(vma)
        space.vmas.insert(vma)


def _replace(space: AddressSpace, old: int, old_length: int, target: Vma) -> None:
    """Give areas that grow a new place in the arena, at the same address or at another one."""
    pieces = space.vmas.cut(old, old + old_length)
    if all(piece.offset < 0 for piece in pieces):
        space.vmas.insert(target)
        return
    for piece in pieces:
        if piece.offset >= 0:
            space.machine.unmap(piece.start, piece.end - piece.start)
    try:
        space.back(target, pieces[0].offset)
    except LinuxError:
        for piece in pieces:
            if piece.offset >= 0:
                space.install(piece)
            space.vmas.insert(piece)
        raise
    arena = space.arena
    for piece in pieces:
        if piece.offset < 0:
            continue
        length = piece.end - piece.start
        if piece.flags & MAP_TYPE == MAP_PRIVATE:
            to = target.offset + piece.start - old
            if not arena.move(piece.offset, length, to):
                present = space.present(piece)
                arena.view[to : to + present] = arena.view[piece.offset : piece.offset + present]
        below = piece.start - piece.floor
        arena.free(piece.offset - below, length + below)
    space.vmas.insert(target)
