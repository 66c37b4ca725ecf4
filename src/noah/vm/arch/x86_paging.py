"""x86-64 four-level page tables, written into the arena (SDM vol. 3, 4.5). Shared by every engine that needs them.

aarch64_paging.py derives from them: with 4 KiB granules only the bits of an entry differ.
Tables are found through dictionaries keyed by the region that they cover, so that an edit never walks from the root.
Runs of entries are written as one slice: filling a 2 MiB table takes about 10 us in Python.
"""

from __future__ import annotations

from array import array
from typing import ClassVar, Final

from noah.vm.arena import HUGE, PAGE, Arena

_PRESENT: Final = 1
_WRITABLE: Final = 2
_USER: Final = 4
_ACCESSED: Final = 0x20
_DIRTY: Final = 0x40
_LARGE: Final = 0x80
_NX: Final = 1 << 63
_ADDRESS: Final = 0x000F_FFFF_FFFF_F000
_LINK: Final = _PRESENT | _WRITABLE | _USER | _ACCESSED
_GIB: Final = 1 << 30
_POOL_PAGES: Final = 32
_EMPTY: Final = array("Q", bytes(PAGE))


def every_entry(bits: int) -> int:
    """A page table whose entries are all `bits`, as one number: tables are masked whole."""
    return int.from_bytes(bits.to_bytes(8, "little") * 512, "little")


_CLEAN: Final = every_entry((1 << 64) - 1 - _DIRTY)

KERNEL_PAGE: Final = _PRESENT | _ACCESSED | _DIRTY
"""Entry bits of a page that user mode cannot reach."""


def flags_of(prot: int) -> int:
    """Entry bits for a combination of READ (1), WRITE (2) and EXEC (4); 0 is "not present".

    Accessed and dirty are set from the start: nobody reads them, and the CPU need not.
    """
    if not prot:
        return 0
    bits = _PRESENT | _USER | _ACCESSED | _DIRTY
    if prot & 2:
        bits |= _WRITABLE
    if not prot & 4:
        bits |= _NX
    return bits


def kernel_flags_of(prot: int) -> int:
    """The same for a page that user mode cannot reach."""
    return flags_of(prot) & ~_USER


def flags_removed(old: int, new: int) -> bool:
    """Whether an entry that changes from `old` to `new` flags takes a permission away."""
    return bool((old ^ _NX) & ~(new ^ _NX) & (_PRESENT | _WRITABLE | _NX))


class TableZone:
    """Pages of the arena for page tables alone, each handed out once: see PageTables."""

    __slots__ = ("_end", "_next", "_start")

    def __init__(self, start: int, size: int) -> None:
        self._start = self._next = start
        self._end = start + size

    @property
    def is_half_used(self) -> bool:
        return 2 * self._next > self._start + self._end

    def rewind(self) -> None:
        """Every page may be handed out again."""
        self._next = self._start

    def take(self, size: int) -> int | None:
        """Offset of a run of pages; None when there are no more."""
        if self._next + size > self._end:
            return None
        self._next += size
        return self._next - size


