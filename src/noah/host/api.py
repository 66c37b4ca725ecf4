"""The boundary between Noah and the operating system under it.

    Files    descriptors, paths, locks, extended attributes       Dirs     directory contents
    Procs    processes, groups, limits, identity of the machine   Signals  picking up signals without handlers
    Poller   waiting, with a deadline, for descriptors or signals Ttys     terminals
    Clock    clocks and interval timers     Rng  randomness       Mem      host memory behind guest memory
    Sockets  sockets over descriptors       Events   eventfd, timerfd, epoll, inotify

What they return is in noah.host.values.

Methods are named as the Linux system call (or the POSIX function), arguments in the same order. They speak *Linux
values* in and out: flags, signal numbers, wait statuses, modes, resource numbers, address families. Where Linux'
architectures differ (O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_LARGEFILE) the values are those of x86-64. Paths are bytes
without NUL, descriptors and process ids are the host's own ints, times are nanoseconds.

Every failure is a LinuxError with a Linux number. Integers must fit the C type of the call (the caller narrows them).
A method that may wait for something says so; nothing here is interrupted by a signal, because signals stay blocked
(see Signals): wait in Poller.poll(), then make the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

if TYPE_CHECKING:
    from noah.host.values import (
        Caps,
        Flock,
        Interface,
        Received,
        Rusage,
        Scheduling,
        Siginfo,
        Stat,
        Statfs,
        Statx,
        Sysinfo,
        Termios,
        TimerState,
        Utsname,
        WaitInfo,
        Winsize,
    )

Buffer = memoryview | bytearray
"""Memory that a read fills: slices of guest memory as a rule."""
Data = memoryview | bytearray | bytes


class HostError(Exception):
    """This host cannot be used here. The text says why and what to do."""


class Files(Protocol):
    """Descriptors and paths. A dirfd may be AT_FDCWD; every new descriptor is close-on-exec."""

    hints: int
    """Status flags that are but hints, and that this host does not have: callers keep them in mind."""

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        """O_CLOEXEC and O_NOCTTY are always added. Opening a FIFO may wait, unless O_NONBLOCK is given."""

    def openat2_in_root(self, rootfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
        """openat2(2) with RESOLVE_IN_ROOT and the further RESOLVE_* bits given. ENOSYS where there is none."""

    def close(self, fd: int) -> None: ...

    def close_quietly(self, fd: int) -> None:
        """close(), whatever comes of it. A negative fd is nothing to close."""

    def dup(self, fd: int, minimum: int = 0) -> int:
        """F_DUPFD_CLOEXEC: the lowest free descriptor from minimum on."""

    def replace(self, fd: int, by: int) -> None:
        """dup3(2): the descriptor fd means from now on what by means."""

    def catch_up(self) -> None:
        """Before a directory is listed by its descriptor: see noah.fs.cow. LinuxError."""

    def settle(self, fd: int) -> None:
        """Before a descriptor is used by others than this object: see noah.fs.cow. LinuxError."""

    def reopen(self, fd: int, flags: int) -> int:
        """A new open file description of the same file. Without caps.proc_fd: a dup, if it allows flags' access mode,
        else EACCES."""

    def fd_path(self, fd: int) -> bytes | None:
        """Where the host says the file is (Linux appends " (deleted)"), None if it cannot tell."""

    # Data. The count returned may be short as in read(2).
    def read(self, fd: int, count: int) -> bytes: ...
    def readv(self, fd: int, views: Sequence[Buffer]) -> int: ...
    def pread(self, fd: int, count: int, offset: int) -> bytes: ...
    def preadv(self, fd: int, views: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        """preadv2(2): offset -1 is the file position. EOPNOTSUPP for RWF_* flags that the host lacks."""

    def preadv_nowait(self, fd: int, views: Sequence[Buffer]) -> int:
        """Read what is there at the file position, never wait. LinuxError EAGAIN if that is nothing yet.

        For pipes, sockets, terminals, devices. A regular file never waits long and is always ready: use readv()
        (RWF_NOWAIT would answer EAGAIN for what is not in the page cache).
        """

    def write(self, fd: int, data: Data) -> int: ...
    def writev(self, fd: int, views: Sequence[Data]) -> int: ...
    def pwrite(self, fd: int, data: Data, offset: int) -> int: ...
    def pwritev(self, fd: int, views: Sequence[Data], offset: int, flags: int = 0) -> int: ...
    def pwritev_nowait(self, fd: int, views: Sequence[Data]) -> int:
        """As preadv_nowait(). Without caps.nowait at most PIPE_BUF bytes go into a pipe at once."""

    def lseek(self, fd: int, offset: int, whence: int) -> int: ...
    def copy_file_range(self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int) -> int: ...
    def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        """EINVAL where the host cannot do it with these files."""

    def splice(
        self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int, flags: int = 0
    ) -> int:
        """EINVAL if neither is a pipe. SPLICE_F_NONBLOCK as Linux has it; host posix: never waits."""

    def tee(self, fd_in: int, fd_out: int, count: int, flags: int = 0) -> int:
        """EINVAL where the host has none."""

    # Size and storage.
    def ftruncate(self, fd: int, length: int) -> None: ...
    def truncateat(self, dirfd: int, path: bytes, length: int) -> None: ...
    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """EOPNOTSUPP for modes the host lacks. Host posix: for all."""

    def fsync(self, fd: int) -> None: ...
    def fdatasync(self, fd: int) -> None: ...
    def sync(self) -> None: ...
    def syncfs(self, fd: int) -> None: ...
    def sync_file_range(self, fd: int, offset: int, count: int, flags: int) -> None: ...
    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None: ...

    # What a file is.
    def fstat(self, fd: int) -> Stat: ...
    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        """AT_SYMLINK_NOFOLLOW, and AT_EMPTY_PATH with an empty path."""

    def statx(self, dirfd: int, path: bytes, flags: int, mask: int) -> Statx: ...
    def fstatfs(self, fd: int) -> Statfs: ...
    def faccessat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        """faccessat2(2): AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH."""

    # Changing what it is.
    def fchmod(self, fd: int, mode: int) -> None: ...
    def fchmodat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None: ...
    def fchown(self, fd: int, uid: int, gid: int) -> None: ...
    def fchownat(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int = 0) -> None:
        """An id of -1 stays as it is."""

    def futimens(self, fd: int, times: tuple[int, int] | None) -> None: ...
    def utimensat(self, dirfd: int, path: bytes, times: tuple[int, int] | None, flags: int = 0) -> None:
        """times: access and modification in ns, TIME_NOW or TIME_OMIT each; None sets both to now."""

    # Names.
    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        """AT_SYMLINK_FOLLOW, and AT_EMPTY_PATH with an empty oldpath (a file of O_TMPFILE)."""

    def symlinkat(self, target: bytes, newdirfd: int, linkpath: bytes) -> None: ...
    def unlinkat(self, dirfd: int, path: bytes, flags: int = 0) -> None: ...
    def renameat2(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        """EINVAL for flags that the host lacks."""

    def umask(self, mask: int) -> int:
        """What new files do without of the mode that is asked for, where their directory has no default access control
        list. Returns what it was."""

    def mkdirat(self, dirfd: int, path: bytes, mode: int) -> None: ...
    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None: ...
    def adopt(self, dirfd: int, path: bytes, mode: int) -> None:
        """A file that was just made for the caller by other means (bind(2)), with this mode, is the caller's."""

    def readlinkat(self, dirfd: int, path: bytes) -> bytes:
        """An empty path reads the link that dirfd itself is (O_PATH | O_NOFOLLOW)."""

    # Locks.
    def flock(self, fd: int, operation: int) -> None:
        """Waits without LOCK_NB."""

    def fcntl_lock(self, fd: int, command: int, lock: Flock) -> Flock:
        """F_GETLK 5, F_SETLK 6, F_SETLKW 7, F_OFD_GETLK 36, F_OFD_SETLK 37, F_OFD_SETLKW 38. A lock that is held
        is EAGAIN, the W forms wait. Returns what F_GETLK found, else the lock itself. POSIX locks belong to the host
        process: it loses them when it closes *any* descriptor of the file."""

    def is_written(self, fd: int) -> bool | None:
        """Whether somebody has this file, opened here to be read, open for writing. None where the host won't tell."""

    # Descriptors.
    def get_flags(self, fd: int) -> int:
        """F_GETFL: access mode and status flags."""

    def set_flags(self, fd: int, flags: int) -> None:
        """F_SETFL: O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME."""

    def pipe(self, flags: int = 0) -> tuple[int, int]:
        """pipe2(2) with O_NONBLOCK, O_DIRECT (EINVAL where the host has no packet pipes): read end, write end."""

    def get_pipe_size(self, fd: int) -> int:
        """EBADF for what is no pipe."""

    def set_pipe_size(self, fd: int, size: int) -> int:
        """The size that it really has now. EPERM for more than this host has."""

    def get_owner(self, fd: int) -> tuple[int, int]:
        """Who gets SIGIO and SIGURG: F_OWNER_* and an id, 0 for nobody."""

    def set_owner(self, fd: int, kind: int, id: int) -> None:
        """kind: F_OWNER_*. Host posix: EINVAL for F_OWNER_TID."""

    def get_signal(self, fd: int) -> int:
        """The signal that stands for SIGIO, 0 for SIGIO itself."""

    def set_signal(self, fd: int, signo: int) -> None:
        """Host posix: EINVAL for all but 0."""

    def notify(self, fd: int, events: int) -> None:
        """fcntl(F_NOTIFY). Host posix: EINVAL, as from a kernel without it."""

    def memfd_create(self, name: bytes, flags: int = 0) -> int:
        """Without caps.seals an unlinked temporary file; EINVAL for MFD_HUGETLB."""

    def get_seals(self, fd: int) -> int: ...
    def add_seals(self, fd: int, seals: int) -> None: ...
    def isatty(self, fd: int) -> bool: ...
    def ioctl_fionread(self, fd: int) -> int:
        """Bytes that can be read now (FIONREAD)."""

    # Extended attributes: ENOTSUP without caps.xattr, ENODATA for one that is not set.
    def fgetxattr(self, fd: int, name: bytes) -> bytes: ...
    def fsetxattr(self, fd: int, name: bytes, value: bytes, flags: int = 0) -> None: ...
    def flistxattr(self, fd: int) -> list[bytes]: ...
    def fremovexattr(self, fd: int, name: bytes) -> None: ...
    def getxattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> bytes:
        """flags of the *at forms: AT_SYMLINK_NOFOLLOW, and AT_EMPTY_PATH with an empty path (O_PATH descriptors)."""

    def setxattrat(self, dirfd: int, path: bytes, name: bytes, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        """flags: XATTR_CREATE, XATTR_REPLACE."""

    def listxattrat(self, dirfd: int, path: bytes, flags: int = 0) -> list[bytes]: ...
    def removexattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> None: ...


class Dirs(Protocol):
    """Directory contents."""

    def scan(self, fd: int) -> list[tuple[bytes, int, int]]:
        """All of a directory: (name, inode, DT_* type), "." and ".." first. The list is the caller's snapshot: an
        index into it serves as d_off. fd is open for reading; its file position is of no meaning afterwards."""

    @property
    def reads_records(self) -> bool:
        """Whether there is read()."""

    def read(self, fd: int, buffer: Buffer) -> int:
        """getdents64(2): records from the file position on."""


class Procs(Protocol):
    """Processes and the machine they run on."""

    def getpid(self) -> int: ...
    def getppid(self) -> int: ...
    def gettid(self) -> int: ...
    def fork(self) -> int:
        """0 in the child, with this host's objects renewed already. Only the calling thread lives on."""

    def clone(self, flags: int, exit_signal: int) -> int:
        """fork() with CLONE_PARENT, or another signal than SIGCHLD (0: none) at the child's end. Host posix: EINVAL."""

    def wait4(self, pid: int, options: int) -> tuple[int, int, Rusage]:
        """(pid, wait status in Linux' encoding, usage); pid 0 with WNOHANG and nothing to report. Waits otherwise."""

    def waitid(self, idtype: int, id: int, options: int) -> tuple[WaitInfo, Rusage]:
        """P_ALL 0, P_PID 1, P_PGID 2, P_PIDFD 3. Waits without WNOHANG. EINVAL for options that the host lacks (see
        caps.waitid). The usage is zero where the host does not tell it: posix, for a child that is not reaped."""

    def kill(self, pid: int, sig: int) -> None:
        """EINVAL for a signal that the host does not have."""

    def killpg(self, pgid: int, sig: int) -> None: ...
    def sigqueue(self, pid: int, sig: int, value: int, code: int = -1) -> None:
        """rt_sigqueueinfo(2): value = raw 64 bits of sigval, code negative (SI_QUEUE). Plain kill() without
        caps.sigqueue."""

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        """ENOSYS without caps.pidfd."""

    def pidfd_getfd(self, pid: int, fd: int) -> int:
        """A descriptor of another process, by its number there. Host posix: ENOSYS."""

    def kcmp(self, pid1: int, pid2: int, type: int, idx1: int, idx2: int) -> int:
        """Host posix: ENOSYS."""

    def setpgid(self, pid: int, pgid: int) -> None: ...
    def getpgid(self, pid: int) -> int: ...
    def setsid(self) -> int: ...
    def getsid(self, pid: int) -> int: ...
    def getpriority(self, which: int, who: int) -> int:
        """The nice value itself, -20..19 (not the system call's 20 - nice)."""

    def setpriority(self, which: int, who: int, prio: int) -> None: ...
    def getrusage(self, who: int) -> Rusage:
        """RUSAGE_SELF 0, RUSAGE_CHILDREN -1, RUSAGE_THREAD 1 (EINVAL where the host has none)."""

    def times(self) -> tuple[int, int, int, int]:
        """utime, stime, cutime, cstime in ticks of 1/100 s."""

    def getrlimit(self, resource: int) -> tuple[int, int]:
        """Soft and hard limit, RLIM_INFINITY for none. EINVAL for a resource that the host lacks."""

    def setrlimit(self, resource: int, limits: tuple[int, int]) -> None: ...
    def prlimit(self, pid: int, resource: int, limits: tuple[int, int] | None) -> tuple[int, int]:
        """The old limits; pid 0 is the caller. ESRCH for another process where the host has no such call."""

    def getresuid(self) -> tuple[int, int, int]: ...
    def getresgid(self) -> tuple[int, int, int]: ...
    def getgroups(self) -> list[int]: ...
    def sched_getaffinity(self, pid: int) -> list[int]:
        """CPU numbers, ascending."""

    def sched_setaffinity(self, pid: int, cpus: Sequence[int]) -> None: ...
    def sched_yield(self) -> None: ...
    def sched_getattr(self, pid: int) -> Scheduling: ...
    def sched_setattr(self, pid: int, attributes: Scheduling) -> None:
        """Host posix: EPERM for what is real-time; other policies are kept in mind, with no effect."""

    def sched_rr_get_interval(self, pid: int) -> int:
        """ns."""

    def ioprio_get(self, pid: int) -> int: ...
    def ioprio_set(self, pid: int, ioprio: int) -> None:
        """Host posix: kept in mind, with no effect."""

    def nproc(self) -> int: ...
    def uname(self) -> Utsname:
        """The host's own, not the guest's."""

    def sysinfo(self) -> Sysinfo: ...
    def resident(self) -> int:
        """Bytes of memory that this process has; 0 where the host does not tell."""

    def set_pdeathsig(self, sig: int) -> None:
        """PR_SET_PDEATHSIG. EINVAL where the host has none."""

    def set_child_subreaper(self, on: bool) -> None:
        """PR_SET_CHILD_SUBREAPER. EINVAL where the host has none."""

    def set_identity(self, uid: int, gid: int, groups: Sequence[int], capabilities: int) -> None:
        """Touch files as this user from now on (setfsuid(2)), in the calling thread, and use no other capabilities than
        these, as 1 << CAP_*. Only a privileged host process does it; elsewhere files stay the host user's. Host posix:
        in all threads, and root has all capabilities, others have none."""

    def limit_capabilities(self, kept: int) -> None:
        """Give up all others for good (capabilities(7)), in the calling thread and what it starts. Does nothing where
        the host has no such thing."""

    def leave_network(self) -> bool:
        """Have a network of one's own with nothing but a loopback device, for this process and what it starts. False
        where the host has no such thing, or does not allow it."""

    def set_name(self, name: bytes) -> None:
        """PR_SET_NAME: what the host's ps shows. Does nothing where the host has no such thing."""

    def getcwd(self) -> bytes: ...
    def environ(self) -> dict[bytes, bytes]: ...
    def _exit(self, status: int) -> NoReturn: ...
    def exit_by_signal(self, sig: int) -> NoReturn:
        """Die of the signal's default action, without a core file, so that the parent sees the true wait status."""

    def stop_by_signal(self, sig: int) -> None:
        """Stop as SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU do by default; returns when continued, or at once where the
        host ignores the signal (orphaned process group). The signal is blocked again afterwards."""


class Signals(Protocol):
    """Signals are never handled asynchronously: they stay blocked in every thread and are picked up by collect().

    What ends the three kinds of waiting:
    - KVM: the engine hands KVM_SET_SIGNAL_MASK an empty mask, so that a signal which is or becomes pending ends
      KVM_RUN with EINTR. Works with both hosts: none of them has a signal unblocked while guest code runs.
    - The emulator runs guest code in slices and asks pending() between them, with both hosts.
    - Poller.poll(): host linux polls a signalfd. Host posix unblocks the signals for the time of the poll; the C-level
      handler of the interpreter writes into a pipe (signal.set_wakeup_fd), which ends the poll without a race. A
      signal that was taken this way has lost its siginfo but for the number.

    A real fault of the host process itself kills it, blocked or not (force_sig). The kernel's SIGPIPE for a write of
    this very process is dropped by collect(): the writer has EPIPE already. Terminal job control looks at the blocked
    mask: see Ttys.
    """

    inherited_blocked: int
    """Mask (bit n-1 = signal n) of what was blocked before block_all(): the first program's mask."""
    inherited_ignored: int
    """Mask of what the parent had set to SIG_IGN (nohup, background jobs of a plain shell)."""

    def block_all(self, synchronous: bool = True) -> None:
        """Call once at start, in the main thread, before other threads exist (they inherit the mask). With
        synchronous=False SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP keep what the interpreter has (faulthandler)."""

    def collect(self) -> list[Siginfo]:
        """Take everything that is pending for this thread or the process; never waits."""

    def pending(self) -> int:
        """Mask of pending signals."""

    @property
    def wakeup_fd(self) -> int:
        """Readable while collect() has something to give; host posix: as seen by Poller.poll() only."""

    def after_fork(self) -> None:
        """In the child (Procs.fork() calls it): renew what must not be shared with the parent."""


class Poller(Protocol):
    """Waiting."""

    def poll(
        self, fds: Sequence[tuple[int, int]], timeout_ns: int | None, signals: bool = True
    ) -> tuple[list[tuple[int, int]], bool]:
        """Wait for (fd, POLL* events), at most timeout_ns (None: for ever), and with signals=True for a signal too.

        Returns the (fd, revents) that have any, in the order given, and whether a signal is pending. Never early: an
        empty list without a signal means that the whole time has passed. No fds at all is a plain sleep.
        """


class Ttys(Protocol):
    """Terminals. ENOTTY for anything else.

    A background process that reads from its terminal, or writes with TOSTOP, is stopped by SIGTTIN or SIGTTOU only if
    it has the signal neither blocked nor ignored. Noah has all blocked, so a read fails with EIO and a write or
    tcsetattr() just succeeds: compare tcgetpgrp() with getpgid(0) before, and killpg() the own group as Linux would.
    """

    def tcgetattr(self, fd: int) -> Termios: ...
    def tcsetattr(self, fd: int, when: int, attributes: Termios) -> None:
        """when: TCSANOW 0, TCSADRAIN 1, TCSAFLUSH 2 (TCSETS, TCSETSW, TCSETSF)."""

    def get_winsize(self, fd: int) -> Winsize: ...
    def set_winsize(self, fd: int, size: Winsize) -> None: ...
    def tcgetpgrp(self, fd: int) -> int: ...
    def tcsetpgrp(self, fd: int, pgid: int) -> None: ...
    def tcgetsid(self, fd: int) -> int: ...
    def tcflush(self, fd: int, queue: int) -> None:
        """TCIFLUSH 0, TCOFLUSH 1, TCIOFLUSH 2."""

    def tcflow(self, fd: int, action: int) -> None:
        """TCOOFF 0, TCOON 1, TCIOFF 2, TCION 3."""

    def tcsendbreak(self, fd: int, duration: int) -> None: ...
    def tcdrain(self, fd: int) -> None:
        """Waits until the output is gone."""

    def set_controlling(self, fd: int, steal: int = 0) -> None:
        """TIOCSCTTY."""

    def give_up_controlling(self, fd: int) -> None:
        """TIOCNOTTY."""

    def inq(self, fd: int) -> int:
        """TIOCINQ, FIONREAD."""

    def outq(self, fd: int) -> int:
        """TIOCOUTQ."""

    def packet_mode(self, fd: int, on: bool) -> None:
        """TIOCPKT on a master."""

    def openpt(self, flags: int) -> int:
        """Open /dev/ptmx: a new master, whose slave is still locked."""

    def unlockpt(self, fd: int) -> None: ...
    def ptsname(self, fd: int) -> bytes:
        """Host path of the slave."""

    def open_slave(self, fd: int, flags: int) -> int:
        """TIOCGPTPEER: open the slave of this master."""

    def openpty(self) -> tuple[int, int]:
        """Master and slave, ready for use."""

    def ioctl_passthrough(self, fd: int, request: int, argument: bytearray | int) -> int:
        """The host's own ioctl(2), for requests whose number and struct are Linux'. ENOTTY without
        caps.ioctl_passthrough, EPERM for TIOCSTI."""


class Clock(Protocol):
    """Clocks and interval timers."""

    def clock_gettime(self, clockid: int) -> int:
        """ns. EINVAL for a clock that the host lacks."""

    def clock_getres(self, clockid: int) -> int: ...
    def setitimer(self, which: int, value_ns: int, interval_ns: int) -> tuple[int, int]:
        """ITIMER_VIRTUAL 1, PROF 2; the old (value, interval). Signals arrive through Signals.collect(). They count the
        CPU time of the host process: the guest's and Noah's own."""

    def getitimer(self, which: int) -> tuple[int, int]: ...
    def ring_in(self, span_ns: int) -> None:
        """Have Signals.collect() give a signal in that time, 0: never, instead of what was wanted before; not inherited
        by children. Another process' signal may hide it, and it another's, on hosts where it is SIGALRM."""

    def is_ring(self, info: Siginfo) -> bool | None:
        """Whether that is the signal of ring_in(). None: it may be; it is if its time has come."""


class Rng(Protocol):
    """Randomness."""

    def getrandom(self, count: int) -> bytes:
        """count bytes from the host's cryptographic source."""


class Mem(Protocol):
    """Host memory by address. Addresses and lengths are multiples of page_size; advice and flags are Linux'."""

    page_size: int

    def madvise(self, address: int, length: int, advice: int) -> None: ...
    def mlock(self, address: int, length: int) -> None: ...
    def munlock(self, address: int, length: int) -> None: ...
    def msync(self, address: int, length: int, flags: int) -> None: ...
    def mincore(self, address: int, length: int) -> bytes:
        """One byte a page, bit 0: resident."""

    def shared(self, size: int, fd: int = -1, offset: int = 0) -> memoryview:
        """Zero-filled memory that this process and all its later children share. Untouched pages cost nothing.

        fd: a file that holds it from `offset` on, made large enough, for others to share it too; it may be closed
        afterwards.
        """

    def clear(self, fd: int, offset: int, length: int) -> None:
        """Fill a part of a shared() file with zeros, whatever limit there is on the size of files."""

    def address(self, memory: memoryview) -> int:
        """Where shared() memory is."""

    def safe_read(self, address: int, count: int) -> bytes:
        """Copy from any address; EFAULT for what is not readable. Host posix: only memory known to be mapped."""

    def futex(
        self, address: int, op: int, value: int, limit_ns: int | None = None, other: int = 0, last: int = 0
    ) -> int:
        """futex(2) on a word of host memory; `limit_ns` as the operation takes its time. Host posix: ENOSYS.

        For the operations with a count in the timeout's place, `limit_ns` is that count.
        """

    def membarrier(self, command: int, flags: int, cpu: int) -> int:
        """membarrier(2) for the threads of this process. Host posix: ENOSYS."""


class Sockets(Protocol):
    """Sockets over plain descriptors. Addresses are Linux' struct sockaddr as bytes, family first. EAFNOSUPPORT for a
    family that this host lacks, AF_NETLINK in particular.

    Types may carry SOCK_NONBLOCK. Nothing here waits if the descriptor is non-blocking or MSG_DONTWAIT is given.
    """

    def socket(self, domain: int, type: int, protocol: int = 0) -> int: ...
    def socketpair(self, domain: int, type: int, protocol: int = 0) -> tuple[int, int]: ...
    def bind(self, fd: int, address: bytes) -> None: ...
    def connect(self, fd: int, address: bytes) -> None: ...
    def listen(self, fd: int, backlog: int) -> None: ...
    def accept(self, fd: int, flags: int = 0) -> tuple[int, bytes]:
        """accept4(2): the new descriptor and the peer's address."""

    def sendto(self, fd: int, data: Data, flags: int = 0, address: bytes = b"") -> int: ...
    def recvfrom(self, fd: int, view: Buffer, flags: int = 0) -> tuple[int, bytes]: ...
    def sendmsg(
        self,
        fd: int,
        views: Sequence[Data],
        control: Sequence[tuple[int, int, bytes]] = (),
        flags: int = 0,
        address: bytes = b"",
    ) -> int:
        """control: (level, type, data); descriptors in SCM_RIGHTS are the host's."""

    def recvmsg(self, fd: int, views: Sequence[Buffer], control_size: int = 0, flags: int = 0) -> Received: ...
    def getsockopt(self, fd: int, level: int, option: int, size: int) -> bytes: ...
    def setsockopt(self, fd: int, level: int, option: int, value: bytes) -> None: ...
    def getsockname(self, fd: int) -> bytes: ...
    def getpeername(self, fd: int) -> bytes: ...
    def shutdown(self, fd: int, how: int) -> None: ...
    def notifier(self, fd: int, cookie: bytes) -> int:
        """A descriptor through which the AF_NETLINK socket fd gets the 32 bytes of cookie with another last one: 1 when
        fire_notifier() is called, 2 when it is closed before (mq_notify(2), SIGEV_THREAD). Host posix: ENOSYS."""

    def fire_notifier(self, notifier: int) -> None: ...
    def interfaces(self) -> list[Interface]:
        """The host's network interfaces, by their index."""


class Events(Protocol):
    """Descriptors that are ready when something has happened. Without caps.events all of these raise ENOSYS.

    Every new descriptor is close-on-exec and O_NONBLOCK: nothing here, and no read of one, ever waits.
    """

    def eventfd(self, value: int, *, semaphore: bool) -> int: ...
    def timerfd_create(self, clock: int) -> int: ...
    def timerfd_settime(self, fd: int, flags: int, value_ns: int, interval_ns: int) -> TimerState:
        """flags: TFD_TIMER_*. The state before."""

    def timerfd_gettime(self, fd: int) -> TimerState: ...
    def epoll_create(self) -> int: ...
    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int, data: int) -> None:
        """data: 64 bits that epoll_wait() hands back. EPERM for files that epoll does not take."""

    def epoll_wait(self, epfd: int, limit: int) -> list[tuple[int, int]]:
        """What is ready now, at most `limit` entries: (events, data)."""

    def inotify_init(self) -> int: ...
    def inotify_add_watch(self, fd: int, target: int, mask: int) -> int:
        """Watch the file that the descriptor `target` (O_PATH will do) refers to."""

    def inotify_rm_watch(self, fd: int, watch: int) -> None: ...


class Host(NamedTuple):
    """One operating system, as noah.host.select.make_host() puts it together."""

    name: str  # "linux", "posix"
    inherited: tuple[int, ...]  # descriptors that the process was started with, for the first program
    caps: Caps
    files: Files
    dirs: Dirs
    procs: Procs
    signals: Signals
    poller: Poller
    ttys: Ttys
    clock: Clock
    rng: Rng
    mem: Mem
    sockets: Sockets
    events: Events
