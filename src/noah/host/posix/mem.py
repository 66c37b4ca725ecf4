"""Host memory by address on any POSIX host."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Final

from noah.abi import mman as linux
from noah.abi.errno import ENOSYS, LinuxError
from noah.host.errnos import from_host
from noah.host.posix.libc import LIBC, check, last_error
from noah.host.tables import Flags, Numbers, named

_MAP_FAILED: Final = (1 << 8 * ctypes.sizeof(ctypes.c_void_p)) - 1
_ADVICE: Final = Numbers(named(linux, "MADV_"), named(mmap, "MADV_"))
# Python has no names for these; sys/mman.h of macOS and the BSDs.
_MS_SYNC: Final = linux.MS_SYNC if sys.platform == "linux" else 0x10
_MSYNC: Final = Flags(named(linux, "MS_"), {"MS_ASYNC": 1, "MS_INVALIDATE": 2, "MS_SYNC": _MS_SYNC})


class PosixMem:
    """See noah.host.api.Mem."""

    __slots__ = ("page_size",)

    def __init__(self) -> None:
        self.page_size = mmap.PAGESIZE

    def madvise(self, address: int, length: int, advice: int) -> None:
        check(LIBC.madvise(address, length, _ADVICE.to_host(advice)))

    def mlock(self, address: int, length: int) -> None:
        check(LIBC.mlock(address, length))

    def munlock(self, address: int, length: int) -> None:
        check(LIBC.munlock(address, length))

    def msync(self, address: int, length: int, flags: int) -> None:
        check(LIBC.msync(address, length, _MSYNC.to_host(flags)))

    def mincore(self, address: int, length: int) -> bytes:
        pages = ctypes.create_string_buffer(-(-length // self.page_size))
        check(LIBC.mincore(address, length, pages))
        return pages.raw

    def safe_read(self, address: int, count: int) -> bytes:
        return ctypes.string_at(address, count)

    def futex(
        self, address: int, op: int, value: int, limit_ns: int | None = None, other: int = 0, last: int = 0
    ) -> int:
        raise LinuxError(ENOSYS)

    def membarrier(self, command: int, flags: int, cpu: int) -> int:
        raise LinuxError(ENOSYS)

    def shared(self, size: int, fd: int = -1, offset: int = 0) -> memoryview:
        try:
            if fd >= 0 and os.fstat(fd).st_size < offset + size:
                os.ftruncate(fd, offset + size)
            return memoryview(mmap.mmap(fd, size, offset=offset))
        except OSError as error:
            raise from_host(error) from None

    def clear(self, fd: int, offset: int, length: int) -> None:
        # Not with Python's mmap, which closes a duplicate of fd afterwards: record locks of the file would be gone.
        prot, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED
        at = LIBC.mmap(None, length, prot, flags, fd, offset)
        if at in (None, _MAP_FAILED):
            raise last_error()
        ctypes.memset(at, 0, length)
        LIBC.munmap(at, length)

    def address(self, memory: memoryview) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))
