"""Flags of open(2) and F_SETFL, Linux' and the host's."""

from __future__ import annotations

import os
from typing import Final

from noah.abi import fcntl as linux
from noah.host.tables import Flags, named

# Access modes are no bits (and equal everywhere). O_LARGEFILE means nothing to a host.
_NO_BITS: Final = {"O_ACCMODE", "O_RDONLY", "O_WRONLY", "O_RDWR", "O_NDELAY", "O_LARGEFILE"}
_LINUX: Final = named(linux, "O_", without=_NO_BITS) | {"O_ASYNC": linux.FASYNC}

OPEN: Final = Flags(_LINUX, named(os, "O_"))
"""All that the host has."""

POSIX: Final = Flags(
    {name: value for name, value in _LINUX.items() if name not in {"O_PATH", "O_TMPFILE", "O_NOATIME", "O_DIRECT"}},
    named(os, "O_"),
)
"""What any POSIX host has."""

ALWAYS: Final = os.O_CLOEXEC | os.O_NOCTTY
