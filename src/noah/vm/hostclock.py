"""The host kernel's own vDSO, lent to the guest.

A Linux kernel maps two things into each process: data pages with the state of its clocks ([vvar], kept current by the
kernel) and code that reads them with the time stamp counter ([vdso]). An engine whose guest sees the host's counter can
map both into a guest: clock_gettime(2) then costs what it costs natively, and is exact. Both must lie at their distance
from each other.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

_DATA: Final = ("[vvar]", "[vvar_vclock]")
_CODE: Final = "[vdso]"


class HostClock:
    """Where this process has the pages. `data` are (offset from the first data page, host address, length)."""

    __slots__ = ("code_offset", "data", "image", "size")

    def __init__(self, data: list[tuple[int, int, int]], code_offset: int, image: bytes) -> None:
        self.data = data
        self.code_offset = code_offset
        self.image = image
        self.size = code_offset + len(image)


def find() -> HostClock | None:
    """Read from /proc/self/maps; None where there is no such thing, or it looks unfamiliar."""
    regions: dict[str, tuple[int, int]] = {}
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                name = line.rsplit(None, 1)[-1]
                if name in _DATA or name == _CODE:
                    low, _, high = line.split(" ", 1)[0].partition("-")
                    regions[name] = int(low, 16), int(high, 16)
    except OSError:
        return None
    if _CODE not in regions or _DATA[0] not in regions:
        return None
    base = min(start for start, _ in regions.values())
    start, end = regions.pop(_CODE)
    if start - base > 1 << 20 or start < base:
        return None
    image = ctypes.string_at(start, end - start)
    data = [(first - base, first, last - first) for first, last in regions.values()]
    return HostClock(data, start - base, image)


def symbol(image: bytes, name: bytes) -> int:
    """Address of a dynamic symbol of a vDSO image, relative to its start; 0 if there is none (elf(5))."""
    phoff = struct.unpack_from("<Q", image, 32)[0]
    count = struct.unpack_from("<H", image, 56)[0]
    strings = symbols = 0
    for index in range(count):
        kind, _, offset = struct.unpack_from("<IIQ", image, phoff + 56 * index)
        if kind == 2:  # PT_DYNAMIC
            while True:
                tag, value = struct.unpack_from("<QQ", image, offset)
                offset += 16
                if not tag:
                    break
                if tag == 5:  # DT_STRTAB
                    strings = value
                elif tag == 6:  # DT_SYMTAB
                    symbols = value
    if not strings or not symbols:
        return 0
    # The string table follows the symbol table in a vDSO: that bounds the walk.
    for offset in range(symbols, strings if strings > symbols else symbols, 24):
        where, _, _, section, value = struct.unpack_from("<IBBHQ", image, offset)
        end = image.index(b"\0", strings + where)
        if section and image[strings + where : end] == name:
            return int(value)
    return 0
