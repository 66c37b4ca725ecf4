"""The arena: one reserved range of host addresses behind all guest memory of a process.

Guest-physical address = offset in the arena. It is reserved with PROT_NONE and costs nothing until something is placed
in it: anonymous memory, or a host mapping of a file. Freed ranges go back to PROT_NONE, which also makes the host
invalidate every translation that a hypervisor holds for them (MMU notifiers): this is how a removed guest mapping
becomes invisible to all vCPUs at once.
"""

from __future__ import annotations

import ctypes
import mmap as hostmmap
import os
from bisect import bisect_left, bisect_right
from typing import Final

PAGE: Final = 4096
HUGE: Final = 2 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_mmap.restype = ctypes.c_void_p
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_mprotect = _libc.mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_madvise = _libc.madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_PROT_NONE: Final = 0
_mremap = getattr(_libc, "mremap", None)  # Linux only
if _mremap is not None:
    _mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
    _mremap.restype = ctypes.c_void_p
_MAP_FAILED: Final = (1 << 64) - 1
_MAP_FIXED: Final = 0x10  # the same on Linux and macOS
_MAP_NORESERVE: Final = getattr(hostmmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0x40)
_MADV_DONTFORK: Final = getattr(hostmmap, "MADV_DONTFORK", -1)  # Linux only
_MADV_DOFORK: Final = getattr(hostmmap, "MADV_DOFORK", -1)
_PRIVATE_ANONYMOUS: Final = hostmmap.MAP_PRIVATE | hostmmap.MAP_ANONYMOUS
_RW: Final = hostmmap.PROT_READ | hostmmap.PROT_WRITE


def _place(address: int, length: int, prot: int, flags: int, fd: int = -1, offset: int = 0) -> int:
    result = _mmap(address, length, prot, flags, fd, offset)
    if result is None or result == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


class Arena:
    """Host memory for guests: allocate, back, free. Offsets and lengths are multiples of 4 KiB.

    Raises MemoryError when the range is full, OSError when the host refuses a mapping.
    """

    __slots__ = ("_buffer", "_ends", "_starts", "address", "size", "top", "view", "words")

    def __init__(self, size: int = 512 << 30) -> None:
        self.size = size
        base = _place(0, size + HUGE, _PROT_NONE, _PRIVATE_ANONYMOUS | _MAP_NORESERVE)
        self.address = -(-base // HUGE) * HUGE  # so that huge guest pages can be huge host pages
        self._buffer = (ctypes.c_char * size).from_address(self.address)
        self.view = memoryview(self._buffer).cast("B")
        """Bytes of the whole arena. Touch only what was placed and, for files, what lies before the file's end."""
        self.words = self.view.cast("Q")
        self._starts: list[int] = [0]  # free ranges, sorted
        self._ends: list[int] = [size]
        self.top = 0
        """End of the highest range ever allocated: what an engine must make visible to the guest."""

    def alloc(self, length: int, congruent: int = 0) -> int:
        """Take a free range. From 2 MiB on its offset is congruent to `congruent` modulo 2 MiB. It stays PROT_NONE."""
        skew = congruent % HUGE if length >= HUGE else 0
        step = HUGE if length >= HUGE else PAGE
        for index, start in enumerate(self._starts):
            at = start + (skew - start) % step
            if at + length <= self._ends[index]:
                self._take(index, at, at + length)
                self.top = max(self.top, at + length)
                return at
        raise MemoryError("the guest memory arena is full")

    def take(self, offset: int, length: int) -> bool:
        """Take just this range, if it is free."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset + length > self._ends[index]:
            return False
        self._take(index, offset, offset + length)
        self.top = max(self.top, offset + length)
        return True

    def _take(self, index: int, start: int, end: int) -> None:
        free_start, free_end = self._starts[index], self._ends[index]
        pieces = [(a, b) for a, b in ((free_start, start), (end, free_end)) if a < b]
        self._starts[index : index + 1] = [a for a, _ in pieces]
        self._ends[index : index + 1] = [b for _, b in pieces]

    def anonymous(self, offset: int, length: int) -> None:
        """Back a range with zero-filled private memory."""
        _place(self.address + offset, length, _RW, _PRIVATE_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE)

    def shared(self, offset: int, length: int) -> None:
        """Back a range with zero-filled memory that a forked child shares."""
        _place(self.address + offset, length, _RW, hostmmap.MAP_SHARED | hostmmap.MAP_ANONYMOUS | _MAP_FIXED)

    def file(self, offset: int, length: int, fd: int, file_offset: int, *, shared: bool, writable: bool) -> None:
        """Back a range with pages of a host file; private ones are copied when written."""
        prot = _RW if writable or not shared else hostmmap.PROT_READ
        kind = hostmmap.MAP_SHARED if shared else hostmmap.MAP_PRIVATE | _MAP_NORESERVE
        _place(self.address + offset, length, prot, kind | _MAP_FIXED, fd, file_offset)

    def free(self, offset: int, length: int) -> None:
        """Give a range back. Every translation to it is gone when this returns."""
        try:
            _place(self.address + offset, length, _PROT_NONE, _PRIVATE_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE)
        except OSError:  # the host has no more mappings to give: the pages go, their place stays accessible to Noah
            self.discard(offset, length)
        end = offset + length
        low = bisect_left(self._ends, offset)
        high = bisect_right(self._starts, end)
        if low < high:  # merge with the neighbours that touch it
            offset = min(offset, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [offset]
        self._ends[low:high] = [end]

    def reset(self) -> None:
        """Free everything."""
        if self.top:
            _place(self.address, self.top, _PROT_NONE, _PRIVATE_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE)
        self._starts, self._ends, self.top = [0], [self.size], 0

    def show_to_children(self, show: bool) -> None:
        """Whether processes that are forked get copies of what is there; else they can only reset()."""
        if _madvise(self.address, self.top, _MADV_DOFORK if show else _MADV_DONTFORK):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def discard(self, offset: int, length: int) -> None:
        """Drop the contents (madvise(2) MADV_DONTNEED): anonymous pages read as zero afterwards."""
        if _madvise(self.address + offset, length, hostmmap.MADV_DONTNEED):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def invalidate(self, offset: int, length: int) -> None:
        """Make hypervisors forget their translations without changing the contents (10-30 us)."""
        at = self.address + offset
        if _mprotect(at, length, _PROT_NONE) or (
            _mprotect(at, length, _RW) and _mprotect(at, length, hostmmap.PROT_READ)  # a read-only shared file
        ):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def move(self, offset: int, length: int, to: int) -> bool:
        """Move pages to another range by the host's mremap(2); what was at `to` is dropped. False: not done."""
        if _mremap is None:
            return False
        result = _mremap(self.address + offset, length, length, 3, self.address + to)  # MAYMOVE | FIXED
        if result is None or result == _MAP_FAILED:
            return False
        _place(self.address + offset, length, _PROT_NONE, _PRIVATE_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE)
        return True

    def alias(self, offset: int, length: int, to: int) -> bool:
        """Show the shared pages that begin at `offset` at `to` as well (mremap(2) of length 0). False: not done."""
        if _mremap is None:
            return False
        result = _mremap(self.address + offset, 0, length, 3, self.address + to)
        return result is not None and result != _MAP_FAILED
