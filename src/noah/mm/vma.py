"""Virtual memory areas: what is mapped where, and what stands behind it.

Each area is linear: guest address minus `start` plus `offset` is a place in the arena. An area with `offset` NOWHERE is
a reservation: it costs nothing, and gets memory when mprotect(2) makes it accessible.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from noah.abi.mman import (
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_SHARED,
    MAP_TYPE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)
from noah.host.api import Files
from noah.vm.api import EXEC, READ, WRITE
from noah.vm.arena import PAGE

MMAP_MIN: Final = 0x10000  # vm.mmap_min_addr

NOWHERE: Final = -1
HOST_CLOCK: Final = -2
"""The `offset` of pages that the engine lends and that are not in the arena ([vvar])."""
STACK_GAP: Final = 256 * PAGE  # stack_guard_gap: nothing is placed this close below a stack


def page_align(length: int) -> int:
    """PAGE_ALIGN() of an unsigned long: lengths of the last page become 0."""
    return (length + PAGE - 1) & 0xFFFF_FFFF_FFFF_F000


def engine_prot(prot: int) -> int:
    """x86-64 and aarch64 user pages that can be written or executed can be read as well."""
    bits = READ if prot & (PROT_READ | PROT_WRITE | PROT_EXEC) else 0
    if prot & PROT_WRITE:
        bits |= WRITE
    if prot & PROT_EXEC:
        bits |= EXEC
    return bits


class MappedFile:
    """An open host file behind mappings; lives as long as an area refers to it."""

    __slots__ = (
        "__weakref__",
        "_files",
        "base",
        "device",
        "executable",
        "fd",
        "inode",
        "path",
        "strings",
        "writable",
    )

    def __init__(self, files: Files, fd: int, path: bytes, device: int, inode: int, *, writable: bool) -> None:
        self._files = files
        self.fd = fd  # ours: a duplicate
        self.base = 0  # where the file begins in what the descriptor stands for
        self.path = path  # as /proc/self/maps shows it
        self.device = device
        self.inode = inode
        self.writable = writable
        self.executable = False  # some of it was mapped to be executed: it is a program or a library
        self.strings: dict[int, bytes] = {}
        """What UserMemory.string() found in a program, by file offset."""

    def size(self) -> int:
        return self._files.fstat(self.fd).size

    def read_at(self, offset: int, count: int) -> bytes:
        """What a private mapping shows that nobody could write to. Short at the end of the file."""
        return self._files.pread(self.fd, count, self.base + offset)

    def __del__(self) -> None:
        self._files.close_quietly(self.fd)


class SharedMemory(MappedFile):
    """What MAP_SHARED | MAP_ANONYMOUS maps: a file without a name, as in Linux (shmem_zero_setup()). Its size stays."""

    __slots__ = ("_size",)

    def __init__(self, files: Files, size: int, inode: int) -> None:
        super().__init__(files, -1, b"/dev/zero (deleted)", 1, inode, writable=True)
        self._size = size

    def size(self) -> int:
        return self._size


class Vma:
    """One area [start, end). `prot` and `flags` are Linux' PROT_* and MAP_* values."""

    __slots__ = (
        "advice",
        "end",
        "file",
        "file_offset",
        "flags",
        "floor",
        "name",
        "offset",
        "pristine",
        "prot",
        "start",
    )

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
        self.advice = 0  # what madvise(2) was told and stays so: bit MADV_* for each
        self.pristine = file is not None and flags & MAP_TYPE != MAP_SHARED and not prot & PROT_WRITE
        """A private mapping of a file that never was writable: it shows what the file has."""

    def part(self, start: int, end: int) -> Vma:
        """A copy of the piece [start, end)."""
        skip = start - self.start
        piece = self.like(start, end, skip)
        piece.offset = self.offset + skip if self.offset >= 0 else self.offset
        if start == self.start:
            piece.floor = self.floor
        return piece

    def like(self, start: int, end: int, skip: int = 0) -> Vma:
        """An area of the same kind elsewhere, with nothing behind it yet; `skip` bytes further on in the file."""
        file_offset = self.file_offset + skip if self.file else 0
        other = Vma(start, end, self.prot, self.flags, NOWHERE, self.file, file_offset, self.name)
        other.advice = self.advice
        other.pristine = self.pristine
        return other

    def alike(self, other: Vma) -> bool:
        """Whether `other`, right behind this one, is what Linux would have in one area with it."""
        return (
            self.end == other.start
            and self.prot == other.prot
            and self.flags == other.flags
            and self.file is other.file
            and self.name == other.name
            and self.advice == other.advice
            and (self.file is None or other.file_offset == self.file_offset + self.end - self.start)
        )

    def continues(self, other: Vma) -> bool:
        """Whether `other` is alike and goes on in the arena as well."""
        return (
            self.alike(other)
            and self.pristine == other.pristine
            and other.offset == (NOWHERE if self.offset == NOWHERE else self.offset + self.end - self.start)
        )


