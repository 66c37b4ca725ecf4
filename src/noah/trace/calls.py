"""Calls and results whose form is their own: what strace(1) does not write by the kinds of the arguments alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noah.abi import fcntl, futex, prctl
from noah.abi.fcntl import (
    AT_STATX_DONT_SYNC,
    AT_STATX_FORCE_SYNC,
    AT_STATX_SYNC_AS_STAT,
    AT_STATX_SYNC_TYPE,
    O_CREAT,
    O_TMPFILE,
)
from noah.abi.names import TABLES, Table, flags, octal
from noah.abi.sched import CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_PARENT_SETTID, CLONE_SETTLS
from noah.abi.socket import AF_INET, AF_INET6
from noah.trace.arguments import fd_set, open_flags, show_for
from noah.trace.text import number, pointer

if TYPE_CHECKING:
    from noah.trace.call import Call, Show

_STATX_SYNC: Final = Table(
    {
        AT_STATX_SYNC_AS_STAT: "AT_STATX_SYNC_AS_STAT",
        AT_STATX_FORCE_SYNC: "AT_STATX_FORCE_SYNC",
        AT_STATX_DONT_SYNC: "AT_STATX_DONT_SYNC",
    }
)


def _mode_of_new_file(call: Call, index: int) -> str | None:
    wanted = call.named("flags")
    return octal(call.values[index]) if wanted & O_CREAT or wanted & O_TMPFILE == O_TMPFILE else None


def _hex(call: Call, index: int) -> str:
    return number(call.values[index])


def _statx_flags(call: Call, index: int) -> str:
    """How fresh the answer must be is a field of two bits, of which 0 has a name as well."""
    value = call.values[index]
    fresh = flags(_STATX_SYNC, value & AT_STATX_SYNC_TYPE)
    rest = value & ~AT_STATX_SYNC_TYPE
    return f"{fresh}|{flags(TABLES['at_flags'], rest)}" if rest else fresh


def _protocol(call: Call, index: int) -> str:
    family, value = call.values[0], call.values[index]
    return flags(TABLES["socket_protocol"], value) if family in (AF_INET, AF_INET6) else number(value)


def _clone(call: Call, index: int) -> str:
    what, stack, parent_tid, child_tid, tls = call.values
    if call.task.process.arch.name == "aarch64":
        child_tid, tls = tls, child_tid
    text = f"child_stack={pointer(stack)}, flags={flags(TABLES['clone_flags'], what)}"
    if what & CLONE_PARENT_SETTID:
        text += f", parent_tid={pointer(parent_tid)}"
    if what & CLONE_SETTLS:
        text += f", tls={tls:#x}"
    if what & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID):
        text += f", child_tidptr={pointer(child_tid)}"
    return text


def _left_out(call: Call, index: int) -> None:
    return None


def _random(call: Call, index: int) -> str:
    raw = call.mem.read(call.values[index], min(call.result, 32))
    return '"' + "".join(f"\\x{byte:02x}" for byte in raw) + '"' + ("..." if call.result > 32 else "")


def _cpus(call: Call, index: int) -> str:
    """The processors of sched_setaffinity(2): as many bytes as the caller says, or as the kernel filled in."""
    size = call.result if call.done else call.values[1]
    return fd_set(call.mem, call.values[index], 8 * min(size, 128))


def _wait_status(call: Call, index: int) -> str | None:
    """Nothing is stored for WNOHANG when no child has changed."""
    return show_for("wait-status")(call, index) if call.result else pointer(call.values[index])


def _time_left(call: Call, index: int) -> str | None:
    """nanosleep(2) stores it only when a signal came."""
    return pointer(call.values[index]) if call.done else show_for("struct:timespec")(call, index)


_NO_TIMEOUT: Final = (futex.FUTEX_WAKE, futex.FUTEX_WAKE_BITSET, futex.FUTEX_UNLOCK_PI)
_TWO_COUNTS: Final = (futex.FUTEX_REQUEUE, futex.FUTEX_CMP_REQUEUE, futex.FUTEX_WAKE_OP, futex.FUTEX_CMP_REQUEUE_PI)
_TWO_WORDS: Final = (*_TWO_COUNTS, futex.FUTEX_WAIT_REQUEUE_PI)
_BITSETS: Final = (futex.FUTEX_WAIT_BITSET, futex.FUTEX_WAKE_BITSET)


def _futex_timeout(call: Call, index: int) -> str | None:
    command = call.values[1] & futex.FUTEX_CMD_MASK
    if command in _TWO_COUNTS:
        return str(call.values[index])
    return None if command in _NO_TIMEOUT else show_for("struct:timespec")(call, index)


def _futex_second(call: Call, index: int) -> str | None:
    return hex(call.values[index]) if call.values[1] & futex.FUTEX_CMD_MASK in _TWO_WORDS else None


def _futex_third(call: Call, index: int) -> str | None:
    command, value = call.values[1] & futex.FUTEX_CMD_MASK, call.values[index]
    if command in _BITSETS:
        return "FUTEX_BITSET_MATCH_ANY" if value == futex.FUTEX_BITSET_MATCH_ANY else hex(value)
    return None if command == futex.FUTEX_REQUEUE or command not in _TWO_COUNTS else hex(value)


_PRCTL_FORMS: Final[dict[int, str]] = {
    prctl.PR_SET_NAME: "str",
    prctl.PR_GET_NAME: "hex",
    prctl.PR_SET_PDEATHSIG: "signal",
    prctl.PR_CAPBSET_READ: "capability",
    prctl.PR_CAPBSET_DROP: "capability",
}
_PRCTL_ALL: Final = (prctl.PR_SET_NO_NEW_PRIVS, prctl.PR_GET_NO_NEW_PRIVS, prctl.PR_SET_THP_DISABLE)


def _prctl(call: Call, index: int) -> str | None:
    """The second argument by what the option makes of it; the others as far as any is not 0."""
    if index == 1 and (form := _PRCTL_FORMS.get(call.values[0])) is not None:
        return show_for(form)(call, index)
    if call.values[0] in _PRCTL_FORMS or (call.values[0] not in _PRCTL_ALL and not any(call.values[index:])):
        return None
    value = call.values[index]
    return hex(value) if value > 9 else str(value)


OWN_ARGUMENTS: Final[dict[tuple[str, int], Show]] = {
    ("open", 2): _mode_of_new_file,
    ("openat", 3): _mode_of_new_file,
    ("mmap", 5): _hex,
    ("arch_prctl", 1): _hex,
    ("statx", 2): _statx_flags,
    ("socket", 2): _protocol,
    ("socketpair", 2): _protocol,
    ("clone", 0): _clone,
    **{("clone", index): _left_out for index in range(1, 5)},
    ("getrandom", 0): _random,
    ("wait4", 1): _wait_status,
    ("nanosleep", 1): _time_left,
    ("clock_nanosleep", 3): _time_left,
    ("sched_getaffinity", 2): _cpus,
    ("sched_setaffinity", 2): _cpus,
    ("futex", 3): _futex_timeout,
    ("futex", 4): _futex_second,
    ("futex", 5): _futex_third,
    **{("prctl", index): _prctl for index in range(1, 5)},
}
"""By name and index of the argument."""

FILLED_IN: Final = frozenset({("sched_getaffinity", 2)})
"""Arguments that are known after the call, though their kind does not say so."""


# -- results


def _hex_result(call: Call) -> str:
    return number(call.result)


def _octal_result(call: Call) -> str:
    return octal(call.result)


def _fcntl_result(call: Call) -> str:
    command, result = call.values[1], call.result
    if command == fcntl.F_GETFL:
        return f"{result:#x} (flags {open_flags(call, result)})"
    if command == fcntl.F_GETFD and result:
        return f"{result:#x} (flags {flags(TABLES['fd_flags'], result)})"
    if command == fcntl.F_GET_SEALS:
        return f"{result:#x} (seals {flags(TABLES['seal_flags'], result)})"
    return str(result)


def _left(call: Call, index: int, form: str) -> str:
    """How much of the timeout is left: these calls change it."""
    if not call.values[index]:
        return ""
    return f", left {show_for(form)(call, index)}"


def _poll_result(call: Call) -> str:
    if not call.result:
        return "0 (Timeout)"
    left = _left(call, 2, "struct:timespec") if call.declaration.name == "ppoll" else ""
    return f"{call.result} ({show_for('struct:pollfd[]')(call, 0)}{left})"


def _select_result(call: Call) -> str:
    if not call.result:
        return "0 (Timeout)"
    parts = []
    for name, index in (("in", 1), ("out", 2), ("except", 3)):
        if call.values[index]:
            found = fd_set(call.mem, call.values[index], call.values[0])
            if found != "[]":
                parts.append(f"{name} {found}")
    form = "struct:timeval" if call.declaration.name == "select" else "struct:timespec"
    return f"{call.result} ({', '.join(parts)}{_left(call, 4, form)})"


OWN_RESULTS: Final[dict[str, Callable[[Call], str]]] = {
    "brk": _hex_result,
    "mmap": _hex_result,
    "mremap": _hex_result,
    "shmat": _hex_result,
    "umask": _octal_result,
    "fcntl": _fcntl_result,
    "poll": _poll_result,
    "ppoll": _poll_result,
    "select": _select_result,
    "pselect6": _select_result,
}
"""By name; the others are decimal numbers."""

TOLD_BY_RESULT: Final = frozenset({"poll", "ppoll", "select", "pselect6"})
"""Calls whose result says how they changed their arguments."""
