"""Modules that are imported when they are first needed: a guest's user may be one who cannot read them then."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

_LATE: Final = (
    "hashlib",
    "ipaddress",
    "logging",
    "noah.host.posix.interfaces",
    "socket",
    "tempfile",
    "traceback",
)


def can_import() -> bool:
    """Whether who the host takes this process for can read what it may yet import."""
    if all(name in sys.modules for name in _LATE):
        return True
    try:
        for file in (__file__, os.__file__):
            os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def import_all() -> None:
    for name in _LATE:
        importlib.import_module(name)
