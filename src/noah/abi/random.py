"""random.h: getrandom(2)."""

from __future__ import annotations

from typing import Final

GRND_NONBLOCK: Final = 1
GRND_RANDOM: Final = 2
GRND_INSECURE: Final = 4
