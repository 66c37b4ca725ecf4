"""AddressSpace: the mmap(2) family over an engine's mappings and the arena, with Linux' rules.

Every accessible area has its place in the arena from the start; the engine's page tables are filled at once, so that a
page fault is an exception and not the rule. Faults that do come: a stack that grows, a page of a file beyond its end, a
very large area (the engine fills those in pieces), and errors of the guest.
"""

from __future__ import annotations

from typing import Final

from noah.abi.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOVERFLOW,
    EPERM,
    LinuxError,
)
from noah.abi.mman import (
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_UNMERGEABLE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_HUGETLB,
    MAP_LOCKED,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_TYPE,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    MS_ASYNC,
    MS_INVALIDATE,
    MS_SYNC,
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_READ,
    PROT_SEM,
    PROT_WRITE,
)
from noah.abi.resource import RLIM_INFINITY
from noah.host.api import Host
from noah.mm.user import UserMemory
from noah.mm.vma import NOWHERE, MappedFile, Vma, VmaMap
from noah.vm.api import EXEC, READ, WRITE, Machine
from noah.vm.arena import PAGE

MMAP_MIN: Final = 0x10000  # vm.mmap_min_addr
_KEPT_FLAGS: Final = MAP_TYPE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_GROWSDOWN
_STACK_GAP: Final = 256 * PAGE  # stack_guard_gap
_STACK_STEP: Final = 128 << 10  # a stack grows by this much at a time: a fault costs more than memory

# What a fault was, for the signal's si_code.
FAULT_RETRY: Final = 0
FAULT_MAPERR: Final = 1
FAULT_ACCERR: Final = 2
FAULT_BUS: Final = 3

_MADV_HINTS: Final = frozenset(
    (
        MADV_NORMAL,
        MADV_RANDOM,
        MADV_SEQUENTIAL,
        MADV_WILLNEED,
        MADV_FREE,
        MADV_MERGEABLE,
        MADV_UNMERGEABLE,
        MADV_HUGEPAGE,
        MADV_NOHUGEPAGE,
        MADV_DONTDUMP,
        MADV_DODUMP,
    )
)


def _up(length: int) -> int:
    return (length + PAGE - 1) & -PAGE


def _engine_prot(prot: int) -> int:
    """x86-64 and aarch64 user pages that can be written or executed can be read as well."""
    bits = READ if prot & (PROT_READ | PROT_WRITE | PROT_EXEC) else 0
    if prot & PROT_WRITE:
        bits |= WRITE
    if prot & PROT_EXEC:
        bits |= EXEC
    return bits


