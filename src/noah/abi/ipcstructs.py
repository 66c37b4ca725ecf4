"""Structures of System V IPC and POSIX message queues. struct semid64_ds is in the architectures' modules."""

from __future__ import annotations

from typing import ClassVar

from noah.abi.layout import Layout, char48, i16, i32, i64, pad2, pad4, pad8, u16, u32, u64


class IpcPerm(Layout, size=48):
    """struct ipc64_perm; key_t is signed in C, where it is shown as hexadecimal all the same"""

    key: u32
    uid: u32
    gid: u32
    cuid: u32
    cgid: u32
    mode: u32
    seq: u16
    _pad2: ClassVar[pad2]
    _pad4: ClassVar[pad4]
    _unused1: ClassVar[pad8]
    _unused2: ClassVar[pad8]


class MsqidDs(Layout, size=120):
    """struct msqid64_ds; `perm` is an IpcPerm."""

    perm: char48
    stime: i64
    rtime: i64
    ctime: i64
    cbytes: u64
    qnum: u64
    qbytes: u64
    lspid: i32
    lrpid: i32
    _unused4: ClassVar[pad8]
    _unused5: ClassVar[pad8]


class ShmidDs(Layout, size=112):
    """struct shmid64_ds; `perm` is an IpcPerm."""

    perm: char48
    segsz: u64
    atime: i64
    dtime: i64
    ctime: i64
    cpid: i32
    lpid: i32
    nattch: u64
    _unused4: ClassVar[pad8]
    _unused5: ClassVar[pad8]


class Seminfo(Layout, size=40):
    """struct seminfo"""

    semmap: i32
    semmni: i32
    semmns: i32
    semmnu: i32
    semmsl: i32
    semopm: i32
    semume: i32
    semusz: i32
    semvmx: i32
    semaem: i32


class Msginfo(Layout, size=32):
    """struct msginfo"""

    msgpool: i32
    msgmap: i32
    msgmax: i32
    msgmnb: i32
    msgmni: i32
    msgssz: i32
    msgtql: i32
    msgseg: u16
    _pad: ClassVar[pad2]


class Shminfo64(Layout, size=72):
    """struct shminfo64"""

    shmmax: u64
    shmmin: u64
    shmmni: u64
    shmseg: u64
    shmall: u64
    _unused1: ClassVar[pad8]
    _unused2: ClassVar[pad8]
    _unused3: ClassVar[pad8]
    _unused4: ClassVar[pad8]


class ShmInfo(Layout, size=48):
    """struct shm_info"""

    used_ids: i32
    _pad: ClassVar[pad4]
    shm_tot: u64
    shm_rss: u64
    shm_swp: u64
    swap_attempts: u64
    swap_successes: u64


class Sembuf(Layout, size=6):
    """struct sembuf"""

    num: u16
    op: i16
    flg: i16


class MqAttr(Layout, size=64):
    """struct mq_attr"""

    flags: i64
    maxmsg: i64
    msgsize: i64
    curmsgs: i64
    _reserved1: ClassVar[pad8]
    _reserved2: ClassVar[pad8]
    _reserved3: ClassVar[pad8]
    _reserved4: ClassVar[pad8]
