"""Structures in guest memory as strace(1) writes them. Each function takes memory and an address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from noah.abi import ipcstructs, structs
from noah.abi.arch import ABIS
from noah.abi.names import TABLES, file_mode, flags, octal, signal_name, sigset
from noah.abi.resource import RLIM_INFINITY
from noah.abi.signal import SA_RESTORER
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFMT, S_ISGID, S_ISUID, S_ISVTX, UTIME_NOW, UTIME_OMIT, major, minor
from noah.trace.text import pointer, quote

if TYPE_CHECKING:
    from noah.abi.layout import Layout
    from noah.mm.user import UserMemory

Decoder: TypeAlias = Callable[["UserMemory", int, str], str]
"""(memory, address, architecture) -> text. Raises LinuxError(EFAULT)."""

MAX_ITEMS: Final = 32
"""Elements of an array that are shown."""


def fields(values: Layout, prefix: str, names: str = "", *, more: bool = False) -> str:
    """`{rlim_cur=1, rlim_max=2}`: all fields or some, as decimal numbers."""
    chosen = names.split() or values.OFFSETS
    text = ", ".join(f"{prefix}{name}={getattr(values, name)}" for name in chosen)
    return f"{{{text}, ...}}" if more else f"{{{text}}}"


def _unpack(layout: type[Layout], mem: UserMemory, address: int) -> Layout:
    return layout.unpack_from(mem.read(address, layout.struct.size))


def plain(layout: type[Layout], prefix: str, names: str = "", *, more: bool = False) -> Decoder:
    """A decoder for a structure of numbers."""
    return lambda mem, address, arch: fields(_unpack(layout, mem, address), prefix, names, more=more)


# -- time


def _timespec(sec: int, nsec: int) -> str:
    return f"{{tv_sec={sec}, tv_nsec={nsec}}}"


def _timeval(sec: int, usec: int) -> str:
    return f"{{tv_sec={sec}, tv_usec={usec}}}"


def timespec(mem: UserMemory, address: int, arch: str) -> str:
    return _timespec(*mem.unpack(structs.Timespec.struct, address))


def timeval(mem: UserMemory, address: int, arch: str) -> str:
    return _timeval(*mem.unpack(structs.Timeval.struct, address))


def timespec_pair(mem: UserMemory, address: int, arch: str) -> str:
    special = {UTIME_NOW: "UTIME_NOW", UTIME_OMIT: "UTIME_OMIT"}
    pair = (mem.unpack(structs.Timespec.struct, address + at) for at in (0, 16))
    return "[" + ", ".join(special.get(nsec) or _timespec(sec, nsec) for sec, nsec in pair) + "]"


def timeval_pair(mem: UserMemory, address: int, arch: str) -> str:
    return f"[{timeval(mem, address, arch)}, {timeval(mem, address + 16, arch)}]"


def itimerval(mem: UserMemory, address: int, arch: str) -> str:
    a, b, c, d = mem.unpack(structs.Itimerval.struct, address)
    return f"{{it_interval={_timeval(a, b)}, it_value={_timeval(c, d)}}}"


def itimerspec(mem: UserMemory, address: int, arch: str) -> str:
    a, b, c, d = mem.unpack(structs.Itimerspec.struct, address)
    return f"{{it_interval={_timespec(a, b)}, it_value={_timespec(c, d)}}}"


# -- files


def mode(value: int) -> str:
    """`S_IFDIR|S_ISVTX|0777`."""
    special = ((S_ISUID, "S_ISUID"), (S_ISGID, "S_ISGID"), (S_ISVTX, "S_ISVTX"))
    names = [name for bit, name in special if value & bit]
    if not names or not value & S_IFMT:
        return file_mode(value)
    kind = TABLES["file_type"].whole.get(value & S_IFMT, hex(value & S_IFMT))
    return "|".join((kind, *names, octal(value & 0o777)))


def device(value: int) -> str:
    return f"makedev({major(value):#x}, {minor(value):#x})"


def stat(mem: UserMemory, address: int, arch: str) -> str:
    layout = ABIS[arch].Stat
    found = dict(zip(layout.OFFSETS, mem.unpack(layout.struct, address), strict=True))
    if found["mode"] & S_IFMT in (S_IFCHR, S_IFBLK):
        return f"{{st_mode={mode(found['mode'])}, st_rdev={device(found['rdev'])}, ...}}"
    return f"{{st_mode={mode(found['mode'])}, st_size={found['size']}, ...}}"


def statx(mem: UserMemory, address: int, arch: str) -> str:
    found = structs.Statx.unpack_from(mem.read(address, 256))
    mask, attributes = flags(TABLES["statx_mask"], found.mask), flags(TABLES["statx_attributes"], found.attributes)
    return f"{{stx_mask={mask}, stx_attributes={attributes}, stx_mode={mode(found.mode)}, stx_size={found.size}, ...}}"


def statfs(mem: UserMemory, address: int, arch: str) -> str:
    found = structs.Statfs.unpack_from(mem.read(address, 120))
    kind = flags(TABLES["statfs_type"], found.type)
    head = fields(found, "f_", "bsize blocks bfree bavail files ffree")[1:-1]
    ids = f"f_fsid={{val=[{found.fsid & 0xFFFFFFFF:#x}, {found.fsid >> 32:#x}]}}"
    tail = fields(found, "f_", "namelen frsize")[1:-1]
    return f"{{f_type={kind}, {head}, {ids}, {tail}, f_flags={flags(TABLES['statfs_flags'], found.flags)}}}"


def flock(mem: UserMemory, address: int, arch: str) -> str:
    found = structs.Flock.unpack_from(mem.read(address, 32))
    kind, whence = flags(TABLES["lock_type"], found.type), flags(TABLES["seek_whence"], found.whence)
    return f"{{l_type={kind}, l_whence={whence}, l_start={found.start}, l_len={found.len}}}"


def open_how(mem: UserMemory, address: int, arch: str) -> str:
    how = structs.OpenHow.unpack_from(mem.read(address, 24))
    text = f"flags={flags(TABLES['open_flags'], ABIS[arch].open_flags(how.flags))}, "
    text += f"mode={octal(how.mode)}, " if how.mode else ""
    return f"{{{text}resolve={flags(TABLES['resolve_flags'], how.resolve)}}}"


# -- processes


def limit(value: int) -> str:
    """`8192*1024`, `RLIM64_INFINITY`."""
    if value == RLIM_INFINITY:
        return "RLIM64_INFINITY"
    return f"{value >> 10}*1024" if value > 1024 and not value % 1024 else str(value)


def rlimit(mem: UserMemory, address: int, arch: str) -> str:
    soft, hard = mem.unpack(structs.Rlimit.struct, address)
    return f"{{rlim_cur={limit(soft)}, rlim_max={limit(hard)}}}"


def rusage(mem: UserMemory, address: int, arch: str) -> str:
    a, b, c, d = mem.unpack(structs.Rusage.struct, address)[:4]
    return f"{{ru_utime={_timeval(a, b)}, ru_stime={_timeval(c, d)}, ...}}"


def utsname(mem: UserMemory, address: int, arch: str) -> str:
    raw = mem.read(address, 130)
    names = (quote(raw[at : at + 65].split(b"\0", 1)[0]) for at in (0, 65))
    return "{{sysname={}, nodename={}, ...}}".format(*names)


def sysinfo(mem: UserMemory, address: int, arch: str) -> str:
    found = structs.Sysinfo.unpack_from(mem.read(address, 112))
    rest = fields(
        found, "", " ".join(name for name in found.OFFSETS if name not in ("uptime", "load1", "load5", "load15"))
    )
    return f"{{uptime={found.uptime}, loads=[{found.load1}, {found.load5}, {found.load15}], {rest[1:]}"


def clone_args(mem: UserMemory, address: int, arch: str) -> str:
    """The first 64 bytes: all that clone3(2) had at first."""
    args = structs.CloneArgs.unpack_from(mem.read(address, 64).ljust(88, b"\0"))
    parts = [f"flags={flags(TABLES['clone_flags'], args.flags) if args.flags else 0}"]
    for name in ("child_tid", "parent_tid"):
        if value := getattr(args, name):
            parts.append(f"{name}={value:#x}")
    parts.append(f"exit_signal={signal_name(args.exit_signal) if args.exit_signal else 0}")
    parts.append(f"stack={pointer(args.stack)}")
    parts.append(f"stack_size={args.stack_size:#x}" if args.stack_size else "stack_size=0")
    if args.tls:
        parts.append(f"tls={args.tls:#x}")
    return "{" + ", ".join(parts) + "}"


def sched_param(mem: UserMemory, address: int, arch: str) -> str:
    return f"[{mem.read_s32(address)}]"


def cap_header(mem: UserMemory, address: int, arch: str) -> str:
    version, pid = mem.unpack(structs.CapHeader.struct, address)
    known = {0x19980330: 1, 0x20071026: 2, 0x20080522: 3}
    name = f"_LINUX_CAPABILITY_VERSION_{known[version]}" if version in known else hex(version)
    return f"{{version={name}, pid={pid}}}"


def cap_data(mem: UserMemory, address: int, arch: str) -> str:
    raw = [structs.CapData.unpack_from(mem.read(address + at, 12)) for at in (0, 12)]
    names = {}
    for name in ("effective", "permitted", "inheritable"):
        mask = getattr(raw[0], name) | getattr(raw[1], name) << 32
        known = TABLES["capability"].whole
        names[name] = "|".join(f"1<<{known.get(bit, bit)}" for bit in range(64) if mask >> bit & 1) or "0"
    return "{" + ", ".join(f"{name}={text}" for name, text in names.items()) + "}"


# -- signals


def signal_set(mem: UserMemory, address: int, arch: str) -> str:
    return sigset(mem.read_u64(address))


def sigaction(mem: UserMemory, address: int, arch: str) -> str:
    action = structs.SigactionKernel.unpack_from(mem.read(address, 32))
    handler = {0: "SIG_DFL", 1: "SIG_IGN"}.get(action.handler) or hex(action.handler)
    text = f"sa_handler={handler}, sa_mask={sigset(action.mask)}, "
    text += f"sa_flags={flags(TABLES['sigaction_flags'], action.flags)}"
    if action.flags & SA_RESTORER:
        text += f", sa_restorer={action.restorer:#x}"
    return f"{{{text}}}"


def sigevent(mem: UserMemory, address: int, arch: str) -> str:
    event = structs.Sigevent.unpack_from(mem.read(address, 64))
    notify = flags(TABLES["sigev_notify"], event.notify)
    return f"{{sigev_signo={signal_name(event.signo)}, sigev_notify={notify}}}"


def stack(mem: UserMemory, address: int, arch: str) -> str:
    found = structs.StackT.unpack_from(mem.read(address, 24))
    kind = flags(TABLES["sigaltstack_flags"], found.flags)
    return f"{{ss_sp={pointer(found.sp)}, ss_flags={kind}, ss_size={found.size}}}"


# -- terminals


def winsize(mem: UserMemory, address: int, arch: str) -> str:
    return fields(structs.Winsize.unpack_from(mem.read(address, 8)), "ws_")


def termios(mem: UserMemory, address: int, arch: str) -> str:
    found = structs.Termios.unpack_from(mem.read(address, 36))
    parts = [f"c_{name}={flags(TABLES['c_' + name], getattr(found, name))}" for name in ("iflag", "oflag")]
    parts.append(f"c_cflag={found.cflag:#x}")
    parts.append(f"c_lflag={flags(TABLES['c_lflag'], found.lflag)}")
    return "{" + ", ".join(parts) + ", ...}"


STRUCTS: Final[dict[str, Decoder]] = {
    "timespec": timespec,
    "timespec[2]": timespec_pair,
    "timeval": timeval,
    "timeval[2]": timeval_pair,
    "timezone": plain(structs.Timezone, "tz_"),
    "timex": plain(
        structs.Timex, "", "modes offset freq maxerror esterror status constant precision tolerance", more=True
    ),
    "utimbuf": plain(structs.Utimbuf, ""),
    "itimerval": itimerval,
    "itimerspec": itimerspec,
    "stat": stat,
    "statx": statx,
    "statfs": statfs,
    "rlimit": rlimit,
    "rusage": rusage,
    "tms": plain(structs.Tms, "tms_"),
    "utsname": utsname,
    "sysinfo": sysinfo,
    "clone_args": clone_args,
    "open_how": open_how,
    "mq_attr": plain(ipcstructs.MqAttr, "mq_"),
    "sched_param": sched_param,
    "cap_header": cap_header,
    "cap_data": cap_data,
    "sigset": signal_set,
    "sigaction": sigaction,
    "sigevent": sigevent,
    "stack": stack,
}
"""By the word behind `struct:` in Kind.show; what needs other arguments of its call is in noah.trace.arguments."""
