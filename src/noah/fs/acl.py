"""POSIX access control lists (acl(5)), in the form that extended attributes have: posix_acl_xattr_header, _entry."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.errno import EINVAL, EOPNOTSUPP, LinuxError

if TYPE_CHECKING:
    from noah.vfs.credentials import Credentials

USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20
_NAMED: Final = (USER, GROUP)
_TAGS: Final = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)
_SHIFTS: Final = {USER_OBJ: 6, GROUP_OBJ: 3, MASK: 3, OTHER: 0}
_HEAD: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_VERSION: Final = 2


class Entry(NamedTuple):
    """id: of a user or group that is named."""

    tag: int
    permissions: int
    id: int


def parse(value: bytes) -> list[Entry]:
    """posix_acl_from_xattr() and posix_acl_valid(); an empty list for none. EINVAL, EOPNOTSUPP."""
    if len(value) < _HEAD.size or (len(value) - _HEAD.size) % _ENTRY.size:
        raise LinuxError(EINVAL)
    if _HEAD.unpack_from(value)[0] != _VERSION:
        raise LinuxError(EOPNOTSUPP)
    entries = [Entry(*fields) for fields in _ENTRY.iter_unpack(value[_HEAD.size :])]
    tags = [entry.tag for entry in entries]
    if entries and (
        any(tag not in _TAGS or entry.permissions & ~7 for tag, entry in zip(tags, entries, strict=True))
        or tags != sorted(tags)
        or any(tags.count(tag) != 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER))
        or tags.count(MASK) > 1
        or (MASK not in tags and any(tag in _NAMED for tag in tags))
    ):
        raise LinuxError(EINVAL)
    return entries


def pack(entries: list[Entry]) -> bytes:
    return _HEAD.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def is_minimal(entries: list[Entry]) -> bool:
    """Whether a mode says it all: posix_acl_equiv_mode()."""
    return all(entry.tag not in (*_NAMED, MASK) for entry in entries)


def mode_of(entries: list[Entry]) -> int:
    """The permission bits that a file with this list shows."""
    bits = {entry.tag: entry.permissions for entry in entries}
    return bits[USER_OBJ] << 6 | bits.get(MASK, bits[GROUP_OBJ]) << 3 | bits[OTHER]


def masked(entries: list[Entry], mode: int) -> list[Entry]:
    """The list of a new file that is made with this mode: posix_acl_create_masq()."""
    limits = _of_mode(entries)
    return [
        entry._replace(permissions=entry.permissions & mode >> _SHIFTS[entry.tag]) if entry.tag in limits else entry
        for entry in entries
    ]


def with_mode(entries: list[Entry], mode: int) -> list[Entry]:
    """The list after chmod(2): __posix_acl_chmod_masq()."""
    limits = _of_mode(entries)
    return [
        entry._replace(permissions=mode >> _SHIFTS[entry.tag] & 7) if entry.tag in limits else entry
        for entry in entries
    ]


def _of_mode(entries: list[Entry]) -> tuple[int, ...]:
    """The tags whose permissions are those of the mode."""
    return USER_OBJ, GROUP_OBJ if is_minimal(entries) else MASK, OTHER


def permits(entries: list[Entry], creds: Credentials, gid: int, wanted: int) -> bool:
    """posix_acl_permission() for somebody who does not own the file. gid: the file's group."""
    mask = next((entry.permissions for entry in entries if entry.tag == MASK), 7)
    in_group = False
    for tag, permissions, id in entries:
        if tag == USER and id == creds.fsuid:
            return not wanted & ~(permissions & mask)
        if (tag == GROUP_OBJ and creds.in_group(gid)) or (tag == GROUP and creds.in_group(id)):
            in_group = True
            if not wanted & ~permissions:
                return not wanted & ~(permissions & mask)
        if tag == OTHER:
            return not in_group and not wanted & ~permissions
    return False
