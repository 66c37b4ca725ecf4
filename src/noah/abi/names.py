"""Names for numbers, for people who read traces. Nothing here decides anything.

Every table is computed from the constants' modules; what is written down is which names belong together and in which
order strace(1) prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from noah.abi import (
    arch_prctl,
    capability,
    elf,
    fcntl,
    futex,
    inotify,
    ioctl,
    ipc,
    kcmp,
    mman,
    mount,
    poll,
    prctl,
    random,
    resource,
    sched,
    signal,
    socket,
    stat,
    termios,
    time,
    wait,
    xattr,
)
from noah.abi.errno import ERRNO_NAMES

if TYPE_CHECKING:
    from types import ModuleType

Fields: TypeAlias = tuple[tuple[int, dict[int, str]], ...]


class Table:
    """Names of the values of one kind of argument.

    whole   names of complete values; all there is for an enumeration
    fields  for flags: (mask, {value & mask: name}) in the order of printing; a flag is a field of one value
    """

    __slots__ = ("fields", "whole")

    def __init__(self, whole: dict[int, str], fields: Fields = ()) -> None:
        self.whole = whole
        self.fields = fields


def flags(table: Table, value: int) -> str:
    """The value by name: `O_RDONLY|O_CLOEXEC`; bits or numbers without a name in hexadecimal."""
    if (name := table.whole.get(value)) is not None:
        return name
    if not table.fields:
        return hex(value)
    rest = value & 0xFFFFFFFF if value < 0 else value
    parts = []
    for mask, names in table.fields:
        if (name := names.get(rest & mask)) is not None:
            parts.append(name)
            rest &= ~mask
    if rest or not parts:
        parts.append(hex(rest) if rest else "0")
    return "|".join(parts)


def _constants(module: ModuleType, prefixes: str, skip: str = "") -> dict[str, int]:
    """The module's numbers whose name starts with one of the prefixes and with none of skip."""
    wanted, unwanted = tuple(prefixes.split()), tuple(skip.split())
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, int) and name.startswith(wanted) and not (unwanted and name.startswith(unwanted))
    }


def _inverse(constants: dict[str, int]) -> dict[int, str]:
    """{value: name}; of several names the first counts."""
    return {value: name for name, value in reversed(constants.items())}


def _enum(module: ModuleType, prefixes: str, skip: str = "") -> Table:
    return Table(_inverse(_constants(module, prefixes, skip)))


def _flag_fields(constants: dict[str, int]) -> Fields:
    """Each non-zero constant a flag; those of several bits before those they are made of."""
    named = {value: name for value, name in _inverse(constants).items() if value}
    order = {value: index for index, value in enumerate(dict.fromkeys(constants.values()))}
    return tuple((value, {value: named[value]}) for value in sorted(named, key=lambda v: (-v.bit_count(), order[v])))


def _flags(module: ModuleType, prefixes: str, skip: str = "", zero: str = "0") -> Table:
    return Table({0: zero}, _flag_fields(_constants(module, prefixes, skip)))


def _pick(module: ModuleType, names: str) -> Fields:
    """Flags in the order given."""
    return tuple((value, {value: name}) for name in names.split() for value in (vars(module)[name],))


def _field(module: ModuleType, mask: int, names: str) -> Fields:
    return ((mask, {vars(module)[name]: name for name in names.split()}),)


SIGNAL_NAMES: Final[dict[int, str]] = {
    **_inverse(_constants(signal, "SIG", "SIG_ SIGEV SIGSET SIGINFO SIGRTMAX")),
    **{signal.SIGRTMIN + n: f"SIGRT_{n}" for n in range(1, signal.NSIG - signal.SIGRTMIN + 1)},
}

_OPEN: Final = _field(fcntl, fcntl.O_ACCMODE, "O_RDONLY O_WRONLY O_RDWR O_ACCMODE") + _pick(
    fcntl,
    "O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_SYNC O_DSYNC O_DIRECT O_LARGEFILE O_NOFOLLOW "
    "O_NOATIME O_CLOEXEC O_PATH O_TMPFILE O_DIRECTORY FASYNC",
)
_FUTEX_OPS: Final = {
    op: name
    for op, name in _inverse(_constants(futex, "FUTEX_", "FUTEX_OP_ FUTEX_32")).items()
    if 0 <= op < futex.FUTEX_PRIVATE_FLAG
}

