"""Structures of asynchronous I/O (linux/aio_abi.h)."""

from __future__ import annotations

from noah.abi.layout import Layout, i16, i64, u16, u32, u64


class Iocb(Layout, size=64):
    """struct iocb of a little-endian machine"""

    data: u64
    key: u32
    rw_flags: u32
    opcode: u16
    reqprio: i16
    fildes: u32
    buf: u64
    nbytes: u64
    offset: i64
    reserved2: u64
    flags: u32
    resfd: u32


class IoEvent(Layout, size=32):
    """struct io_event"""

    data: u64
    obj: u64
    res: i64
    res2: i64