class PageTables:
    """The page tables of one address space. Addresses and lengths are multiples of 4 KiB and below 2^47.

    A hypervisor with shadow paging keeps what it derived from a table by the table's guest-physical page, and does not
    see that the host writes another one there: what was linked to the old table then shows the new one's pages. So
    pages come from a zone that never gives one twice, where there is such a hypervisor. It keeps what it derived from
    a large entry as well, by the memory that this one mapped: there are none then.
    """

    __slots__ = ("_arena", "_directories", "_large", "_pointers", "_pool", "_tables", "_words", "_zone", "root")

    LINK: ClassVar[int] = _LINK  # what makes an entry point to a table
    SIZE: ClassVar[int] = _LARGE  # the bit that tells a 2 MiB entry from a 4 KiB one (and from a link)
    LARGE: ClassVar[int] = _LARGE  # its value in a 2 MiB entry
    DIRTY: ClassVar[int] = _DIRTY
    ADDRESS: ClassVar[int] = _ADDRESS

    def __init__(self, arena: Arena, zone: TableZone | None = None, *, large: bool = True) -> None:
        """large: 2 MiB may be mapped by one entry."""
        self._arena = arena
        self._large = large
        self._zone = zone
        self._words = arena.words
        self._pool: list[int] = []
        self._pointers: dict[int, int] = {}  # 512 GiB region -> word index of its page-directory-pointer table
        self._directories: dict[int, int] = {}  # 1 GiB region -> word index of its page directory
        self._tables: dict[int, int] = {}  # 2 MiB region -> word index of its page table
        self.root = self._new_page()

    def _new_page(self) -> int:
        if not self._pool:
            start = self._zone.take(_POOL_PAGES * PAGE) if self._zone is not None else None
            if start is None:
                start = self._arena.alloc(_POOL_PAGES * PAGE)
            self._arena.anonymous(start, _POOL_PAGES * PAGE)
            self._pool = list(range(start + (_POOL_PAGES - 1) * PAGE, start - PAGE, -PAGE))
        return self._pool.pop()

    def _directory(self, region: int) -> int:
        """Word index of the page directory of a 1 GiB region."""
        index = self._directories.get(region)
        if index is None:
            top = region >> 9
            pointers = self._pointers.get(top)
            if pointers is None:
                page = self._new_page()
                pointers = self._pointers[top] = page >> 3
                self._words[(self.root >> 3) + (top & 511)] = page | self.LINK
            page = self._new_page()
            index = self._directories[region] = page >> 3
            self._words[pointers + (region & 511)] = page | self.LINK
        return index

    def _table(self, region: int) -> int:
        """Word index of the page table of a 2 MiB region; a large entry in its place is split."""
        index = self._tables.get(region)
        if index is None:
            slot = self._directory(region >> 9) + (region & 511)
            page = self._new_page()
            index = page >> 3
            old = self._words[slot]
            if old and old & self.SIZE == self.LARGE:
                first = old ^ self.SIZE
                self._words[index : index + 512] = array("Q", range(first, first + HUGE, PAGE))
            elif old:
                raise AssertionError("a page table that its index does not know")
            else:
                self._words[index : index + 512] = _EMPTY
            self._tables[region] = index
            self._words[slot] = page | self.LINK
        return index

    def map(self, address: int, length: int, offset: int, flags: int) -> None:
        """Point [address, +length) at [offset, +length) with entry bits `flags` (see flags_of)."""
        if not flags:
            self.unmap(address, length)
            return
        words, large = self._words, self._large
        end = address + length
        while address < end:
            region = address >> 21
            limit = (region + 1) << 21
            if large and limit <= end and not (address | offset) & (HUGE - 1) and region not in self._tables:
                # a run of large entries, up to the end of this page directory
                gib = (address >> 30) + 1 << 30
                count = (min(end, gib) - address) >> 21
                for step in range(1, count):
                    if region + step in self._tables:
                        count = step
                        break
                slot = self._directory(address >> 30) + (region & 511)
                first = (offset | flags) ^ self.SIZE
                words[slot : slot + count] = array("Q", range(first, first + count * HUGE, HUGE))
                size = count * HUGE
            else:
                size = min(end, limit) - address
                slot = self._table(region) + (address >> 12 & 511)
                first = offset | flags
                words[slot : slot + (size >> 12)] = array("Q", range(first, first + size, PAGE))
            address += size
            offset += size

    def unmap(self, address: int, length: int) -> None:
        """Clear every entry of the range; tables stay for later use."""
        words = self._words
        end = address + length
        while address < end:
            region = address >> 21
            if not address & (_GIB - 1) and address + _GIB <= end:
                self._clear_directory(region)
                address += _GIB
                continue
            size = min(end, region + 1 << 21) - address
            table = self._tables.get(region)
            if table is None:
                directory = self._directories.get(region >> 9)
                if directory is None:
                    size = min(end, (region >> 9) + 1 << 30) - address
                elif words[directory + (region & 511)]:
                    if size == HUGE:
                        words[directory + (region & 511)] = 0
                    else:
                        table = self._table(region)
            if table is not None:
                count = size >> 12
                slot = table + (address >> 12 & 511)
                words[slot : slot + count] = _EMPTY[:count]
            address += size

    def _clear_directory(self, region: int) -> None:
        """Clear every entry of the 1 GiB that begins with a 2 MiB region."""
        directory = self._directories.get(region >> 9)
        if directory is not None:
            words = self._words
            for index, entry in enumerate(words[directory : directory + 512].tolist()):
                if entry:
                    table = self._tables.get(region + index)
                    if table is None:
                        words[directory + index] = 0
                    else:
                        words[table : table + 512] = _EMPTY

    def translate(self, address: int) -> int:
        """The entry that maps an address, 0 if none: large entries as the 4 KiB entry they stand for."""
        table = self._tables.get(address >> 21)
        if table is not None:
            return self._words[table + (address >> 12 & 511)]
        directory = self._directories.get(address >> 30)
        entry = self._words[directory + (address >> 21 & 511)] if directory is not None else 0
        return (entry ^ self.SIZE) + (address & (HUGE - 1) & -PAGE) if entry else 0

    def clear_dirty(self) -> None:
        """Forget the dirty bits of every entry. Before a vCPU has used these tables, or after a flush of all."""
        view = self._arena.view
        for region, directory in list(self._directories.items()):
            for index in range(512):  # large entries: track them by 4 KiB
                entry = self._words[directory + index]
                if entry and entry & self.SIZE == self.LARGE:
                    self._table(region << 9 | index)
        for table in self._tables.values():
            start = table << 3
            entries = int.from_bytes(view[start : start + PAGE], "little")
            if entries:
                view[start : start + PAGE] = self._cleaned(entries).to_bytes(PAGE, "little")

    def _cleaned(self, entries: int) -> int:
        """A table, as one number, whose next writes will make entries dirty."""
        return entries & _CLEAN

    def dirty_pages(self) -> list[int]:
        """Arena offsets of the pages whose entries got dirty since clear_dirty()."""
        found: list[int] = []
        view, words = self._arena.view, self._words
        dirty, address = self.DIRTY, self.ADDRESS
        dirty_anywhere = every_entry(dirty)
        for table in self._tables.values():
            start = table << 3
            if int.from_bytes(view[start : start + PAGE], "little") & dirty_anywhere:
                found.extend(entry & address for entry in words[table : table + 512].tolist() if entry & dirty)
        return found