TABLES: Final[dict[str, Table]] = {
    # Files
    "open_flags": Table({}, _OPEN),
    "resolve_flags": _flags(fcntl, "RESOLVE_"),
    "at_flags": _flags(fcntl, "AT_", "AT_FDCWD AT_EACCESS AT_STATX_SYNC"),
    "faccessat_flags": _flags(fcntl, "AT_", "AT_FDCWD AT_REMOVEDIR AT_STATX_SYNC"),
    "statx_mask": _flags(stat, "STATX_", "STATX_ATTR"),
    "statx_attributes": _flags(stat, "STATX_ATTR"),
    "access_mode": Table({fcntl.F_OK: "F_OK"}, _pick(fcntl, "R_OK W_OK X_OK")),
    "seek_whence": _enum(fcntl, "SEEK_"),
    "fcntl_cmd": _enum(fcntl, "F_", "F_OK F_RDLCK F_WRLCK F_UNLCK F_OWNER_ F_SEAL_"),
    "fd_flags": _flags(fcntl, "FD_CLOEXEC"),
    "lock_type": _enum(fcntl, "F_RDLCK F_WRLCK F_UNLCK"),
    "dn_flags": _flags(fcntl, "DN_"),
    "seal_flags": _flags(fcntl, "F_SEAL_"),
    "flock_op": _flags(fcntl, "LOCK_"),
    "falloc_mode": _flags(fcntl, "FALLOC_FL_"),
    "fadvise_advice": _enum(fcntl, "POSIX_FADV_"),
    "rename_flags": _flags(fcntl, "RENAME_"),
    "sync_range_flags": _flags(fcntl, "SYNC_FILE_RANGE_"),
    "splice_flags": _flags(fcntl, "SPLICE_F_"),
    "rwf_flags": _flags(fcntl, "RWF_"),
    "close_range_flags": _flags(fcntl, "CLOSE_RANGE_"),
    "pipe_flags": Table({0: "0"}, _pick(fcntl, "O_CLOEXEC O_NONBLOCK O_DIRECT")),
    "dup_flags": Table({0: "0"}, _pick(fcntl, "O_CLOEXEC")),
    "dirent_type": _enum(fcntl, "DT_"),
    "file_type": _enum(stat, "S_IF", "S_IFMT"),
    "ioctl_cmd": _enum(
        ioctl,
        "TC TIOC FI BLK FS_IOC_ FAT_ SIOC RND NS_ KD VT_",
        "TIOCPKT_ TCOOFF TCOON TCIOFF TCION TCIFLUSH TCOFLUSH TCIOFLUSH",
    ),
    "xattr_flags": _flags(xattr, "XATTR_CREATE XATTR_REPLACE"),
    "mount_flags": _flags(mount, "MS_", "MS_MGC_MSK"),
    "umount_flags": _flags(mount, "MNT_ UMOUNT_"),
    "statfs_type": Table(_inverse({name: value for name, value in vars(mount).items() if "_MAGIC" in name})),
    "statfs_flags": _flags(mount, "ST_"),
    # Memory
    "mmap_prot": _flags(mman, "PROT_", "PROT_NONE", zero="PROT_NONE"),
    "mmap_flags": Table(
        {},
        _field(mman, mman.MAP_TYPE, "MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE MAP_DROPPABLE")
        + _flag_fields(_constants(mman, "MAP_", "MAP_SHARED MAP_PRIVATE MAP_DROPPABLE MAP_TYPE MAP_HUGE_")),
    ),
    "mremap_flags": _flags(mman, "MREMAP_"),
    "kcmp_type": _enum(kcmp, "KCMP_"),
    "madvise_advice": _enum(mman, "MADV_"),
    "msync_flags": _flags(mman, "MS_"),
    "mlock_flags": _flags(mman, "MLOCK_"),
    "mlockall_flags": _flags(mman, "MCL_"),
    "memfd_flags": _flags(mman, "MFD_"),
    "membarrier_cmd": _enum(mman, "MEMBARRIER_"),
    # Processes
    "clone_flags": Table(
        {}, (*_flag_fields(_constants(sched, "CLONE_", "CLONE_ARGS CLONE_NEWTIME")), (sched.CSIGNAL, SIGNAL_NAMES))
    ),
    "unshare_flags": _flags(sched, "CLONE_", "CLONE_ARGS"),
    "wait_options": Table(
        {0: "0"},
        _pick(wait, "WNOHANG WSTOPPED WEXITED WCONTINUED WNOWAIT")
        + tuple((vars(wait)[name], {vars(wait)[name]: "__" + name}) for name in ("WCLONE", "WALL", "WNOTHREAD")),
    ),
    "wait_idtype": _enum(wait, "P_"),
    "prctl_option": _enum(prctl, "PR_", "PR_SET_VMA_ PR_SET_MM_ PR_CAP_AMBIENT_ PR_TSC_"),
    "arch_prctl_code": _enum(arch_prctl, "ARCH_"),
    "sched_policy": Table(
        {},
        _field(sched, 0xFF, "SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE SCHED_EXT")
        + _pick(sched, "SCHED_RESET_ON_FORK"),
    ),
    "priority_which": _enum(resource, "PRIO_PROCESS PRIO_PGRP PRIO_USER"),
    "resource_id": _enum(resource, "RLIMIT_"),
    "rusage_who": _enum(resource, "RUSAGE_"),
    "pidfd_flags": _flags(sched, "PIDFD_"),
    "futex_op": Table(
        {},
        (
            (
                0xFF,
                _FUTEX_OPS | {op | futex.FUTEX_PRIVATE_FLAG: name + "_PRIVATE" for op, name in _FUTEX_OPS.items()},
            ),
            *_pick(futex, "FUTEX_CLOCK_REALTIME"),
        ),
    ),
    "capability": _enum(capability, "CAP_", "CAP_LAST_CAP CAP_FULL_SET"),
    "auxv": _enum(elf, "AT_"),
    "grnd_flags": _flags(random, "GRND_"),
    # Signals and time
    "signal": Table(SIGNAL_NAMES | {0: "0"}),
    "sigmask_how": _enum(signal, "SIG_BLOCK SIG_UNBLOCK SIG_SETMASK"),
    "sigaction_flags": Table(
        {0: "0"},
        _pick(
            signal,
            "SA_RESTORER SA_ONSTACK SA_RESTART SA_NODEFER SA_RESETHAND SA_SIGINFO SA_NOCLDSTOP SA_NOCLDWAIT "
            "SA_UNSUPPORTED SA_EXPOSE_TAGBITS",
        ),
    ),
    "sigaltstack_flags": _flags(signal, "SS_"),
    "sigev_notify": _enum(signal, "SIGEV_"),
    "signalfd_flags": _flags(signal, "SFD_"),
    "clock_id": _enum(time, "CLOCK_"),
    "timer_flags": _flags(time, "TIMER_ABSTIME"),
    "itimer_which": _enum(time, "ITIMER_"),
    "timerfd_flags": _flags(time, "TFD_CLOEXEC TFD_NONBLOCK"),
    "timerfd_set_flags": _flags(time, "TFD_TIMER_"),
    "adjtimex_modes": _flags(time, "ADJ_"),
    # Waiting for files
    "poll_events": _flags(poll, "POLL"),
    "epoll_events": _flags(poll, "EPOLL", "EPOLL_"),
    "epoll_flags": _flags(poll, "EPOLL_CLOEXEC"),
    "epoll_op": _enum(poll, "EPOLL_CTL_"),
    "eventfd_flags": _flags(poll, "EFD_"),
    "inotify_flags": _flags(inotify, "IN_CLOEXEC IN_NONBLOCK"),
    "inotify_mask": _flags(inotify, "IN_", "IN_CLOEXEC IN_NONBLOCK"),
    # Terminals
    "c_iflag": _flags(termios, "IGN BRKINT PARMRK INPCK ISTRIP INLCR ICRNL IUCLC IX IMAXBEL IUTF8"),
    "c_oflag": _flags(termios, "OPOST OLCUC ONLCR OCRNL ONOCR ONLRET OFILL OFDEL"),
    "c_lflag": _flags(termios, "ISIG ICANON XCASE ECHO NOFLSH TOSTOP FLUSHO PENDIN IEXTEN EXTPROC"),
    # Sockets
    "socket_domain": _enum(socket, "AF_", "AF_MAX"),
    "socket_type": Table(
        {},
        _field(
            socket,
            socket.SOCK_TYPE_MASK,
            "SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP SOCK_PACKET",
        )
        + _pick(socket, "SOCK_CLOEXEC SOCK_NONBLOCK"),
    ),
    "accept_flags": Table({0: "0"}, _pick(socket, "SOCK_CLOEXEC SOCK_NONBLOCK")),
    "socket_protocol": _enum(socket, "IPPROTO_"),
    "socket_level": _enum(socket, "SOL_"),
    "socket_option": _enum(socket, "SO_"),
    "ip_option": _enum(socket, "IP_ MCAST_", "IP_PMTUDISC_"),
    "ipv6_option": _enum(socket, "IPV6_ MCAST_"),
    "tcp_option": _enum(socket, "TCP_"),
    "udp_option": _enum(socket, "UDP_"),
    "netlink_option": _enum(
        socket,
        "NETLINK_ADD NETLINK_DROP NETLINK_PKTINFO NETLINK_BROADCAST NETLINK_NO_ NETLINK_LIST NETLINK_CAP NETLINK_EXT "
        "NETLINK_GET",
    ),
    "scm_type": _enum(socket, "SCM_", "SCM_MAX_FD"),
    "msg_flags": _flags(socket, "MSG_"),
    "shutdown_how": _enum(socket, "SHUT_"),
}
"""By Kind.show, and by the names of structures' fields that a tracer prints."""

