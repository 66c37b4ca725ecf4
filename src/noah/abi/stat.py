"""stat.h: file types, mode bits, statx masks."""

from __future__ import annotations

from typing import Final

# File types: st_mode & S_IFMT
S_IFMT: Final = 0o170000
S_IFSOCK: Final = 0o140000
S_IFLNK: Final = 0o120000
S_IFREG: Final = 0o100000
S_IFBLK: Final = 0o60000
S_IFDIR: Final = 0o40000
S_IFCHR: Final = 0o20000
S_IFIFO: Final = 0o10000

# Mode bits
S_ISUID: Final = 0o4000
S_ISGID: Final = 0o2000
S_ISVTX: Final = 0o1000
S_IRWXU: Final = 0o700
S_IRUSR: Final = 0o400
S_IWUSR: Final = 0o200
S_IXUSR: Final = 0o100
S_IRWXG: Final = 0o70
S_IRGRP: Final = 0o40
S_IWGRP: Final = 0o20
S_IXGRP: Final = 0o10
S_IRWXO: Final = 7
S_IROTH: Final = 4
S_IWOTH: Final = 2
S_IXOTH: Final = 1

# statx(2): which fields are wanted, which were filled in
STATX_TYPE: Final = 1
STATX_MODE: Final = 2
STATX_NLINK: Final = 4
STATX_UID: Final = 8
STATX_GID: Final = 0x10
STATX_ATIME: Final = 0x20
STATX_MTIME: Final = 0x40
STATX_CTIME: Final = 0x80
STATX_INO: Final = 0x100
STATX_SIZE: Final = 0x200
STATX_BLOCKS: Final = 0x400
STATX_BASIC_STATS: Final = 0x7FF
STATX_BTIME: Final = 0x800
STATX_ALL: Final = 0xFFF
STATX_MNT_ID: Final = 0x1000
STATX_DIOALIGN: Final = 0x2000
STATX_MNT_ID_UNIQUE: Final = 0x4000  # v6.8
STATX_SUBVOL: Final = 0x8000  # v6.10
STATX_WRITE_ATOMIC: Final = 0x10000  # v6.11
STATX__RESERVED: Final = 0x80000000

# stx_attributes
STATX_ATTR_COMPRESSED: Final = 4
STATX_ATTR_IMMUTABLE: Final = 0x10
STATX_ATTR_APPEND: Final = 0x20
STATX_ATTR_NODUMP: Final = 0x40
STATX_ATTR_ENCRYPTED: Final = 0x800
STATX_ATTR_AUTOMOUNT: Final = 0x1000
STATX_ATTR_MOUNT_ROOT: Final = 0x2000
STATX_ATTR_VERITY: Final = 0x100000
STATX_ATTR_DAX: Final = 0x200000

# Values of tv_nsec for utimensat(2)
UTIME_NOW: Final = 0x3FFFFFFF
UTIME_OMIT: Final = 0x3FFFFFFE


def makedev(major: int, minor: int) -> int:
    """A device number as stat(2) and mknod(2) carry it (include/linux/kdev_t.h: new_encode_dev)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & 0xFFF00) << 12


def major(dev: int) -> int:
    return dev >> 8 & 0xFFF


def minor(dev: int) -> int:
    return dev & 0xFF | dev >> 12 & 0xFFF00
