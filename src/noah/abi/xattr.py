"""xattr.h: extended attributes."""

from __future__ import annotations

from typing import Final

# setxattr(2)
XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2

# Longest name, value, list
XATTR_NAME_MAX: Final = 255
XATTR_SIZE_MAX: Final = 65536
XATTR_LIST_MAX: Final = 65536