OPTION_TABLES: Final[dict[int, Table]] = {
    socket.SOL_SOCKET: TABLES["socket_option"],
    socket.SOL_IP: TABLES["ip_option"],
    socket.SOL_IPV6: TABLES["ipv6_option"],
    socket.SOL_TCP: TABLES["tcp_option"],
    socket.SOL_UDP: TABLES["udp_option"],
    socket.SOL_NETLINK: TABLES["netlink_option"],
}
"""The options of getsockopt(2) by their level."""


def errno_name(number: int) -> str:
    """`ENOENT`."""
    return ERRNO_NAMES.get(number, str(number))


def signal_name(number: int) -> str:
    """`SIGINT`, `SIGRT_3`."""
    return SIGNAL_NAMES.get(number, str(number))


def sigset(mask: int) -> str:
    """A signal set as strace prints it: `[INT CHLD]`, and `~[KILL STOP]` when most are in."""
    members = [number for number in range(1, signal.NSIG + 1) if mask & signal.bit(number)]
    prefix = ""
    if len(members) > signal.NSIG * 2 // 3:
        members = [number for number in range(1, signal.NSIG + 1) if not mask & signal.bit(number)]
        prefix = "~"
    return f"{prefix}[{' '.join(signal_name(number).removeprefix('SIG') for number in members)}]"


