"""Linux' structures that are the same on x86-64 and aarch64, field names without their C prefix (tv_, st_, ...).

Nested structures are written flat (`interval_sec`). What differs is in x86_64.py and aarch64.py, siginfo in siginfo.py,
sockets' in sockstructs.py, directory entries in dirent.py.
"""

from __future__ import annotations

from typing import ClassVar

from noah.abi.layout import (
    Layout,
    char8,
    char16,
    char19,
    char65,
    i16,
    i32,
    i64,
    pad1,
    pad2,
    pad4,
    pad8,
    u8,
    u16,
    u32,
    u64,
)

# Time


class Timespec(Layout, size=16):
    sec: i64
    nsec: i64


class Timeval(Layout, size=16):
    sec: i64
    usec: i64


class Timezone(Layout, size=8):
    minuteswest: i32
    dsttime: i32


class Itimerval(Layout, size=32):
    interval_sec: i64
    interval_usec: i64
    value_sec: i64
    value_usec: i64


class Itimerspec(Layout, size=32):
    interval_sec: i64
    interval_nsec: i64
    value_sec: i64
    value_nsec: i64


class Tms(Layout, size=32):
    """In ticks of USER_HZ."""

    utime: i64
    stime: i64
    cutime: i64
    cstime: i64


class Timex(Layout, size=208):
    modes: u32
    _pad0: ClassVar[pad4]
    offset: i64
    freq: i64
    maxerror: i64
    esterror: i64
    status: i32
    _pad1: ClassVar[pad4]
    constant: i64
    precision: i64
    tolerance: i64
    time_sec: i64
    time_usec: i64
    tick: i64
    ppsfreq: i64
    jitter: i64
    shift: i32
    _pad2: ClassVar[pad4]
    stabil: i64
    jitcnt: i64
    calcnt: i64
    errcnt: i64
    stbcnt: i64
    tai: i32
    _pad3: ClassVar[pad4]
    _pad4: ClassVar[pad8]
    _pad5: ClassVar[pad8]
    _pad6: ClassVar[pad8]
    _pad7: ClassVar[pad8]
    _pad8: ClassVar[pad8]


class Utimbuf(Layout, size=16):
    actime: i64
    modtime: i64


# Files


class Statx(Layout, size=256):
    mask: u32
    blksize: u32
    attributes: u64
    nlink: u32
    uid: u32
    gid: u32
    mode: u16
    _pad0: ClassVar[pad2]
    ino: u64
    size: u64
    blocks: u64
    attributes_mask: u64
    atime_sec: i64
    atime_nsec: u32
    _pad1: ClassVar[pad4]
    btime_sec: i64
    btime_nsec: u32
    _pad2: ClassVar[pad4]
    ctime_sec: i64
    ctime_nsec: u32
    _pad3: ClassVar[pad4]
    mtime_sec: i64
    mtime_nsec: u32
    _pad4: ClassVar[pad4]
    rdev_major: u32
    rdev_minor: u32
    dev_major: u32
    dev_minor: u32
    mnt_id: u64
    dio_mem_align: u32
    dio_offset_align: u32
    subvol: u64  # from here on v6.10 and later; zero without their bit in mask
    atomic_write_unit_min: u32
    atomic_write_unit_max: u32
    atomic_write_segments_max: u32
    dio_read_offset_align: u32
    _pad5: ClassVar[pad8]
    _pad6: ClassVar[pad8]
    _pad7: ClassVar[pad8]
    _pad8: ClassVar[pad8]
    _pad9: ClassVar[pad8]
    _pad10: ClassVar[pad8]
    _pad11: ClassVar[pad8]
    _pad12: ClassVar[pad8]
    _pad13: ClassVar[pad8]


class Statfs(Layout, size=120):
    type: i64
    bsize: i64
    blocks: u64
    bfree: u64
    bavail: u64
    files: u64
    ffree: u64
    fsid: u64
    namelen: i64
    frsize: i64
    flags: i64
    _pad0: ClassVar[pad8]
    _pad1: ClassVar[pad8]
    _pad2: ClassVar[pad8]
    _pad3: ClassVar[pad8]


class Iovec(Layout, size=16):
    base: u64
    len: u64


class Flock(Layout, size=32):
    type: i16
    whence: i16
    _pad0: ClassVar[pad4]
    start: i64
    len: i64
    pid: i32
    _pad1: ClassVar[pad4]


class FOwnerEx(Layout, size=8):
    type: i32
    pid: i32


class OpenHow(Layout, size=24):
    flags: u64
    mode: u64
    resolve: u64


class FileCloneRange(Layout, size=32):
    src_fd: i64
    src_offset: u64
    src_length: u64
    dest_offset: u64


class InotifyEvent(Layout, size=16):
    """The name follows, with as many NULs as `len` says."""

    wd: i32
    mask: u32
    cookie: u32
    len: u32


class PollFd(Layout, size=8):
    fd: i32
    events: u16
    revents: u16


