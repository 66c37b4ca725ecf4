"""aarch64 stage-1 page tables with 4 KiB granules and 48-bit addresses (ARM ARM, D8.3), for EL0 alone.

Their shape is x86-64's: four levels of 512 entries, 2 MiB blocks at the third. There is no dirty bit that every CPU
keeps, so the write log makes pages read-only and hears of the first write through the fault (note_write).
"""

from __future__ import annotations

from typing import ClassVar, Final

from noah.vm.arch.x86_paging import PageTables, every_entry

_VALID: Final = 1
_TABLE_OR_PAGE: Final = 2  # bit 1 is clear in a block
_USER: Final = 1 << 6  # AP[1]: EL0 may access
_READ_ONLY: Final = 1 << 7  # AP[2]
_INNER_SHAREABLE: Final = 3 << 8
_ACCESSED: Final = 1 << 10
_NOT_GLOBAL: Final = 1 << 11
_PXN: Final = 1 << 53
_UXN: Final = 1 << 54
_LOGGED: Final = 1 << 55  # bits 55 to 58 are software's: a writable page that the log has made read-only
_DIRTY: Final = 1 << 56
_ADDRESS: Final = 0x0000_FFFF_FFFF_F000

_ALL_VALID: Final = every_entry(_VALID)
_CLEAN: Final = every_entry((1 << 64) - 1 - _DIRTY)


def flags_of(prot: int) -> int:
    """Entry bits for a combination of READ (1), WRITE (2) and EXEC (4); 0 is "not present"."""
    if not prot:
        return 0
    bits = _VALID | _TABLE_OR_PAGE | _USER | _INNER_SHAREABLE | _ACCESSED | _NOT_GLOBAL | _PXN | _DIRTY
    if not prot & 2:
        bits |= _READ_ONLY
    if not prot & 4:
        bits |= _UXN
    return bits


def flags_removed(old: int, new: int) -> bool:
    """Whether an entry that changes from `old` to `new` flags takes a permission away."""
    forbidding = _READ_ONLY | _UXN
    return bool((old ^ forbidding) & ~(new ^ forbidding) & (_VALID | forbidding))


class Aarch64PageTables(PageTables):
    """The page tables of one address space. Addresses and lengths are multiples of 4 KiB and below 2^48."""

    __slots__ = ()

    LINK: ClassVar[int] = _VALID | _TABLE_OR_PAGE
    SIZE: ClassVar[int] = _TABLE_OR_PAGE
    LARGE: ClassVar[int] = 0
    DIRTY: ClassVar[int] = _DIRTY
    ADDRESS: ClassVar[int] = _ADDRESS

    def _cleaned(self, entries: int) -> int:
        writable = ~(entries >> 7) & entries & _ALL_VALID
        return (entries & _CLEAN) | writable << 7 | writable << 55

    def note_write(self, address: int) -> bool:
        """A write fault: if the log alone forbade the write, mark the page dirty and allow it from now on."""
        table = self._tables.get(address >> 21)
        if table is None:
            return False
        slot = table + (address >> 12 & 511)
        entry = self._words[slot]
        if not entry & _LOGGED:
            return False
        self._words[slot] = entry & ~(_LOGGED | _READ_ONLY) | _DIRTY
        return True