class VmaMap:
    """Areas in address order; they never overlap. Counts bytes as Linux does for its limits."""

    __slots__ = ("_searched", "_shown", "data", "locked", "starts", "total", "vmas")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.vmas: list[Vma] = []
        self.total = 0  # VmSize, RLIMIT_AS
        self.data = 0  # private and writable, no stack: RLIMIT_DATA
        self.locked = 0  # VmLck, RLIMIT_MEMLOCK
        self._searched = (0, 0, 0)  # limit, length and result of the last highest_gap(): nothing longer is above

        self._shown: memoryview | None = None

    def show(self, pages: memoryview) -> None:
        """Keep the number of mapped pages there, for other processes."""
        self._shown = pages
        pages[0] = self.total // PAGE & 0xFFFF_FFFF

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
        self._count(vma, -1)
        self.starts[bisect_left(self.starts, vma.start)] = start
        vma.start = start
        vma.offset = offset
        self._count(vma, 1)

    def overlapping(self, start: int, end: int) -> list[Vma]:
        low = bisect_right(self.starts, start) - 1
        if low < 0 or self.vmas[low].end <= start:
            low += 1
        return self.vmas[low : bisect_left(self.starts, end)]

    def count_between(self, start: int, end: int) -> int:
        """Bytes mapped in a range."""
        return sum(min(vma.end, end) - max(vma.start, start) for vma in self.overlapping(start, end))

    def _count(self, vma: Vma, sign: int) -> None:
        size = sign * (vma.end - vma.start)
        self.total += size
        if self._shown is not None:
            self._shown[0] = self.total // PAGE & 0xFFFF_FFFF
        if vma.prot & PROT_WRITE and not vma.flags & (MAP_SHARED | MAP_GROWSDOWN):
            self.data += size
        if vma.flags & MAP_LOCKED:
            self.locked += size

    def insert(self, vma: Vma) -> Vma:
        """Add an area to a free range, merged with its neighbours where they continue each other."""
        self._count(vma, 1)
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
        for piece in pieces:
            self._count(piece, -1)
        if end > self._searched[2]:
            self._searched = (0, 0, 0)
        return pieces

    def extent_end(self, vma: Vma) -> int:
        """Where Linux' area ends that holds this one: with what is alike behind it."""
        following = self.above(vma.start)
        while following is not None and vma.alike(following):
            vma = following
            following = self.above(vma.start)
        return vma.end

    def splits(self, start: int, end: int) -> int:
        """How many areas a cut() of this range adds to those that are outside of it."""
        first, last = self.find(start), self.find(end - 1)
        return int(first is not None and first.start < start) + int(last is not None and end < last.end)

    def highest_gap(self, limit: int, length: int, floor: int) -> int | None:
        """Start of the highest free range of `length` bytes below `limit`, as Linux places mappings top-down."""
        top = limit
        last_limit, last_length, last_result = self._searched
        if limit == last_limit and length >= last_length:
            top = min(limit, last_result + last_length)
        index = bisect_left(self.starts, top) - 1
        while index >= 0:
            vma = self.vmas[index]
            if top - vma.end >= length:
                break
            top = min(top, vma.start - (STACK_GAP if vma.flags & MAP_GROWSDOWN else 0))
            index -= 1
        if top - length < floor:
            return None
        self._searched = (limit, length, top - length)
        return top - length

    def lowest_gap(self, floor: int, length: int, limit: int) -> int | None:
        """Start of the lowest free range of `length` bytes from `floor` on that ends below `limit`."""
        bottom = floor
        for vma in self.overlapping(floor, limit):
            if vma.start - (STACK_GAP if vma.flags & MAP_GROWSDOWN else 0) - bottom >= length:
                break
            bottom = max(bottom, vma.end)
        return bottom if bottom + length <= limit else None

    def clear(self) -> None:
        self.starts.clear()
        self.vmas.clear()
        self.total = self.data = self.locked = 0
        self._searched = (0, 0, 0)
