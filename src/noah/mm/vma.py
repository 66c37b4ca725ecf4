"""Virtual memory areas: what is mapped where, and what stands behind it.

Each area is linear: guest address minus `start` plus `offset` is a place in the arena. An area with `offset` NOWHERE is a
reservation: it costs nothing, and gets memory when mprotect(2) makes it accessible.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from noah.host.api import Files

NOWHERE: Final = -1


class MappedFile:
    """An open host file behind mappings; lives as long as an area refers to it."""

    __slots__ = ("_files", "device", "fd", "inode", "path", "writable")

    def __init__(self, files: Files, fd: int, path: bytes, device: int, inode: int, *, writable: bool) -> None:
        self._files = files
        self.fd = fd  # ours: a duplicate
        self.path = path  # as /proc/self/maps shows it
        self.device = device
        self.inode = inode
        self.writable = writable

    def size(self) -> int:
        return self._files.fstat(self.fd).size

    def __del__(self) -> None:
        self._files.close_quietly(self.fd)


class Vma:
    """One area [start, end). `prot` and `flags` are Linux' PROT_* and MAP_* values."""

    __slots__ = ("end", "file", "file_offset", "flags", "floor", "name", "offset", "prot", "start", "wipe")

    def __init__(
        self,
        start: int,
        end: int,
        prot: int,
        flags: int,
        offset: int = NOWHERE,
        file: MappedFile | None = None,
        file_offset: int = 0,
        name: bytes = b"",
    ) -> None:
        self.start = start
        self.end = end
        self.prot = prot
        self.flags = flags
        self.offset = offset
        self.file = file
        self.file_offset = file_offset
        self.name = name
        self.floor = start  # a stack's lowest address for which the arena has room
        self.wipe = False  # MADV_WIPEONFORK

    def part(self, start: int, end: int) -> Vma:
        """A copy of the piece [start, end)."""
        skip = start - self.start
        offset = self.offset + skip if self.offset != NOWHERE else NOWHERE
        piece = Vma(
            start, end, self.prot, self.flags, offset, self.file, self.file_offset + skip if self.file else 0, self.name
        )
        piece.wipe = self.wipe
        if start == self.start:
            piece.floor = self.floor
        return piece

    def continues(self, other: Vma) -> bool:
        """Whether `other`, right behind this one, is of the same kind and goes on in arena and file."""
        return (
            self.end == other.start
            and self.prot == other.prot
            and self.flags == other.flags
            and self.file is other.file
            and self.name == other.name
            and self.wipe == other.wipe
            and (
                other.offset == NOWHERE
                if self.offset == NOWHERE
                else other.offset == self.offset + self.end - self.start
            )
            and (self.file is None or other.file_offset == self.file_offset + self.end - self.start)
        )


class VmaMap:
    """Areas in address order; they never overlap."""

    __slots__ = ("starts", "vmas")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.vmas: list[Vma] = []

    def __iter__(self) -> Iterator[Vma]:
        return iter(self.vmas)

    def __len__(self) -> int:
        return len(self.vmas)

    def find(self, address: int) -> Vma | None:
        """The area that holds an address."""
        index = bisect_right(self.starts, address) - 1
        if index >= 0:
            vma = self.vmas[index]
            if address < vma.end:
                return vma
        return None

    def above(self, address: int) -> Vma | None:
        """The first area that starts above an address."""
        index = bisect_right(self.starts, address)
        return self.vmas[index] if index < len(self.vmas) else None

    def find_below(self, address: int) -> Vma | None:
        """The last area that starts at or below an address."""
        index = bisect_right(self.starts, address) - 1
        return self.vmas[index] if index >= 0 else None

    def lower(self, vma: Vma, start: int, offset: int) -> None:
        """Extend an area downwards (a stack that grows)."""
        self.starts[bisect_left(self.starts, vma.start)] = start
        vma.start = start
        vma.offset = offset

    def overlapping(self, start: int, end: int) -> list[Vma]:
        low = bisect_right(self.starts, start) - 1
        if low < 0 or self.vmas[low].end <= start:
            low += 1
        return self.vmas[low : bisect_left(self.starts, end)]

    def insert(self, vma: Vma) -> Vma:
        """Add an area to a free range, merged with its neighbours where they continue each other."""
        index = bisect_left(self.starts, vma.start)
        if index and self.vmas[index - 1].continues(vma):
            previous = self.vmas[index - 1]
            previous.end = vma.end
            vma = previous
            index -= 1
        else:
            self.starts.insert(index, vma.start)
            self.vmas.insert(index, vma)
        if index + 1 < len(self.vmas) and vma.continues(self.vmas[index + 1]):
            vma.end = self.vmas[index + 1].end
            del self.starts[index + 1], self.vmas[index + 1]
        return vma

    def cut(self, start: int, end: int) -> list[Vma]:
        """Take [start, end) out; returns the pieces that were there."""
        taken = self.overlapping(start, end)
        if not taken:
            return taken
        low = bisect_left(self.starts, taken[0].start)
        pieces = [vma.part(max(start, vma.start), min(end, vma.end)) for vma in taken]
        rest = []
        if taken[0].start < start:
            rest.append(taken[0].part(taken[0].start, start))
        if end < taken[-1].end:
            rest.append(taken[-1].part(end, taken[-1].end))
        self.starts[low : low + len(taken)] = [vma.start for vma in rest]
        self.vmas[low : low + len(taken)] = rest
        return pieces

    def lowest_gap_below(self, limit: int, length: int, floor: int) -> int | None:
        """Start of the highest free range of `length` bytes below `limit`, as Linux places mappings top-down."""
        index = bisect_left(self.starts, limit) - 1
        top = limit
        while index >= 0:
            vma = self.vmas[index]
            if top - vma.end >= length:
                break
            top = min(top, vma.start)
            index -= 1
        return top - length if top - length >= floor else None

    def clear(self) -> None:
        self.starts.clear()
        self.vmas.clear()