class AddressSpace:
    """The memory of one guest process. Methods named as system calls take their arguments and raise LinuxError."""

    __slots__ = (
        "arena",
        "brk_end",
        "brk_start",
        "host",
        "limit_as",
        "limit_data",
        "limit_memlock",
        "limit_stack",
        "locked",
        "machine",
        "memory",
        "mmap_top",
        "ram",
        "vmas",
    )

    def __init__(self, machine: Machine, host: Host) -> None:
        self.machine = machine
        self.arena = machine.arena
        self.host = host
        self.vmas = VmaMap()
        self.memory = UserMemory(self)
        self.brk_start = self.brk_end = 0
        self.mmap_top = machine.user_limit - (256 << 20)
        self.limit_as = self.limit_data = self.limit_memlock = RLIM_INFINITY
        self.limit_stack = 8 << 20
        self.locked = 0
        info = host.procs.sysinfo()
        self.ram = (info.totalram + info.totalswap) * info.mem_unit

    # -- mmap

    def mmap(self, address: int, length: int, prot: int, flags: int, file: MappedFile | None, offset: int) -> int:
        """mmap(2). `file` is open for reading, and shared and writable only if file.writable. Returns the address."""
        kind = flags & MAP_TYPE
        if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE) or not length or offset & (PAGE - 1):
            raise LinuxError(EINVAL)
        if length > self.machine.user_limit:
            raise LinuxError(ENOMEM)
        length = _up(length)
        if offset + length > 1 << 63:
            raise LinuxError(EOVERFLOW)
        if flags & MAP_HUGETLB:
            raise LinuxError(ENOMEM, "no huge pages are reserved")
        if kind == MAP_SHARED_VALIDATE:
            kind = MAP_SHARED
        if file is not None and kind == MAP_SHARED and prot & PROT_WRITE and not file.writable:
            raise LinuxError(EACCES)
        if self.limit_as != RLIM_INFINITY and self.total() + length > self.limit_as:
            raise LinuxError(ENOMEM)
        if kind == MAP_PRIVATE and prot & PROT_WRITE and not flags & MAP_NORESERVE and length > self.ram:
            raise LinuxError(ENOMEM, "more than the host's memory")
        address = self._choose(address, length, flags)
        self._remove(address, address + length)
        kept = flags & _KEPT_FLAGS & ~MAP_TYPE | kind
        vma = Vma(address, address + length, prot & 7, kept, NOWHERE, file, offset if file else 0)
        if prot & 7 or file is not None or kind == MAP_SHARED:
            self._back(vma)
        self.vmas.insert(vma)
        return address

    def _choose(self, address: int, length: int, flags: int) -> int:
        limit = self.machine.user_limit
        if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
            if address & (PAGE - 1):
                raise LinuxError(EINVAL)
            if address + length > limit:
                raise LinuxError(ENOMEM)
            if address < MMAP_MIN:
                raise LinuxError(EPERM)
            if flags & MAP_FIXED_NOREPLACE and self.vmas.overlapping(address, address + length):
                raise LinuxError(EEXIST)
            return address
        if address:
            address = max(_up(address), MMAP_MIN)
            if address + length <= limit and not self.vmas.overlapping(address, address + length):
                return address
        return self.find_free(length)

    def find_free(self, length: int) -> int:
        """Linux' choice without a hint: the highest gap below the stack."""
        found = self.vmas.lowest_gap_below(self.mmap_top, length, MMAP_MIN)
        if found is None:
            found = self.vmas.lowest_gap_below(self.machine.user_limit, length, MMAP_MIN)
        if found is None:
            raise LinuxError(ENOMEM)
        return found

    def _back(self, vma: Vma) -> None:
        """Give an area its place in the arena and in the engine's tables."""
        length = vma.end - vma.start
        arena = self.arena
        try:
            vma.offset = arena.alloc(length, vma.start)
        except MemoryError:
            raise LinuxError(ENOMEM) from None
        try:
            if vma.file is None:
                if vma.flags & MAP_TYPE == MAP_SHARED:
                    arena.shared(vma.offset, length)
                else:
                    arena.anonymous(vma.offset, length)
            else:
                file = vma.file
                shared = vma.flags & MAP_TYPE == MAP_SHARED
                arena.file(vma.offset, length, file.fd, vma.file_offset, shared=shared, writable=file.writable)
        except OSError as error:
            arena.free(vma.offset, length)
            raise LinuxError(ENODEV if vma.file is not None and error.errno != 12 else ENOMEM) from None
        self._install(vma)

    def _install(self, vma: Vma) -> None:
        """Enter an area into the engine's tables, a file's only up to its end: beyond it an access is SIGBUS."""
        prot = _engine_prot(vma.prot)
        if not prot:
            return
        length = vma.end - vma.start
        if vma.file is not None:
            length = min(length, max(0, _up(vma.file.size()) - vma.file_offset))
        if length:
            self.machine.map(vma.start, length, vma.offset, prot)

    def place(self, name: bytes, address: int, length: int, prot: int, data: bytes = b"") -> None:
        """Map private memory with contents at a fixed address, for the loader."""
        vma = Vma(address, address + length, prot, MAP_PRIVATE | MAP_ANONYMOUS, name=name)
        self._back(vma)
        self.vmas.insert(vma)
        self.arena.view[vma.offset : vma.offset + len(data)] = data

    # -- munmap

    def munmap(self, address: int, length: int) -> None:
        """munmap(2)."""
        limit = self.machine.user_limit
        if address & (PAGE - 1) or not length or address > limit or length > limit - address:
            raise LinuxError(EINVAL)
        self._remove(address, address + _up(length))

    def _remove(self, start: int, end: int) -> None:
        for vma in self.vmas.cut(start, end):
            self._drop(vma)

    def _drop(self, vma: Vma) -> None:
        if vma.offset != NOWHERE:
            length = vma.end - vma.start
            self.machine.unmap(vma.start, length)
            if vma.floor < vma.start:  # a stack's reserve goes with its lowest piece
                self.arena.free(vma.offset - (vma.start - vma.floor), length + vma.start - vma.floor)
            else:
                self.arena.free(vma.offset, length)

    # -- mprotect

    def mprotect(self, address: int, length: int, prot: int) -> None:
        """mprotect(2)."""
        grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
        if address & (PAGE - 1) or grows == PROT_GROWSDOWN | PROT_GROWSUP or prot & ~(7 | PROT_SEM | grows):
            raise LinuxError(EINVAL)
        if not length:
            return
        end = address + _up(length)
        if end <= address or end > 1 << 64:
            raise LinuxError(ENOMEM)
        areas = self.vmas.overlapping(address, end)
        if grows == PROT_GROWSDOWN:
            if not areas or not areas[0].flags & MAP_GROWSDOWN:
                raise LinuxError(EINVAL)
            address = areas[0].start
        prot &= 7
        at = address
        for vma in areas:
            if vma.start > at:
                break  # a hole: what lies before it is changed all the same
            piece_end = min(vma.end, end)
            if vma.prot != prot:
                if prot & PROT_WRITE and vma.file and vma.flags & MAP_TYPE == MAP_SHARED and not vma.file.writable:
                    raise LinuxError(EACCES)
                self._change(at, piece_end, prot)
            at = piece_end
        if at < end:
            raise LinuxError(ENOMEM)

    def _change(self, start: int, end: int, prot: int) -> None:
        for vma in self.vmas.cut(start, end):
            vma.prot = prot
            if vma.offset == NOWHERE:
                if prot:
                    self._back(vma)
            else:
                length = vma.end - vma.start
                if vma.file is not None:
                    length = min(length, max(0, _up(vma.file.size()) - vma.file_offset))
                if length:
                    self.machine.protect(vma.start, length, vma.offset, _engine_prot(prot))
            self.vmas.insert(vma)

    # -- brk

    def set_brk(self, start: int) -> None:
        self.brk_start = self.brk_end = start

    def brk(self, address: int) -> int:
        """brk(2): the end of the heap, whether it moved or not."""
        old, new = _up(self.brk_end), _up(address)
        if address < self.brk_start or address > self.machine.user_limit:
            return self.brk_end
        if self.limit_data != RLIM_INFINITY and address - self.brk_start > self.limit_data:
            return self.brk_end
        if new < old:
            self._remove(new, old)
        elif new > old:
            above = self.vmas.above(old - 1)
            if above is not None and above.start < new + PAGE or new - old > self.ram:
                return self.brk_end
            if self.limit_as != RLIM_INFINITY and self.total() + new - old > self.limit_as:
                return self.brk_end
            vma = Vma(old, new, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, name=b"[heap]")
            try:
                self._extend(vma)
            except LinuxError:
                return self.brk_end
            self.vmas.insert(vma)
        self.brk_end = address
        return address

    def _extend(self, vma: Vma) -> None:
        """Back an anonymous area, right behind its lower neighbour in the arena if that is possible: they merge then."""
        below = self.vmas.find(vma.start - 1)
        length = vma.end - vma.start
        if below is not None and below.offset != NOWHERE and below.name == vma.name:
            at = below.offset + below.end - below.start
            if self.arena.take(at, length):
                vma.offset = at
                self.arena.anonymous(at, length)
                self._install(vma)
                return
        self._back(vma)

    # -- mremap

    def mremap(self, old: int, old_length: int, new_length: int, flags: int, new: int) -> int:
        """mremap(2)."""
        if flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) or old & (PAGE - 1):
            raise LinuxError(EINVAL)
        if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not flags & MREMAP_MAYMOVE:
            raise LinuxError(EINVAL)
        old_length, new_length = _up(old_length), _up(new_length)
        if not new_length or new_length > self.machine.user_limit:
            raise LinuxError(EINVAL)
        if flags & MREMAP_DONTUNMAP and old_length != new_length:
            raise LinuxError(EINVAL)
        if flags & MREMAP_FIXED:
            if new & (PAGE - 1) or new + new_length > self.machine.user_limit:
                raise LinuxError(EINVAL)
            if old < new + new_length and new < old + old_length:
                raise LinuxError(EINVAL)
            if new < MMAP_MIN:
                raise LinuxError(EPERM)
        vma = self.vmas.find(old)
        if vma is None:
            raise LinuxError(EFAULT)
        if not old_length:
            if vma.flags & MAP_TYPE != MAP_SHARED or not flags & MREMAP_MAYMOVE:
                raise LinuxError(EINVAL)
            return self._duplicate(vma, old, new_length, new if flags & MREMAP_FIXED else None)
        if new_length < old_length and not flags & MREMAP_FIXED:
            self._remove(old + new_length, old + old_length)
            return old
        if old + old_length > vma.end:
            raise LinuxError(EFAULT)
        if not flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
            if new_length == old_length:
                return old
            if self._room(vma.end, old + new_length - vma.end, old + old_length == vma.end):
                self._grow(vma, new_length - old_length)
                return old
            if not flags & MREMAP_MAYMOVE:
                raise LinuxError(ENOMEM)
        if self.limit_as != RLIM_INFINITY and self.total() + new_length - old_length > self.limit_as:
            raise LinuxError(ENOMEM)
        if flags & MREMAP_FIXED:
            self._remove(new, new + new_length)
        elif not (flags & MREMAP_DONTUNMAP and new and not self.vmas.overlapping(new, new + new_length)):
            new = self.find_free(new_length)
        self._move(old, min(old_length, new_length), new, new_length, keep=bool(flags & MREMAP_DONTUNMAP))
        if new_length < old_length:
            self._remove(old + new_length, old + old_length)
        return new

    def _room(self, start: int, length: int, at_end: bool) -> bool:
        return at_end and start + length <= self.machine.user_limit and not self.vmas.overlapping(start, start + length)

    def _grow(self, vma: Vma, extra: int) -> None:
        """Make an area longer where it stands."""
        tail = Vma(vma.end, vma.end + extra, vma.prot, vma.flags, NOWHERE, vma.file, name=vma.name)
        if vma.file is not None:
            tail.file_offset = vma.file_offset + vma.end - vma.start
        if vma.offset != NOWHERE:
            if vma.file is None and vma.flags & MAP_TYPE == MAP_PRIVATE:
                self._extend(tail)
            else:
                self._back(tail)
        self.vmas.insert(tail)

    def _duplicate(self, vma: Vma, old: int, length: int, new: int | None) -> int:
        """mremap() with an old length of 0: a second mapping of the same shared pages."""
        if vma.file is None:
            raise LinuxError(EINVAL, "a second mapping of anonymous shared memory")
        if new is not None:
            self._remove(new, new + length)
        else:
            new = self.find_free(length)
        copy = Vma(new, new + length, vma.prot, vma.flags, NOWHERE, vma.file, vma.file_offset + old - vma.start)
        self._back(copy)
        self.vmas.insert(copy)
        return new

    def _move(self, old: int, length: int, new: int, new_length: int, *, keep: bool) -> None:
        """Move pages to another address; the arena's own pages move too where the host can do it (mremap)."""
        [vma] = self.vmas.cut(old, old + length)
        moved = Vma(new, new + new_length, vma.prot, vma.flags, NOWHERE, vma.file, vma.file_offset, vma.name)
        if vma.offset == NOWHERE:
            self.vmas.insert(moved)
            if keep:
                self.vmas.insert(vma)
            return
        if new_length == length and not keep:
            self.machine.unmap(vma.start, length)
            self.machine.flush(vma.offset, length)
            moved.offset = vma.offset
            self._install(moved)
            self.vmas.insert(moved)
            return
        try:
            self._back(moved)
        except LinuxError:
            self.vmas.insert(vma)
            raise
        if vma.file is None or vma.flags & MAP_TYPE == MAP_PRIVATE:
            if vma.flags & MAP_TYPE == MAP_SHARED:
                self.arena.move(vma.offset, length, moved.offset)
            elif not self.arena.move(vma.offset, length, moved.offset):
                present = length
                if vma.file is not None:
                    present = min(length, max(0, _up(vma.file.size()) - vma.file_offset))
                view = self.arena.view
                view[moved.offset : moved.offset + present] = view[vma.offset : vma.offset + present]
        self.machine.unmap(vma.start, length)
        self.arena.free(vma.offset, length)
        if keep:
            vma.offset = NOWHERE
            self._back(vma)
            self.vmas.insert(vma)
        self.vmas.insert(moved)

    # -- advice, residency, locking, writing back

    def madvise(self, address: int, length: int, advice: int) -> None:
        """madvise(2)."""
        if address & (PAGE - 1) or length >= 1 << 63:
            raise LinuxError(EINVAL)
        end = address + _up(length)
        known = advice in _MADV_HINTS or advice in (
            MADV_DONTNEED,
            MADV_REMOVE,
            MADV_DONTFORK,
            MADV_DOFORK,
            MADV_WIPEONFORK,
            MADV_KEEPONFORK,
            MADV_POPULATE_READ,
            MADV_POPULATE_WRITE,
        )
        if not known:
            raise LinuxError(EINVAL)
        at = address
        hole = False
        for vma in self.vmas.overlapping(address, end):
            hole |= vma.start > at
            start, at = max(vma.start, address), min(vma.end, end)
            if advice == MADV_DONTNEED:
                self._discard(vma, start, at)
            elif advice == MADV_FREE and (vma.file is not None or vma.flags & MAP_TYPE == MAP_SHARED):
                raise LinuxError(EINVAL)
            elif advice == MADV_REMOVE:
                self._punch(vma, start, at)
            elif advice in (MADV_WIPEONFORK, MADV_KEEPONFORK):
                if vma.file is not None or vma.flags & MAP_TYPE == MAP_SHARED:
                    raise LinuxError(EINVAL)
                for piece in self.vmas.cut(start, at):
                    piece.wipe = advice == MADV_WIPEONFORK
                    self.vmas.insert(piece)
        if hole or at < end:
            raise LinuxError(ENOMEM)

    def _discard(self, vma: Vma, start: int, end: int) -> None:
        if vma.offset != NOWHERE:
            self.arena.discard(vma.offset + start - vma.start, end - start)

    def _punch(self, vma: Vma, start: int, end: int) -> None:
        if vma.flags & MAP_TYPE != MAP_SHARED:
            raise LinuxError(EINVAL)
        if vma.file is None or not vma.file.writable:
            raise LinuxError(EACCES)
        self.host.files.fallocate(vma.file.fd, 3, vma.file_offset + start - vma.start, end - start)

    def mincore(self, address: int, length: int) -> bytes:
        """mincore(2): one byte a page."""
        if address & (PAGE - 1):
            raise LinuxError(EINVAL)
        end = address + _up(length)
        result = bytearray()
        at = address
        for vma in self.vmas.overlapping(address, end):
            if vma.start > at:
                break
            stop = min(vma.end, end)
            if vma.offset == NOWHERE:
                result += bytes((stop - at) // PAGE)
            else:
                result += self.host.mem.mincore(self.arena.address + vma.offset + at - vma.start, stop - at)
            at = stop
        if at < end:
            raise LinuxError(ENOMEM)
        return bytes(result)

    def msync(self, address: int, length: int, flags: int) -> None:
        """msync(2)."""
        if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or flags & MS_ASYNC and flags & MS_SYNC or address & (PAGE - 1):
            raise LinuxError(EINVAL)
        end = address + _up(length)
        if end < address or end > 1 << 64:
            raise LinuxError(ENOMEM)
        at = address
        hole = False
        for vma in self.vmas.overlapping(address, end):
            hole |= vma.start > at
            start, at = max(vma.start, address), min(vma.end, end)
            if flags & MS_INVALIDATE and vma.flags & MAP_LOCKED:
                raise LinuxError(EBUSY)
            if vma.file is not None and vma.flags & MAP_TYPE == MAP_SHARED:
                self.host.mem.msync(self.arena.address + vma.offset + start - vma.start, at - start, flags)
        if hole or at < end:
            raise LinuxError(ENOMEM)

    def mlock(self, address: int, length: int) -> None:
        """mlock(2): checked and counted as Linux does; guest memory is not pinned on the host."""
        start, end = address & -PAGE, _up(address + length)
        if end > 1 << 64:
            raise LinuxError(EINVAL)
        at = start
        for vma in self.vmas.overlapping(start, end):
            if vma.start > at:
                break
            at = min(vma.end, end)
        if at < end:
            raise LinuxError(ENOMEM)
        new = sum(
            min(vma.end, end) - max(vma.start, start)
            for vma in self.vmas.overlapping(start, end)
            if not vma.flags & MAP_LOCKED
        )
        if self.locked + new > self.limit_memlock:
            raise LinuxError(ENOMEM if self.limit_memlock else EPERM)
        self._mark_locked(start, end, locked=True)

    def munlock(self, address: int, length: int) -> None:
        """munlock(2)."""
        start, end = address & -PAGE, _up(address + length)
        at = start
        for vma in self.vmas.overlapping(start, end):
            if vma.start > at:
                break
            at = min(vma.end, end)
        self._mark_locked(start, at, locked=False)
        if at < end:
            raise LinuxError(ENOMEM)

    def mlockall(self, *, lock: bool) -> None:
        """mlockall(2) of what is there now, munlockall(2)."""
        if lock and self.total() > self.limit_memlock:
            raise LinuxError(ENOMEM if self.limit_memlock else EPERM)
        self._mark_locked(0, self.machine.user_limit, locked=lock)

    def _mark_locked(self, start: int, end: int, *, locked: bool) -> None:
        if start >= end:
            return
        for piece in self.vmas.cut(start, end):
            if locked != bool(piece.flags & MAP_LOCKED):
                self.locked += (piece.end - piece.start) * (1 if locked else -1)
            piece.flags = piece.flags & ~MAP_LOCKED | (MAP_LOCKED if locked else 0)
            self.vmas.insert(piece)

    # -- faults

    def fault(self, address: int, access: int) -> int:
        """A guest access that the engine could not do. FAULT_RETRY: it can now."""
        vma = self.vmas.find(address)
        if vma is None:
            if self.grow_stack(address):
                return FAULT_RETRY
            return FAULT_MAPERR
        if not _engine_prot(vma.prot) & access:
            return FAULT_ACCERR
        page = address & -PAGE
        if vma.file is not None and vma.file_offset + page - vma.start >= vma.file.size():
            return FAULT_BUS
        # The page is there by now: the file grew, or another thread changed its protection meanwhile.
        self.machine.map(page, PAGE, vma.offset + page - vma.start, _engine_prot(vma.prot))
        return FAULT_RETRY

    def host_fault(self) -> bool:
        """The host has no page where the guest has one: files that shrank. True if their ends were unmapped now."""
        found = False
        for vma in self.vmas:
            if vma.file is not None and _engine_prot(vma.prot):
                present = max(0, _up(vma.file.size()) - vma.file_offset)
                if present < vma.end - vma.start:
                    self.machine.unmap(vma.start + present, vma.end - vma.start - present)
                    self.machine.flush(vma.offset + present, vma.end - vma.start - present)
                    found = True
        return found

    def map_stack(self, top: int, size: int, initial: int) -> None:
        """The main stack: `initial` bytes below `top`, with room in the arena to grow to `size`."""
        start = self.arena.alloc(size, top - size)
        vma = Vma(
            top - initial,
            top,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN,
            start + size - initial,
            name=b"[stack]",
        )
        vma.floor = top - size
        self.arena.anonymous(vma.offset, initial)
        self._install(vma)
        self.vmas.insert(vma)

    def grow_stack(self, address: int) -> bool:
        """Extend a MAP_GROWSDOWN area down to an address below it, if limits and neighbours allow."""
        vma = self.vmas.above(address)
        if vma is None or not vma.flags & MAP_GROWSDOWN:
            return False
        page = address & -PAGE
        below = self.vmas.find_below(page)
        bottom = below.end if below is not None else MMAP_MIN
        if below is not None and below.prot and not below.flags & MAP_GROWSDOWN:
            bottom += _STACK_GAP
        if vma.name == b"[stack]":
            top = self._stack_top(vma)
            bottom = max(bottom, vma.floor, top - max(self.limit_stack, vma.end - vma.start) if top else 0)
        if page < bottom:
            return False
        start = max(bottom, min(page, vma.start - _STACK_STEP)) if vma.name == b"[stack]" else page
        length = vma.start - start
        if vma.floor <= start:
            offset = vma.offset - length
            self.arena.anonymous(offset, length)
            piece = Vma(start, vma.start, vma.prot, vma.flags, offset, name=vma.name)
            self._install(piece)
            self.vmas.lower(vma, start, offset)
        else:
            piece = Vma(start, vma.start, vma.prot, vma.flags, name=vma.name)
            self._back(piece)
            self.vmas.insert(piece)
        return True

    def _stack_top(self, vma: Vma) -> int:
        while True:
            after = self.vmas.find(vma.end)
            if after is None or after.name != b"[stack]":
                return vma.end
            vma = after

    # -- whole-space operations

    def is_private_memory(self, offset: int) -> bool:
        """Whether a page of the arena is behind a private area (of which a forked child has its own copy)."""
        for vma in self.vmas:
            if vma.offset <= offset < vma.offset + vma.end - vma.start:
                return vma.flags & MAP_TYPE == MAP_PRIVATE
        return False

    def total(self) -> int:
        """Bytes mapped (VmSize)."""
        return sum(vma.end - vma.start for vma in self.vmas)

    def reset(self) -> None:
        """execve(2): drop everything."""
        self.vmas.clear()
        self.machine.reset()
        self.brk_start = self.brk_end = 0
        self.locked = 0

    def after_fork(self) -> None:
        """In a forked child: memory locks are not inherited, areas marked MADV_WIPEONFORK are empty."""
        self.locked = 0
        for vma in self.vmas:
            vma.flags &= ~MAP_LOCKED
            if vma.wipe and vma.offset != NOWHERE:
                self.arena.discard(vma.offset, vma.end - vma.start)