class SigsetArg(Layout, size=16):
    """The last argument of pselect6(2) points at this."""

    sigmask: u64
    size: u64


# Processes


class Rlimit(Layout, size=16):
    cur: u64
    max: u64


class Rusage(Layout, size=144):
    utime_sec: i64
    utime_usec: i64
    stime_sec: i64
    stime_usec: i64
    maxrss: i64  # KiB
    ixrss: i64
    idrss: i64
    isrss: i64
    minflt: i64
    majflt: i64
    nswap: i64
    inblock: i64
    oublock: i64
    msgsnd: i64
    msgrcv: i64
    nsignals: i64
    nvcsw: i64
    nivcsw: i64


class Utsname(Layout, size=390):
    sysname: char65
    nodename: char65
    release: char65
    version: char65
    machine: char65
    domainname: char65


class Sysinfo(Layout, size=112):
    uptime: i64  # seconds
    load1: u64  # times 65,536
    load5: u64
    load15: u64
    totalram: u64  # this and the other sizes in mem_unit
    freeram: u64
    sharedram: u64
    bufferram: u64
    totalswap: u64
    freeswap: u64
    procs: u16
    _pad0: ClassVar[pad2]
    _pad1: ClassVar[pad4]
    totalhigh: u64
    freehigh: u64
    mem_unit: u32
    _pad2: ClassVar[pad4]


class CloneArgs(Layout, size=88):
    """clone3(2). Programs may hand in the first 64 or 80 bytes only: the rest is zero."""

    flags: u64
    pidfd: u64
    child_tid: u64
    parent_tid: u64
    exit_signal: u64
    stack: u64
    stack_size: u64
    tls: u64
    set_tid: u64
    set_tid_size: u64
    cgroup: u64


class RobustListHead(Layout, size=24):
    list: u64
    futex_offset: i64
    list_op_pending: u64


class FutexWaitv(Layout, size=24):
    val: u64
    uaddr: u64
    flags: u32
    reserved: u32


class SchedParam(Layout, size=4):
    priority: i32


class SchedAttr(Layout, size=56):
    size: u32
    policy: u32
    flags: u64
    nice: i32
    priority: u32
    runtime: u64
    deadline: u64
    period: u64
    util_min: u32
    util_max: u32


class CapHeader(Layout, size=8):
    version: u32
    pid: i32


class CapData(Layout, size=12):
    """32 capabilities; versions 2 and 3 of the header take two of these."""

    effective: u32
    permitted: u32
    inheritable: u32


# Signals; siginfo is in siginfo.py


class SigactionKernel(Layout, size=32):
    """Not the C library's struct sigaction, which has a longer mask in another place."""

    handler: u64
    flags: u64
    restorer: u64
    mask: u64


class StackT(Layout, size=24):
    sp: u64
    flags: i32
    _pad0: ClassVar[pad4]
    size: u64


class Sigevent(Layout, size=64):
    value: u64
    signo: i32
    notify: i32
    tid: i32  # for SIGEV_THREAD_ID
    _pad0: ClassVar[pad4]
    _pad1: ClassVar[pad8]
    _pad2: ClassVar[pad8]
    _pad3: ClassVar[pad8]
    _pad4: ClassVar[pad8]
    _pad5: ClassVar[pad8]


# Terminals


class Termios(Layout, size=36):
    iflag: u32
    oflag: u32
    cflag: u32
    lflag: u32
    line: u8
    cc: char19


class Termios2(Layout, size=44):
    iflag: u32
    oflag: u32
    cflag: u32
    lflag: u32
    line: u8
    cc: char19
    ispeed: u32  # bauds
    ospeed: u32


class Termio(Layout, size=18):
    """TCGETA's: the lower halves of the flags."""

    iflag: u16
    oflag: u16
    cflag: u16
    lflag: u16
    line: u8
    cc: char8
    _pad0: ClassVar[pad1]


class Winsize(Layout, size=8):
    row: u16
    col: u16
    xpixel: u16
    ypixel: u16


# Programs


class Ehdr(Layout, size=64):
    ident: char16
    type: u16
    machine: u16
    version: u32
    entry: u64
    phoff: u64
    shoff: u64
    flags: u32
    ehsize: u16
    phentsize: u16
    phnum: u16
    shentsize: u16
    shnum: u16
    shstrndx: u16


class Phdr(Layout, size=56):
    type: u32
    flags: u32
    offset: u64
    vaddr: u64
    paddr: u64
    filesz: u64
    memsz: u64
    align: u64


class Shdr(Layout, size=64):
    name: u32
    type: u32
    flags: u64
    addr: u64
    offset: u64
    size: u64
    link: u32
    info: u32
    addralign: u64
    entsize: u64


class Sym(Layout, size=24):
    name: u32
    info: u8
    other: u8
    shndx: u16
    value: u64
    size: u64


class Dyn(Layout, size=16):
    tag: i64
    val: u64


class Nhdr(Layout, size=12):
    namesz: u32
    descsz: u32
    type: u32


class Auxv(Layout, size=16):
    type: u64
    val: u64