_SI_CODES: Final[dict[int, dict[int, str]]] = {
    number: _inverse(_constants(signal, prefix))
    for number, prefix in (
        (signal.SIGILL, "ILL_"),
        (signal.SIGFPE, "FPE_"),
        (signal.SIGSEGV, "SEGV_"),
        (signal.SIGBUS, "BUS_"),
        (signal.SIGTRAP, "TRAP_"),
        (signal.SIGCHLD, "CLD_"),
        (signal.SIGPOLL, "POLL_"),
        (signal.SIGSYS, "SYS_"),
    )
}
_SI_ANY: Final[dict[int, str]] = _inverse(_constants(signal, "SI_"))


def si_code(signo: int, code: int) -> str:
    """`SEGV_MAPERR`, `SI_USER`."""
    return _SI_ANY.get(code) or _SI_CODES.get(signo, {}).get(code) or hex(code)


def ioctl_name(cmd: int) -> str:
    """`TCGETS`; unknown ones as `_IOC(_IOC_READ, 0x54, 0x30, 0x4)`."""
    if (name := TABLES["ioctl_cmd"].whole.get(cmd)) is not None:
        return name
    direction = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")[cmd >> 30 & 3]
    parts = (cmd >> 8 & 0xFF, cmd & 0xFF, cmd >> 16 & 0x3FFF)
    return f"_IOC({direction}, {', '.join(hex(part) if part else '0' for part in parts)})"


def file_mode(mode: int) -> str:
    """`S_IFREG|0644`; without a type `0644`."""
    kind = TABLES["file_type"].whole.get(mode & stat.S_IFMT)
    rest = mode & ~stat.S_IFMT if kind else mode
    return f"{kind}|{octal(rest)}" if kind else octal(rest)


_IPC_FLAGS: Final = {ipc.IPC_CREAT: "IPC_CREAT", ipc.IPC_EXCL: "IPC_EXCL", ipc.IPC_NOWAIT: "IPC_NOWAIT"}


def ipc_flags(value: int) -> str:
    """`IPC_CREAT|0600`."""
    parts = [name for bit, name in _IPC_FLAGS.items() if value & bit]
    rest = value & ~sum(_IPC_FLAGS)
    return "|".join(parts if parts and not rest else [*parts, octal(rest)])


def octal(mode: int) -> str:
    """As strace does: a leading 0, at least three digits."""
    return f"0{mode:o}".rjust(3, "0")
