"""How each argument of a system call is written, by its kind: strace(1)'s form."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from noah.abi import fcntl, ioctl
from noah.abi.arch import ABIS
from noah.abi.errno import ENAMETOOLONG, LinuxError
from noah.abi.fcntl import AT_FDCWD
from noah.abi.limits import PATH_MAX
from noah.abi.names import TABLES, Table, flags, ioctl_name, ipc_flags, octal, signal_name
from noah.trace.signals import signal_info, wait_status
from noah.trace.sockets import sockaddr
from noah.trace.structs import MAX_ITEMS, STRUCTS, device, flock, mode, termios, winsize
from noah.trace.text import STRING_LIMIT, number, pointer, quote

if TYPE_CHECKING:
    from noah.mm.user import UserMemory
    from noah.trace.call import Call, Show

_MINUS_ONE: Final = 0xFFFF_FFFF


def _value(form: Callable[[int], str]) -> Show:
    """For arguments that are all in their register."""
    return lambda call, index: form(call.values[index])


def _memory(form: Show) -> Show:
    """For pointers: NULL is not looked at, and what cannot be read is shown as an address."""

    def show(call: Call, index: int) -> str | None:
        address = call.values[index]
        if not address:
            return "NULL"
        try:
            return form(call, index)
        except LinuxError:
            return hex(address)

    return show


def _at(form: Callable[[UserMemory, int], str]) -> Show:
    return _memory(lambda call, index: form(call.mem, call.values[index]))


def _array(items: Iterable[str], count: int) -> str:
    shown = ", ".join(items)
    return f"[{shown}, ...]" if count > MAX_ITEMS else f"[{shown}]"


# -- bytes and text


def text(mem: UserMemory, address: int, limit: int) -> str:
    """A NUL-terminated string; what does not end within the limit is cut off."""
    try:
        return quote(mem.string(address, limit + 1))
    except LinuxError as error:
        if error.errno != ENAMETOOLONG:
            raise
        return quote(mem.read(address, limit), cut=True)


def data(mem: UserMemory, address: int, length: int) -> str:
    """A buffer of `length` bytes."""
    return quote(mem.read(address, min(length, STRING_LIMIT)), cut=length > STRING_LIMIT)


def _buffer(call: Call, index: int) -> str:
    length = call.after(index)
    if call.done:  # a size of 0 asks for the size that is needed (getxattr(2))
        length = min(call.result, length)
    return data(call.mem, call.values[index], length)


def _argv(call: Call, index: int) -> str:
    address = call.values[index]
    words: list[str] = []
    while (word := call.mem.read_u64(address)) and len(words) < MAX_ITEMS:
        words.append(text(call.mem, word, STRING_LIMIT))
        address += 8
    return _array(words, len(words) + bool(word) * MAX_ITEMS)


def _env(call: Call, index: int) -> str:
    start = address = call.values[index]
    while call.mem.read_u64(address):
        address += 8
    count = (address - start) // 8
    return f"{start:#x} /* {count} var{'s' * (count != 1)} */"


# -- numbers in memory


def _cell(form: str) -> Show:
    layout = struct.Struct(form)
    return _at(lambda mem, address: f"[{mem.unpack(layout, address)[0]}]")


def _ids(call: Call, index: int) -> str:
    count = call.result if call.done else call.values[index - 1]
    shown = min(max(count, 0), MAX_ITEMS)
    raw = call.mem.read(call.values[index], 4 * shown)
    return _array((str(number) for (number,) in struct.iter_unpack("<I", raw)), count)


def fd_set(mem: UserMemory, address: int, count: int) -> str:
    count = min(max(count, 0), 65536)
    bits = int.from_bytes(mem.read(address, (count + 63) // 64 * 8), "little")
    return "[" + " ".join(str(fd) for fd in range(count) if bits >> fd & 1) + "]"


def _device(call: Call, index: int) -> str | None:
    return device(call.values[index])


# -- arrays of structures


def iovecs(call: Call, address: int, count: int, length: int | None) -> str:
    """`length` bytes of all that the array names are shown: the result of readv(2)."""
    items = []
    left = length if length is not None else 1 << 62
    for base, size in struct.iter_unpack("<QQ", call.mem.read(address, 16 * min(count, MAX_ITEMS))):
        content = data(call.mem, base, min(size, left)) if base else "NULL"
        items.append(f"{{iov_base={content}, iov_len={size}}}")
        left -= min(size, left)
    return _array(items, count)


def _iovec(call: Call, index: int) -> str:
    return iovecs(call, call.values[index], max(call.after(index), 0), call.result if call.done else None)


def _pollfds(call: Call, index: int) -> str:
    count = max(call.after(index), 0)
    events = TABLES["poll_events"]
    raw = call.mem.read(call.values[index], 8 * min(count, MAX_ITEMS))
    if call.done:
        ready = [(fd, got) for fd, _, got in struct.iter_unpack("<iHH", raw) if got]
        return _array((f"{{fd={fd}, revents={flags(events, got)}}}" for fd, got in ready), count)
    items = (f"{{fd={fd}, events={flags(events, wanted)}}}" for fd, wanted, _ in struct.iter_unpack("<iHH", raw))
    return _array(items, count)


def _epoll_events(call: Call, address: int, count: int) -> list[str]:
    layout = ABIS[call.task.process.arch.name].EpollEvent.struct
    table = TABLES["epoll_events"]
    events = (call.mem.unpack(layout, address + layout.size * at) for at in range(min(count, MAX_ITEMS)))
    return [f"{{events={flags(table, what)}, data={{u32={word & _MINUS_ONE}, u64={word}}}}}" for what, word in events]


def _epoll_array(call: Call, index: int) -> str:
    return _array(_epoll_events(call, call.values[index], call.result), call.result)


def _epoll_one(call: Call, index: int) -> str:
    return _epoll_events(call, call.values[index], 1)[0]


def _dirents(call: Call, index: int) -> str:
    address, left, count = call.values[index], call.result, 0
    while left > 0:
        size = int.from_bytes(call.mem.read(address + 16, 2), "little")
        if not size:
            break
        address, left, count = address + size, left - size, count + 1
    return f"{call.values[index]:#x} /* {count} entr{'y' if count == 1 else 'ies'} */"


# -- sockets


def _sockaddr(call: Call, index: int) -> str:
    length = call.values[index + 1]
    if call.done:
        length = call.mem.read_u32(length)
    return sockaddr(call.mem.read(call.values[index], min(length, 128)))


def message(call: Call, address: int, length: int | None) -> str:
    name, name_length, _, vectors, count, control, control_length, what, _ = struct.unpack(
        "<QIIQQQQII", call.mem.read(address, 56)
    )
    who = sockaddr(call.mem.read(name, min(name_length, 128))) if name and name_length else pointer(name)
    parts = [f"msg_name={who}", f"msg_namelen={name_length}"]
    parts.append(f"msg_iov={iovecs(call, vectors, count, length) if vectors else 'NULL'}")
    parts.append(f"msg_iovlen={count}")
    if control and control_length:
        parts.append(f"msg_control={control:#x}")
    parts += [f"msg_controllen={control_length}", f"msg_flags={flags(TABLES['msg_flags'], what)}"]
    return "{" + ", ".join(parts) + "}"


def _message(call: Call, index: int) -> str:
    return message(call, call.values[index], call.result if call.done else None)


# -- what another argument decides

_LOCKS: Final = (fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_OFD_GETLK, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW)
_NO_ARGUMENT: Final = (fcntl.F_GETFD, fcntl.F_GETFL, fcntl.F_GETOWN, fcntl.F_GETSIG, fcntl.F_GETLEASE)
_NO_ARGUMENT_EITHER: Final = (fcntl.F_GETPIPE_SZ, fcntl.F_GET_SEALS)


def _fcntl(call: Call, index: int) -> str | None:
    command, value = call.values[1], call.values[index]
    if command in _NO_ARGUMENT or command in _NO_ARGUMENT_EITHER:
        return None
    if command in _LOCKS:
        return _at(lambda mem, address: flock(mem, address, ""))(call, index)
    if command == fcntl.F_SETFL:
        return open_flags(call, value)
    if command == fcntl.F_SETFD:
        return flags(TABLES["fd_flags"], value)
    if command == fcntl.F_ADD_SEALS:
        return flags(TABLES["seal_flags"], value)
    if command == fcntl.F_NOTIFY:
        return flags(TABLES["dn_flags"], value)
    if command == fcntl.F_SETSIG:
        return signal_name(value)
    return str(value - (1 << 64) if value >> 63 else value)


_TERMIOS: Final = frozenset((ioctl.TCGETS, ioctl.TCSETS, ioctl.TCSETSW, ioctl.TCSETSF))
_WINSIZE: Final = frozenset((ioctl.TIOCGWINSZ, ioctl.TIOCSWINSZ))
_INTS: Final = frozenset((ioctl.TIOCGPGRP, ioctl.TIOCSPGRP, ioctl.TIOCGSID, ioctl.FIONREAD, ioctl.TIOCGPTN))
_INTS_IN: Final = frozenset((ioctl.FIONBIO, ioctl.FIOASYNC, ioctl.TIOCSPTLCK, ioctl.TIOCPKT))
_READS: Final = frozenset(
    (ioctl.TCGETS, ioctl.TIOCGWINSZ, ioctl.TIOCGPGRP, ioctl.TIOCGSID, ioctl.FIONREAD, ioctl.TIOCGPTN)
)


def _ioctl(call: Call, index: int) -> str | None:
    command = call.values[1]
    if command in _READS and not call.done:
        return pointer(call.values[index])
    if command in _TERMIOS:
        return _at(lambda mem, address: termios(mem, address, ""))(call, index)
    if command in _WINSIZE:
        return _at(lambda mem, address: winsize(mem, address, ""))(call, index)
    if command in _INTS or command in _INTS_IN:
        return _cell("<i")(call, index)
    return number(call.values[index])


# -- the table


def open_flags(call: Call, value: int, table: str = "open_flags") -> str:
    """Flags of open(2), which have other numbers on other architectures."""
    return flags(TABLES[table], ABIS[call.task.process.arch.name].open_flags(value))


def _flags(table: Table) -> Show:
    return lambda call, index: flags(table, call.values[index])


def _structure(name: str) -> Show:
    decode = STRUCTS[name]
    return _memory(lambda call, index: decode(call.mem, call.values[index], call.task.process.arch.name))


_SHOWS: Final[dict[str, Show]] = {
    "dec": _value(str),
    "fd": _value(str),
    "hex": _value(pointer),
    "Hex32": _value(number),
    "Hex64": _value(number),
    "dirfd": _value(lambda value: "AT_FDCWD" if value == AT_FDCWD else str(value)),
    "id": _value(lambda value: "-1" if value == _MINUS_ONE else str(value)),
    "octal": _value(octal),
    "ipc_flags": _value(ipc_flags),
    "filemode": _value(mode),
    "dev": _device,
    "signal": _value(lambda value: signal_name(value) if value else "0"),
    "ioctl_cmd": _value(ioctl_name),
    "open_flags": lambda call, index: open_flags(call, call.values[index]),
    "pipe_flags": lambda call, index: open_flags(call, call.values[index], "pipe_flags"),
    "path": _at(lambda mem, address: text(mem, address, PATH_MAX - 1)),
    "str": _at(lambda mem, address: text(mem, address, STRING_LIMIT)),
    "buffer": _memory(_buffer),
    "argv": _memory(_argv),
    "env": _memory(_env),
    "int*": _cell("<i"),
    "uint*": _cell("<I"),
    "long*": _cell("<q"),
    "ulong*": _cell("<Q"),
    "fd-pair": _at(lambda mem, address: "[{}, {}]".format(*mem.unpack(struct.Struct("<ii"), address))),
    "wait-status": _at(lambda mem, address: f"[{wait_status(mem.read_u32(address))}]"),
    "fd-set": _memory(lambda call, index: fd_set(call.mem, call.values[index], call.values[0])),
    "id-list": _memory(_ids),
    "ioctl-arg": _ioctl,
    "fcntl-arg": _fcntl,
    "struct:siginfo": _at(lambda mem, address: signal_info(mem.read(address, 128))),
    "struct:dirents": _memory(_dirents),
    "struct:iovec[]": _memory(_iovec),
    "struct:pollfd[]": _memory(_pollfds),
    "struct:epoll_event": _memory(_epoll_one),
    "struct:epoll_event[]": _memory(_epoll_array),
    "struct:sockaddr": _memory(_sockaddr),
    "struct:msghdr": _memory(_message),
}


@functools.cache
def show_for(key: str, name: str = "") -> Show:
    """How arguments with this Kind.show, or a kind of this name, are written; what nobody knows is a number."""
    if (show := _SHOWS.get(name)) is not None:
        return show
    if (show := _SHOWS.get(key)) is not None:
        return show
    if (table := TABLES.get(key)) is not None:
        return _flags(table)
    name = key.removeprefix("struct:")
    return _structure(name) if name in STRUCTS else _value(pointer)
