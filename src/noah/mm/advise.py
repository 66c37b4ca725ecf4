"""madvise(2), mincore(2), msync(2) (mm/madvise.c, mm/mincore.c, mm/msync.c), and filling memory ahead of its use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, EBADF, EBUSY, EFAULT, EINVAL, ENOMEM, LinuxError
from noah.abi.mman import (
    MADV_COLD,
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_UNMERGEABLE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
    MAP_LOCKED,
    MAP_SHARED,
    MAP_TYPE,
    MS_ASYNC,
    MS_INVALIDATE,
    MS_SYNC,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)
from noah.mm.vma import HOST_CLOCK, Vma, page_align
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace

# What has no effect that a program can see.
_HINTS: Final = frozenset(
    (
        MADV_NORMAL,
        MADV_RANDOM,
        MADV_SEQUENTIAL,
        MADV_WILLNEED,
        MADV_MERGEABLE,
        MADV_UNMERGEABLE,
        MADV_HUGEPAGE,
        MADV_NOHUGEPAGE,
    )
)
# What an area remembers: the advice, and what takes it back.
_KEPT: Final = {
    MADV_DONTFORK: (1 << MADV_DONTFORK, 0),
    MADV_DOFORK: (0, 1 << MADV_DONTFORK),
    MADV_WIPEONFORK: (1 << MADV_WIPEONFORK, 0),
    MADV_KEEPONFORK: (0, 1 << MADV_WIPEONFORK),
    MADV_DONTDUMP: (1 << MADV_DONTDUMP, 0),
    MADV_DODUMP: (0, 1 << MADV_DONTDUMP),
}
_DROPS: Final = frozenset((MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE))
_KNOWN: Final = (
    _HINTS
    | _DROPS
    | frozenset(_KEPT)
    | frozenset((MADV_COLD, MADV_PAGEOUT, MADV_REMOVE, MADV_POPULATE_READ, MADV_POPULATE_WRITE))
)
_PUNCH_HOLE: Final = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_CHUNK: Final = PAGE * PAGE  # mincore(2) goes by a page of answers


def madvise(space: AddressSpace, address: int, length: int, advice: int) -> None:
    """madvise(2)."""
    end = address + page_align(length)
    if advice not in _KNOWN or address & (PAGE - 1) or (length and end == address) or end >= 1 << 64:
        raise LinuxError(EINVAL)
    if end == address:
        return
    if advice in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        _populate_checked(space, address, end, write=advice == MADV_POPULATE_WRITE)
        return
    at = address
    hole = False
    for vma in space.vmas.overlapping(address, end):
        hole |= vma.start > at
        start, at = max(vma.start, address), min(vma.end, end)
        _advise(space, vma, start, at, advice)
    if hole or at < end:
        raise LinuxError(ENOMEM)


def _advise(space: AddressSpace, vma: Vma, start: int, end: int, advice: int) -> None:
    """madvise_vma_behavior(), for a part of one area."""
    if advice in _DROPS:
        if vma.offset == HOST_CLOCK or (vma.flags & MAP_LOCKED and advice != MADV_DONTNEED_LOCKED):
            raise LinuxError(EINVAL)
        if advice == MADV_FREE and vma.file is not None:
            raise LinuxError(EINVAL)
        if vma.offset >= 0:
            space.arena.discard(vma.offset + start - vma.start, end - start)
    elif advice in (MADV_COLD, MADV_PAGEOUT):
        if vma.offset == HOST_CLOCK or vma.flags & MAP_LOCKED:
            raise LinuxError(EINVAL)
    elif advice == MADV_REMOVE:
        _remove(space, vma, start, end)
    elif advice in _KEPT:
        if advice == MADV_WIPEONFORK and vma.file is not None:
            raise LinuxError(EINVAL)
        if vma.offset == HOST_CLOCK and advice in (MADV_DOFORK, MADV_DODUMP):
            raise LinuxError(EINVAL)
        on, off = _KEPT[advice]
        if (vma.advice | on) & ~off != vma.advice:
            space.fork_advice |= advice in (MADV_DONTFORK, MADV_WIPEONFORK)
            space.check_count(space.vmas.splits(start, end))
            for piece in space.vmas.cut(start, end):
                piece.advice = (piece.advice | on) & ~off
                space.vmas.insert(piece)


def _remove(space: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """madvise_remove(): a hole in the file."""
    file = vma.file
    if vma.flags & MAP_LOCKED or file is None:
        raise LinuxError(EINVAL)
    if vma.flags & MAP_TYPE != MAP_SHARED or not vma.prot & PROT_WRITE:
        raise LinuxError(EACCES)
    skip = start - vma.start
    if file.fd >= 0:
        space.host.files.fallocate(file.fd, _PUNCH_HOLE, file.base + vma.file_offset + skip, end - start)
    else:
        at = vma.offset + skip
        try:
            space.host.mem.madvise(space.arena.address + at, end - start, MADV_REMOVE)
        except LinuxError:  # a host that cannot: zeroes are what can be seen of it
            space.arena.view[at : at + end - start] = bytes(end - start)


def name_anonymous(space: AddressSpace, address: int, length: int, name: bytes) -> None:
    """prctl(2) PR_SET_VMA_ANON_NAME: what /proc/self/maps calls private anonymous memory; b"" takes a name away."""
    end = address + page_align(length)
    if address & (PAGE - 1) or (length and end == address) or end >= 1 << 64:
        raise LinuxError(EINVAL)
    at = address
    for vma in space.vmas.overlapping(address, end):
        if vma.start > at:
            break
        start, at = max(vma.start, address), min(vma.end, end)
        if vma.file is not None:
            raise LinuxError(EBADF)
        if not vma.name or vma.name.startswith(b"[anon:"):
            space.check_count(space.vmas.splits(start, at))
            for piece in space.vmas.cut(start, at):
                piece.name = name
                space.vmas.insert(piece)
    if at < end:
        raise LinuxError(ENOMEM)


# -- populate


def populate(space: AddressSpace, start: int, end: int) -> None:
    """Provide pages as MAP_POPULATE and mlock(2) do, as far as there can be any (mm_populate())."""
    for vma in space.vmas.overlapping(start, end):
        if vma.prot & (PROT_READ | PROT_WRITE | PROT_EXEC):
            low = max(vma.start, start)
            high = min(vma.end, end, vma.start + space.present(vma))
            write = vma.prot & PROT_WRITE and vma.flags & MAP_TYPE != MAP_SHARED
            _touch(space, vma, low, high, write=bool(write))


def _populate_checked(space: AddressSpace, start: int, end: int, *, write: bool) -> None:
    """madvise_populate()"""
    at = start
    while at < end:
        vma = space.vmas.find(at)
        if vma is None:
            raise LinuxError(ENOMEM)
        if vma.offset < 0 or not vma.prot & (PROT_WRITE if write else PROT_READ):
            raise LinuxError(EINVAL)
        stop = min(vma.end, end)
        present = vma.start + space.present(vma)
        _touch(space, vma, at, min(stop, present), write=write)
        if present < stop:
            raise LinuxError(EFAULT)
        at = stop


def _touch(space: AddressSpace, vma: Vma, start: int, end: int, *, write: bool) -> None:
    if start >= end or vma.offset < 0:
        return
    at = vma.offset + start - vma.start
    length = end - start
    advice = MADV_POPULATE_WRITE if write else MADV_POPULATE_READ
    try:
        space.host.mem.madvise(space.arena.address + at, length, advice)
    except LinuxError:  # an older Linux, another system
        view = space.arena.view
        for page in range(at, at + length, PAGE):
            byte = view[page]
            if write:
                view[page] = byte


# -- mincore, msync


def mincore(space: AddressSpace, address: int, length: int) -> Iterator[bytes]:
    """mincore(2): one byte a page, in pieces as Linux writes them; raises LinuxError after what it could tell."""
    end = address + page_align(length)
    while address < end:
        vma = space.vmas.find(address)
        if vma is None:
            raise LinuxError(ENOMEM)
        stop = min(vma.end, end, address + _CHUNK)
        if vma.offset >= 0:
            yield space.host.mem.mincore(space.arena.address + vma.offset + address - vma.start, stop - address)
        else:
            yield bytes((stop - address) // PAGE)
        address = stop


def msync(space: AddressSpace, address: int, length: int, flags: int) -> None:
    """msync(2)."""
    if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or (flags & MS_ASYNC and flags & MS_SYNC) or address & (PAGE - 1):
        raise LinuxError(EINVAL)
    end = address + page_align(length)
    if end >= 1 << 64:
        raise LinuxError(ENOMEM)
    at = address
    hole = False
    for vma in space.vmas.overlapping(address, end):
        if vma.start > at:
            if flags == MS_ASYNC:
                raise LinuxError(ENOMEM)
            hole = True
        start, at = max(vma.start, address), min(vma.end, end)
        if flags & MS_INVALIDATE and vma.flags & MAP_LOCKED:
            raise LinuxError(EBUSY)
        file = vma.file
        if flags & MS_SYNC and file is not None and file.fd >= 0 and vma.flags & MAP_TYPE == MAP_SHARED:
            space.host.mem.msync(space.arena.address + vma.offset + start - vma.start, at - start, flags)
    if hole or at < end:
        raise LinuxError(ENOMEM)
