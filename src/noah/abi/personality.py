"""personality.h: execution domains (personality(2))."""

from __future__ import annotations

from typing import Final

PER_MASK: Final = 0xFF
PER_LINUX: Final = 0
PER_LINUX32: Final = 8
UNAME26: Final = 0x0020000
ADDR_NO_RANDOMIZE: Final = 0x0040000
QUERY: Final = 0xFFFFFFFF
