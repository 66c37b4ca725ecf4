"""Capabilities of files (capabilities(7)): the security.capability attribute, struct vfs_cap_data."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.capability import (
    CAP_FULL_SET,
    VFS_CAP_FLAGS_EFFECTIVE,
    VFS_CAP_REVISION_1,
    VFS_CAP_REVISION_2,
    VFS_CAP_REVISION_3,
    VFS_CAP_REVISION_MASK,
)
from noah.abi.errno import EINVAL, LinuxError
from noah.vfs.credentials import FileCapabilities
from noah.vfs.file import OpenFile

_NAME: Final = b"security.capability"
_WORDS: Final = {VFS_CAP_REVISION_1: 3, VFS_CAP_REVISION_2: 5, VFS_CAP_REVISION_3: 6}


def of_file(file: OpenFile) -> FileCapabilities | None:
    """Those of a program; None if it has none. EINVAL for an attribute that is damaged."""
    try:
        value = file.place().getxattr(_NAME)
    except LinuxError:
        return None
    return parse(value)


def parse(value: bytes) -> FileCapabilities | None:
    """get_vfs_caps_from_disk(). EINVAL."""
    words = [word for (word,) in struct.iter_unpack("<I", value[: len(value) & -4])]
    if not words or len(value) != 4 * _WORDS.get(words[0] & VFS_CAP_REVISION_MASK, 0):
        raise LinuxError(EINVAL)
    if len(words) == 6 and words[5] != 0:
        return None  # of root of another user namespace
    high = words[3:5] if len(words) > 3 else [0, 0]
    return FileCapabilities(
        (words[1] | high[0] << 32) & CAP_FULL_SET,
        (words[2] | high[1] << 32) & CAP_FULL_SET,
        bool(words[0] & VFS_CAP_FLAGS_EFFECTIVE),
    )
