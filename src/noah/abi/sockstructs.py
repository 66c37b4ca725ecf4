"""Structures of sockets: addresses, messages, options. The same on x86-64 and aarch64.

Field names are without their C prefix (sin_, msg_, ...). A Unix address is a u16 family and up to UNIX_PATH_MAX bytes.
"""

from __future__ import annotations

from typing import ClassVar

from noah.abi.layout import Layout, char2, char4, char16, i32, pad2, pad4, pad8, u16, u32, u64


class SockaddrIn(Layout, size=16):
    family: u16
    port: char2  # big endian
    addr: char4
    _pad0: ClassVar[pad8]


class SockaddrIn6(Layout, size=28):
    family: u16
    port: char2  # big endian
    flowinfo: u32
    addr: char16
    scope_id: u32


class SockaddrNl(Layout, size=12):
    family: u16
    _pad0: ClassVar[pad2]
    pid: u32
    groups: u32


class Msghdr(Layout, size=56):
    name: u64
    namelen: i32
    _pad0: ClassVar[pad4]
    iov: u64
    iovlen: u64
    control: u64
    controllen: u64
    flags: u32
    _pad1: ClassVar[pad4]


class Cmsghdr(Layout, size=16):
    """The data follow; the next header is aligned to 8."""

    len: u64
    level: i32
    type: i32


class Ucred(Layout, size=12):
    pid: i32
    uid: u32
    gid: u32


class Linger(Layout, size=8):
    onoff: i32
    linger: i32
