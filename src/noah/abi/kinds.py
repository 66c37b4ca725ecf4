"""Argument kinds: what the registry and the tracer must know of each parameter of a system call handler.

    def openat(task: Task, dirfd: DirFd, path: Path, flags: OpenFlags, mode: Mode) -> int: ...

To a type checker each kind is an `int`. The registry reads the `Kind` out of the annotation and pastes its `expr` into
the dispatch stub, so narrowing a register (Linux looks at the low 32 bits of an `int` argument only) costs no call.
The tracer prints by `show`.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias, final

IN: Final = "in"
OUT: Final = "out"
INOUT: Final = "inout"

# Narrowing of {x}, an unsigned 64-bit register.
U32: Final = "{x} & 0xffffffff"
S32: Final = "(({x} & 0xffffffff) ^ 0x80000000) - 0x80000000"
U64: Final = "{x}"
S64: Final = "({x} ^ 0x8000000000000000) - 0x8000000000000000"
U16: Final = "{x} & 0xffff"
LETTERS: Final = {U32: "u", S32: "i", U64: "q", S64: "l", U16: "h"}
"""A letter for each: parameters are narrowed by the stub that their letters name (noah.syscalls.stubs)."""


@final
class Kind:
    """How to narrow and how to print one argument.

    name       the alias' own name
    expr       Python expression of `{x}`, the raw register, giving the handler's int
    show       key for the tracer: a table of noah.abi.names.TABLES, or one of the words used below
    direction  "in" is readable before the call, "out" only after it; "inout" is worth printing twice
    """

    __slots__ = ("direction", "expr", "name", "show")

    def __init__(self, name: str, expr: str, show: str, direction: str = IN) -> None:
        self.name = name
        self.expr = expr
        self.show = show
        self.direction = direction

    def __repr__(self) -> str:
        return f"Kind({self.name})"


# Numbers.
Int: TypeAlias = Annotated[int, Kind("Int", S32, "dec")]
UInt: TypeAlias = Annotated[int, Kind("UInt", U32, "dec")]
Long: TypeAlias = Annotated[int, Kind("Long", S64, "dec")]
ULong: TypeAlias = Annotated[int, Kind("ULong", U64, "dec")]
Hex32: TypeAlias = Annotated[int, Kind("Hex32", U32, "hex")]
Hex64: TypeAlias = Annotated[int, Kind("Hex64", U64, "hex")]
Size: TypeAlias = Annotated[int, Kind("Size", U64, "dec")]
Off: TypeAlias = Annotated[int, Kind("Off", S64, "dec")]
Fd: TypeAlias = Annotated[int, Kind("Fd", S32, "fd")]
DirFd: TypeAlias = Annotated[int, Kind("DirFd", S32, "dirfd")]  # AT_FDCWD by name
Pid: TypeAlias = Annotated[int, Kind("Pid", S32, "dec")]
Uid: TypeAlias = Annotated[int, Kind("Uid", U32, "id")]  # (uid_t)-1 as -1
Gid: TypeAlias = Annotated[int, Kind("Gid", U32, "id")]
Mode: TypeAlias = Annotated[int, Kind("Mode", U16, "octal")]  # umode_t is 16 bits: open(2) ignores the rest
FileMode: TypeAlias = Annotated[int, Kind("FileMode", U16, "filemode")]  # with its type: mknod(2)
Dev: TypeAlias = Annotated[int, Kind("Dev", U32, "dev")]
SigNum: TypeAlias = Annotated[int, Kind("SigNum", S32, "signal")]

# Pointers to bytes and text.
Addr: TypeAlias = Annotated[int, Kind("Addr", U64, "hex")]
Path: TypeAlias = Annotated[int, Kind("Path", U64, "path")]
Str: TypeAlias = Annotated[int, Kind("Str", U64, "str")]
InBuf: TypeAlias = Annotated[int, Kind("InBuf", U64, "buffer")]  # as long as the Size argument after it
OutBuf: TypeAlias = Annotated[int, Kind("OutBuf", U64, "buffer", OUT)]  # as long as the call's result
OutStr: TypeAlias = Annotated[int, Kind("OutStr", U64, "str", OUT)]
OutPath: TypeAlias = Annotated[int, Kind("OutPath", U64, "buffer", OUT)]  # readlink(2): no NUL
ArgvPtr: TypeAlias = Annotated[int, Kind("ArgvPtr", U64, "argv")]
EnvPtr: TypeAlias = Annotated[int, Kind("EnvPtr", U64, "env")]  # counted, not listed

# Pointers to numbers.
IntPtr: TypeAlias = Annotated[int, Kind("IntPtr", U64, "int*")]
IntOutPtr: TypeAlias = Annotated[int, Kind("IntOutPtr", U64, "int*", OUT)]
UIntOutPtr: TypeAlias = Annotated[int, Kind("UIntOutPtr", U64, "uint*", OUT)]
LongOutPtr: TypeAlias = Annotated[int, Kind("LongOutPtr", U64, "long*", OUT)]
ULongPtr: TypeAlias = Annotated[int, Kind("ULongPtr", U64, "ulong*")]
ULongOutPtr: TypeAlias = Annotated[int, Kind("ULongOutPtr", U64, "ulong*", OUT)]
OffPtr: TypeAlias = Annotated[int, Kind("OffPtr", U64, "long*", INOUT)]
SocklenPtr: TypeAlias = Annotated[int, Kind("SocklenPtr", U64, "uint*", INOUT)]
FdPairPtr: TypeAlias = Annotated[int, Kind("FdPairPtr", U64, "fd-pair", OUT)]
WaitStatusPtr: TypeAlias = Annotated[int, Kind("WaitStatusPtr", U64, "wait-status", OUT)]
FdSetPtr: TypeAlias = Annotated[int, Kind("FdSetPtr", U64, "fd-set", INOUT)]
UidListPtr: TypeAlias = Annotated[int, Kind("UidListPtr", U64, "id-list")]

# Pointers to structures (noah.abi.structs). `XPtr` is read by the kernel, `XOutPtr` written.
StatPtr: TypeAlias = Annotated[int, Kind("StatPtr", U64, "struct:stat", OUT)]
StatxPtr: TypeAlias = Annotated[int, Kind("StatxPtr", U64, "struct:statx", OUT)]
StatfsPtr: TypeAlias = Annotated[int, Kind("StatfsPtr", U64, "struct:statfs", OUT)]
DirentsPtr: TypeAlias = Annotated[int, Kind("DirentsPtr", U64, "struct:dirents", OUT)]
TimespecPtr: TypeAlias = Annotated[int, Kind("TimespecPtr", U64, "struct:timespec")]
TimespecOutPtr: TypeAlias = Annotated[int, Kind("TimespecOutPtr", U64, "struct:timespec", OUT)]
TimespecPairPtr: TypeAlias = Annotated[int, Kind("TimespecPairPtr", U64, "struct:timespec[2]")]
TimevalPtr: TypeAlias = Annotated[int, Kind("TimevalPtr", U64, "struct:timeval")]
TimevalInOutPtr: TypeAlias = Annotated[int, Kind("TimevalInOutPtr", U64, "struct:timeval", INOUT)]  # select(2)
TimevalOutPtr: TypeAlias = Annotated[int, Kind("TimevalOutPtr", U64, "struct:timeval", OUT)]
TimevalPairPtr: TypeAlias = Annotated[int, Kind("TimevalPairPtr", U64, "struct:timeval[2]")]
TimezonePtr: TypeAlias = Annotated[int, Kind("TimezonePtr", U64, "struct:timezone", OUT)]
TimexPtr: TypeAlias = Annotated[int, Kind("TimexPtr", U64, "struct:timex", INOUT)]
UtimbufPtr: TypeAlias = Annotated[int, Kind("UtimbufPtr", U64, "struct:utimbuf")]
ItimervalPtr: TypeAlias = Annotated[int, Kind("ItimervalPtr", U64, "struct:itimerval")]
ItimervalOutPtr: TypeAlias = Annotated[int, Kind("ItimervalOutPtr", U64, "struct:itimerval", OUT)]
ItimerspecPtr: TypeAlias = Annotated[int, Kind("ItimerspecPtr", U64, "struct:itimerspec")]
ItimerspecOutPtr: TypeAlias = Annotated[int, Kind("ItimerspecOutPtr", U64, "struct:itimerspec", OUT)]
SigsetPtr: TypeAlias = Annotated[int, Kind("SigsetPtr", U64, "struct:sigset")]
SigsetOutPtr: TypeAlias = Annotated[int, Kind("SigsetOutPtr", U64, "struct:sigset", OUT)]
SigactionPtr: TypeAlias = Annotated[int, Kind("SigactionPtr", U64, "struct:sigaction")]
SigactionOutPtr: TypeAlias = Annotated[int, Kind("SigactionOutPtr", U64, "struct:sigaction", OUT)]
SiginfoPtr: TypeAlias = Annotated[int, Kind("SiginfoPtr", U64, "struct:siginfo")]
SiginfoOutPtr: TypeAlias = Annotated[int, Kind("SiginfoOutPtr", U64, "struct:siginfo", OUT)]
SigeventPtr: TypeAlias = Annotated[int, Kind("SigeventPtr", U64, "struct:sigevent")]
StackPtr: TypeAlias = Annotated[int, Kind("StackPtr", U64, "struct:stack")]
StackOutPtr: TypeAlias = Annotated[int, Kind("StackOutPtr", U64, "struct:stack", OUT)]
IovecPtr: TypeAlias = Annotated[int, Kind("IovecPtr", U64, "struct:iovec[]")]
IovecOutPtr: TypeAlias = Annotated[int, Kind("IovecOutPtr", U64, "struct:iovec[]", OUT)]
RlimitPtr: TypeAlias = Annotated[int, Kind("RlimitPtr", U64, "struct:rlimit")]
RlimitOutPtr: TypeAlias = Annotated[int, Kind("RlimitOutPtr", U64, "struct:rlimit", OUT)]
RusagePtr: TypeAlias = Annotated[int, Kind("RusagePtr", U64, "struct:rusage", OUT)]
TmsPtr: TypeAlias = Annotated[int, Kind("TmsPtr", U64, "struct:tms", OUT)]
UtsnamePtr: TypeAlias = Annotated[int, Kind("UtsnamePtr", U64, "struct:utsname", OUT)]
SysinfoPtr: TypeAlias = Annotated[int, Kind("SysinfoPtr", U64, "struct:sysinfo", OUT)]
PollPtr: TypeAlias = Annotated[int, Kind("PollPtr", U64, "struct:pollfd[]", INOUT)]
EpollEventPtr: TypeAlias = Annotated[int, Kind("EpollEventPtr", U64, "struct:epoll_event")]
EpollEventsPtr: TypeAlias = Annotated[int, Kind("EpollEventsPtr", U64, "struct:epoll_event[]", OUT)]
SockaddrPtr: TypeAlias = Annotated[int, Kind("SockaddrPtr", U64, "struct:sockaddr")]
SockaddrOutPtr: TypeAlias = Annotated[int, Kind("SockaddrOutPtr", U64, "struct:sockaddr", OUT)]
MsghdrPtr: TypeAlias = Annotated[int, Kind("MsghdrPtr", U64, "struct:msghdr")]
MsghdrOutPtr: TypeAlias = Annotated[int, Kind("MsghdrOutPtr", U64, "struct:msghdr", OUT)]
MmsghdrPtr: TypeAlias = Annotated[int, Kind("MmsghdrPtr", U64, "struct:mmsghdr[]", INOUT)]
SchedParamPtr: TypeAlias = Annotated[int, Kind("SchedParamPtr", U64, "struct:sched_param")]
SchedParamOutPtr: TypeAlias = Annotated[int, Kind("SchedParamOutPtr", U64, "struct:sched_param", OUT)]
CloneArgsPtr: TypeAlias = Annotated[int, Kind("CloneArgsPtr", U64, "struct:clone_args")]
OpenHowPtr: TypeAlias = Annotated[int, Kind("OpenHowPtr", U64, "struct:open_how")]
MqAttrPtr: TypeAlias = Annotated[int, Kind("MqAttrPtr", U64, "struct:mq_attr")]
MqAttrOutPtr: TypeAlias = Annotated[int, Kind("MqAttrOutPtr", U64, "struct:mq_attr", OUT)]
CapHeaderPtr: TypeAlias = Annotated[int, Kind("CapHeaderPtr", U64, "struct:cap_header", INOUT)]
CapDataPtr: TypeAlias = Annotated[int, Kind("CapDataPtr", U64, "struct:cap_data")]
CapDataOutPtr: TypeAlias = Annotated[int, Kind("CapDataOutPtr", U64, "struct:cap_data", OUT)]
IoctlArg: TypeAlias = Annotated[int, Kind("IoctlArg", U64, "ioctl-arg", INOUT)]  # what it is, its IoctlCmd says
FcntlArg: TypeAlias = Annotated[int, Kind("FcntlArg", U64, "fcntl-arg", INOUT)]  # likewise

# Flags and enumerations: `show` names the table.
OpenFlags: TypeAlias = Annotated[int, Kind("OpenFlags", S32, "open_flags")]
AtFlags: TypeAlias = Annotated[int, Kind("AtFlags", S32, "at_flags")]
FaccessatFlags: TypeAlias = Annotated[int, Kind("FaccessatFlags", S32, "faccessat_flags")]  # AT_EACCESS by its name
PipeFlags: TypeAlias = Annotated[int, Kind("PipeFlags", S32, "pipe_flags")]
DupFlags: TypeAlias = Annotated[int, Kind("DupFlags", S32, "dup_flags")]
StatxMask: TypeAlias = Annotated[int, Kind("StatxMask", U32, "statx_mask")]
AccessMode: TypeAlias = Annotated[int, Kind("AccessMode", S32, "access_mode")]
SeekWhence: TypeAlias = Annotated[int, Kind("SeekWhence", U32, "seek_whence")]
FcntlCmd: TypeAlias = Annotated[int, Kind("FcntlCmd", U32, "fcntl_cmd")]
FlockOp: TypeAlias = Annotated[int, Kind("FlockOp", U32, "flock_op")]
FallocMode: TypeAlias = Annotated[int, Kind("FallocMode", S32, "falloc_mode")]
FadviseAdvice: TypeAlias = Annotated[int, Kind("FadviseAdvice", S32, "fadvise_advice")]
RenameFlags: TypeAlias = Annotated[int, Kind("RenameFlags", U32, "rename_flags")]
SyncRangeFlags: TypeAlias = Annotated[int, Kind("SyncRangeFlags", U32, "sync_range_flags")]
SpliceFlags: TypeAlias = Annotated[int, Kind("SpliceFlags", U32, "splice_flags")]
RwfFlags: TypeAlias = Annotated[int, Kind("RwfFlags", S32, "rwf_flags")]
CloseRangeFlags: TypeAlias = Annotated[int, Kind("CloseRangeFlags", U32, "close_range_flags")]
IoctlCmd: TypeAlias = Annotated[int, Kind("IoctlCmd", U32, "ioctl_cmd")]
XattrFlags: TypeAlias = Annotated[int, Kind("XattrFlags", S32, "xattr_flags")]
MountFlags: TypeAlias = Annotated[int, Kind("MountFlags", U64, "mount_flags")]
UmountFlags: TypeAlias = Annotated[int, Kind("UmountFlags", S32, "umount_flags")]
MmapProt: TypeAlias = Annotated[int, Kind("MmapProt", U64, "mmap_prot")]
MmapFlags: TypeAlias = Annotated[int, Kind("MmapFlags", U64, "mmap_flags")]
MremapFlags: TypeAlias = Annotated[int, Kind("MremapFlags", U64, "mremap_flags")]
KcmpType: TypeAlias = Annotated[int, Kind("KcmpType", S32, "kcmp_type")]
MadviseAdvice: TypeAlias = Annotated[int, Kind("MadviseAdvice", S32, "madvise_advice")]
MsyncFlags: TypeAlias = Annotated[int, Kind("MsyncFlags", S32, "msync_flags")]
MlockFlags: TypeAlias = Annotated[int, Kind("MlockFlags", S32, "mlock_flags")]
MlockallFlags: TypeAlias = Annotated[int, Kind("MlockallFlags", S32, "mlockall_flags")]
MemfdFlags: TypeAlias = Annotated[int, Kind("MemfdFlags", U32, "memfd_flags")]
MembarrierCmd: TypeAlias = Annotated[int, Kind("MembarrierCmd", S32, "membarrier_cmd")]
CloneFlags: TypeAlias = Annotated[int, Kind("CloneFlags", U64, "clone_flags")]
UnshareFlags: TypeAlias = Annotated[int, Kind("UnshareFlags", U64, "unshare_flags")]
WaitOptions: TypeAlias = Annotated[int, Kind("WaitOptions", S32, "wait_options")]
WaitIdType: TypeAlias = Annotated[int, Kind("WaitIdType", S32, "wait_idtype")]
PrctlOption: TypeAlias = Annotated[int, Kind("PrctlOption", S32, "prctl_option")]
ArchPrctlCode: TypeAlias = Annotated[int, Kind("ArchPrctlCode", S32, "arch_prctl_code")]
SchedPolicy: TypeAlias = Annotated[int, Kind("SchedPolicy", S32, "sched_policy")]
PriorityWhich: TypeAlias = Annotated[int, Kind("PriorityWhich", S32, "priority_which")]
ResourceId: TypeAlias = Annotated[int, Kind("ResourceId", U32, "resource_id")]
RusageWho: TypeAlias = Annotated[int, Kind("RusageWho", S32, "rusage_who")]
PidfdFlags: TypeAlias = Annotated[int, Kind("PidfdFlags", U32, "pidfd_flags")]
SigmaskHow: TypeAlias = Annotated[int, Kind("SigmaskHow", S32, "sigmask_how")]
SignalfdFlags: TypeAlias = Annotated[int, Kind("SignalfdFlags", S32, "signalfd_flags")]
ClockId: TypeAlias = Annotated[int, Kind("ClockId", S32, "clock_id")]
TimerFlags: TypeAlias = Annotated[int, Kind("TimerFlags", S32, "timer_flags")]
ItimerWhich: TypeAlias = Annotated[int, Kind("ItimerWhich", S32, "itimer_which")]
TimerfdFlags: TypeAlias = Annotated[int, Kind("TimerfdFlags", S32, "timerfd_flags")]
TimerfdSetFlags: TypeAlias = Annotated[int, Kind("TimerfdSetFlags", S32, "timerfd_set_flags")]
IpcFlags: TypeAlias = Annotated[int, Kind("IpcFlags", S32, "ipc_flags")]  # with permissions
FutexOp: TypeAlias = Annotated[int, Kind("FutexOp", S32, "futex_op")]
EpollFlags: TypeAlias = Annotated[int, Kind("EpollFlags", S32, "epoll_flags")]
EpollOp: TypeAlias = Annotated[int, Kind("EpollOp", S32, "epoll_op")]
EventfdFlags: TypeAlias = Annotated[int, Kind("EventfdFlags", S32, "eventfd_flags")]
InotifyFlags: TypeAlias = Annotated[int, Kind("InotifyFlags", S32, "inotify_flags")]
InotifyMask: TypeAlias = Annotated[int, Kind("InotifyMask", U32, "inotify_mask")]
GrndFlags: TypeAlias = Annotated[int, Kind("GrndFlags", U32, "grnd_flags")]
SocketDomain: TypeAlias = Annotated[int, Kind("SocketDomain", S32, "socket_domain")]
SocketType: TypeAlias = Annotated[int, Kind("SocketType", S32, "socket_type")]
SocketProtocol: TypeAlias = Annotated[int, Kind("SocketProtocol", S32, "socket_protocol")]
SocketLevel: TypeAlias = Annotated[int, Kind("SocketLevel", S32, "socket_level")]
SocketOption: TypeAlias = Annotated[int, Kind("SocketOption", S32, "socket_option")]  # SOL_SOCKET's names
AcceptFlags: TypeAlias = Annotated[int, Kind("AcceptFlags", S32, "accept_flags")]
MsgFlags: TypeAlias = Annotated[int, Kind("MsgFlags", S32, "msg_flags")]
ShutdownHow: TypeAlias = Annotated[int, Kind("ShutdownHow", S32, "shutdown_how")]
