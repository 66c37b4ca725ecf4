"""What the host's methods take and return: named tuples of Linux values, in the order of Linux' own structs."""

# No `from __future__ import annotations`: NamedTuple compiles what is text, which takes milliseconds at each start.
from typing import Final, NamedTuple

# Entries of utimensat() that are no time. Not Linux' own UTIME_NOW and UTIME_OMIT, which would be times as plain ns.
TIME_NOW: Final = 1 << 100
TIME_OMIT: Final = 1 << 101

RLIM_INFINITY: Final = (1 << 64) - 1


class Stat(NamedTuple):
    """struct stat. Times in ns; dev and rdev as Linux encodes them in user space (makedev(3))."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int


class Statx(NamedTuple):
    """What statx(2) tells beyond Stat. mask: the STATX_* bits of the fields that are valid here."""

    mask: int
    attributes: int
    attributes_mask: int
    btime: int
    mnt_id: int
    dio_mem_align: int
    dio_offset_align: int


class Statfs(NamedTuple):
    """struct statfs (fsid as one 64-bit number)."""

    type: int
    bsize: int
    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    fsid: int
    namelen: int
    frsize: int
    flags: int


class Flock(NamedTuple):
    """struct flock: type F_RDLCK 0, F_WRLCK 1, F_UNLCK 2; whence SEEK_*; len 0 = to the end of the file."""

    type: int
    whence: int
    start: int
    len: int
    pid: int = 0


class Rusage(NamedTuple):
    """struct rusage: CPU times in microseconds, maxrss in KiB."""

    utime_us: int = 0
    stime_us: int = 0
    maxrss: int = 0
    ixrss: int = 0
    idrss: int = 0
    isrss: int = 0
    minflt: int = 0
    majflt: int = 0
    nswap: int = 0
    inblock: int = 0
    oublock: int = 0
    msgsnd: int = 0
    msgrcv: int = 0
    nsignals: int = 0
    nvcsw: int = 0
    nivcsw: int = 0


class WaitInfo(NamedTuple):
    """What waitid(2) fills in: code is CLD_*, status an exit code or a signal number. pid 0: nothing to report."""

    pid: int = 0
    uid: int = 0
    code: int = 0
    status: int = 0


class Utsname(NamedTuple):
    sysname: bytes
    nodename: bytes
    release: bytes
    version: bytes
    machine: bytes


class Sysinfo(NamedTuple):
    """struct sysinfo: uptime in s, loads times 65536, memory in units of mem_unit bytes."""

    uptime: int
    loads: tuple[int, int, int]
    totalram: int
    freeram: int
    sharedram: int
    bufferram: int
    totalswap: int
    freeswap: int
    procs: int
    mem_unit: int = 1


class Siginfo(NamedTuple):
    """siginfo_t with every member of its union; signo and code say which count (sigaction(2)), the rest is 0.

    value is the raw 64 bits of union sigval, utime and stime are clock ticks.
    """

    signo: int
    errno: int = 0
    code: int = 0
    pid: int = 0
    uid: int = 0
    status: int = 0
    value: int = 0
    utime: int = 0
    stime: int = 0
    addr: int = 0
    band: int = 0
    fd: int = 0
    timerid: int = 0
    overrun: int = 0


class Scheduling(NamedTuple):
    """struct sched_attr: how a thread is scheduled (sched_setattr(2)). Times in ns."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0
    util_min: int = 0
    util_max: int = 1024


class Termios(NamedTuple):
    """The kernel's struct termios2: flag words, line discipline, 19 control characters, speeds in baud."""

    iflag: int
    oflag: int
    cflag: int
    lflag: int
    line: int
    cc: bytes
    ispeed: int
    ospeed: int


class Winsize(NamedTuple):
    rows: int
    cols: int
    xpixel: int = 0
    ypixel: int = 0


class TimerState(NamedTuple):
    """struct itimerspec: ns until the next end (0: not running), and the interval."""

    value: int
    interval: int


class Received(NamedTuple):
    """Result of recvmsg(): length received, control messages (level, type, data), MSG_* flags, sender's sockaddr."""

    length: int
    control: list[tuple[int, int, bytes]]
    flags: int
    address: bytes


class InterfaceAddress(NamedTuple):
    """family: AF_INET or AF_INET6. other: the broadcast address or the other end's, empty for none."""

    family: int
    address: bytes
    prefix: int
    other: bytes


class Interface(NamedTuple):
    """A network interface: IFF_* flags, ARPHRD_* kind, hardware address."""

    name: bytes
    number: int  # its index
    flags: int
    kind: int
    hardware: bytes
    mtu: int
    addresses: list[InterfaceAddress]


class Caps(NamedTuple):
    """What this host can do beyond POSIX, probed once. Without one, the method named beside it raises or emulates."""

    openat2: bool  # openat2_in_root(); else ENOSYS
    o_path: bool  # O_PATH in openat(); else emulated by O_RDONLY, which needs read permission
    o_tmpfile: bool  # O_TMPFILE in openat(); else EOPNOTSUPP
    proc_fd: bool  # reopen() gives a new open file description for any descriptor; linkat() with AT_EMPTY_PATH
    nowait: bool  # preadv_nowait() without a race; else poll, then read
    xattr: bool  # extended attributes; else ENOTSUP
    ofd_locks: bool  # F_OFD_* in fcntl_lock(); else EINVAL
    seals: bool  # memfd_create() with MFD_ALLOW_SEALING
    sigqueue: bool  # sigqueue(), real-time signals and the full Siginfo from collect()
    waitid: bool  # waitid() with WNOWAIT or without WEXITED; else EINVAL
    pidfd: bool  # pidfd_open(); else ENOSYS
    threads_scheduled: bool  # nice values, policies and CPUs belong to a thread, by its id; else to the process
    events: bool  # Events; else ENOSYS
    abstract_sockets: bool  # AF_UNIX names that start with NUL
    futex: bool  # Mem.futex() and membarrier(); else ENOSYS
    proc: bool  # /proc and /sys are Linux'
    ioctl_passthrough: bool  # ioctl requests have Linux' numbers here
