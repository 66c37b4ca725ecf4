"""prctl(2): operations on the calling process, a function for each option; arch_prctl(2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from noah.abi import arch_prctl as codes
from noah.abi import prctl as options
from noah.abi.capability import (
    CAP_FULL_SET,
    CAP_LAST_CAP,
    CAP_SETPCAP,
    SECBIT_KEEP_CAPS,
    SECBIT_KEEP_CAPS_LOCKED,
    SECBIT_NO_CAP_AMBIENT_RAISE,
)
from noah.abi.errno import EFAULT, EINVAL, ENODEV, EPERM, LinuxError
from noah.abi.kinds import ArchPrctlCode, PrctlOption, ULong
from noah.abi.signal import NSIG
from noah.kernel.control import NoReturn
from noah.kernel.dispatch import Dispatch
from noah.kernel.task import Task
from noah.mm.advise import name_anonymous
from noah.syscalls.registry import syscall

_Option = Callable[[Task, int, int, int, int], int]
_OPTIONS: Final[dict[int, _Option]] = {}
_SLACK: Final = 50_000  # ns, of a new program
_MASK: Final = (1 << 64) - 1
_ALL_SECUREBITS: Final = 0xFF
_LOCKS: Final = 0xAA  # the odd bits lock the even ones
_NAME_MAX: Final = 80  # of anonymous memory, with its NUL
_NAME_FORBIDDEN: Final = frozenset(b"\\`$[]")


def _option(number: int) -> Callable[[_Option], _Option]:
    def declare(function: _Option) -> _Option:
        _OPTIONS[number] = function
        return function

    return declare


@syscall(partial="the common options; others are EINVAL and reported")
def prctl(task: Task, option: PrctlOption, arg2: ULong, arg3: ULong, arg4: ULong, arg5: ULong) -> int:
    """prctl(2): operations on the calling process."""
    function = _OPTIONS.get(option)
    if function is None:
        task.process.missing(f"prctl: option {option}")
        raise LinuxError(EINVAL)
    return function(task, arg2, arg3, arg4, arg5)


def _only(*unused: int) -> None:
    """EINVAL for arguments that have to be 0."""
    if any(unused):
        raise LinuxError(EINVAL)


@_option(options.PR_SET_NAME)
def _set_name(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    name = task.mem.prefix(arg2, options.TASK_COMM_LEN - 1)
    if task.leader:
        task.process.comm = name
    else:
        task.comm = name
    task.host.procs.set_name(name)
    task.process.show()
    return 0


@_option(options.PR_GET_NAME)
def _get_name(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    name = task.process.comm if task.leader else task.comm or task.process.comm
    task.mem.write(arg2, name.ljust(options.TASK_COMM_LEN, b"\0"))
    return 0


@_option(options.PR_SET_PDEATHSIG)
def _set_pdeathsig(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    if arg2 >= NSIG:
        raise LinuxError(EINVAL)
    task.host.procs.set_pdeathsig(arg2)
    task.pdeathsig = arg2
    return 0


@_option(options.PR_GET_PDEATHSIG)
def _get_pdeathsig(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    task.mem.write_u32(arg2, task.pdeathsig)
    return 0


@_option(options.PR_GET_DUMPABLE)
def _get_dumpable(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    return task.process.dumpable


@_option(options.PR_SET_DUMPABLE)
def _set_dumpable(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    if arg2 > options.SUID_DUMP_USER:
        raise LinuxError(EINVAL)
    task.process.dumpable = arg2
    return 0


@_option(options.PR_SET_NO_NEW_PRIVS)
def _set_no_new_privs(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    _only(arg2 != 1, arg3, arg4, arg5)
    task.process.no_new_privs = True
    task.process.show()
    return 0


@_option(options.PR_GET_NO_NEW_PRIVS)
def _get_no_new_privs(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    _only(arg2, arg3, arg4, arg5)
    return int(task.process.no_new_privs)


@_option(options.PR_SET_CHILD_SUBREAPER)
def _set_subreaper(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    task.host.procs.set_child_subreaper(bool(arg2))
    task.process.subreaper = bool(arg2)
    return 0


@_option(options.PR_GET_CHILD_SUBREAPER)
def _get_subreaper(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    task.mem.write_u32(arg2, int(task.process.subreaper))
    return 0


@_option(options.PR_SET_TIMERSLACK)
def _set_timer_slack(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    task.process.timer_slack = arg2 if 0 < arg2 < 1 << 63 else _SLACK
    return 0


@_option(options.PR_GET_TIMERSLACK)
def _get_timer_slack(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    return task.process.timer_slack


@_option(options.PR_GET_TID_ADDRESS)
def _get_tid_address(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    task.mem.write_u64(arg2, task.clear_child_tid)
    return 0


@_option(options.PR_SET_THP_DISABLE)
def _set_thp_disable(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    _only(arg3, arg4, arg5)
    return 0


@_option(options.PR_GET_THP_DISABLE)
def _get_thp_disable(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    _only(arg2, arg3, arg4, arg5)
    return 0


@_option(options.PR_GET_TSC)
def _get_tsc(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    task.mem.write_u32(arg2, options.PR_TSC_ENABLE)
    return 0


@_option(options.PR_GET_SECCOMP)
def _get_seccomp(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    return options.SECCOMP_MODE_DISABLED


@_option(options.PR_SET_PTRACER)
def _set_ptracer(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """What Yama answers (Documentation/admin-guide/LSM/Yama.rst): nobody can trace here anyway."""
    if arg2 not in (0, (1 << 64) - 1, task.pid) and not task.process.box.contains(arg2):
        raise LinuxError(EINVAL)
    return 0


@_option(options.PR_SET_VMA)
def _set_vma(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """Name anonymous memory, for /proc/self/maps."""
    if arg2 != options.PR_SET_VMA_ANON_NAME:
        raise LinuxError(EINVAL)
    name = b""
    if arg5:
        name = task.mem.string(arg5, _NAME_MAX)
        if any(not 0x20 <= byte < 0x7F or byte in _NAME_FORBIDDEN for byte in name):
            raise LinuxError(EINVAL)
        name = b"[anon:" + name + b"]"
    name_anonymous(task.space, arg3, arg4, name)
    return 0


@_option(options.PR_SET_SYSCALL_USER_DISPATCH)
def _set_dispatch(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """task_set_syscall_user_dispatch(). Linux has it on x86 alone."""
    arch = task.process.arch
    if arch.name != "x86_64":
        raise LinuxError(EINVAL)
    offset, length = arg3, arg4
    if arg2 == options.PR_SYS_DISPATCH_OFF:
        _only(offset, length, arg5)
    elif arg2 == options.PR_SYS_DISPATCH_EXCLUSIVE_ON:
        _only((bool(offset) and not length) or offset + length > _MASK)
    elif arg2 == options.PR_SYS_DISPATCH_INCLUSIVE_ON:
        _only(not length or offset + length > _MASK)
        offset, length = offset + length & _MASK, -length & _MASK
    else:
        raise LinuxError(EINVAL)
    if arg5 >= task.space.task_size:
        raise LinuxError(EFAULT)
    task.dispatch = Dispatch(offset, length, arg5) if arg2 else None
    task.vcpu.regs[arch.result] = 0
    raise NoReturn  # calls are looked up in another way now


# -- capabilities


@_option(options.PR_SET_KEEPCAPS)
def _set_keepcaps(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    creds = task.creds
    if arg2 > 1:
        raise LinuxError(EINVAL)
    if creds.securebits & SECBIT_KEEP_CAPS_LOCKED:
        raise LinuxError(EPERM)
    creds.securebits = creds.securebits & ~SECBIT_KEEP_CAPS | (SECBIT_KEEP_CAPS if arg2 else 0)
    return 0


@_option(options.PR_GET_KEEPCAPS)
def _get_keepcaps(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    return int(bool(task.creds.securebits & SECBIT_KEEP_CAPS))


@_option(options.PR_SET_SECUREBITS)
def _set_securebits(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    creds = task.creds
    old = creds.securebits
    locked = (old & _LOCKS) >> 1
    if (old ^ arg2) & locked or old & _LOCKS & ~arg2 or arg2 & ~_ALL_SECUREBITS or not creds.capable(CAP_SETPCAP):
        raise LinuxError(EPERM)
    creds.securebits = arg2
    return 0


@_option(options.PR_GET_SECUREBITS)
def _get_securebits(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    return task.creds.securebits


@_option(options.PR_CAPBSET_READ)
def _read_bounding(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    if arg2 > CAP_LAST_CAP:
        raise LinuxError(EINVAL)
    return task.creds.bounding >> arg2 & 1


@_option(options.PR_CAPBSET_DROP)
def _drop_bounding(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    if not task.creds.capable(CAP_SETPCAP):
        raise LinuxError(EPERM)
    if arg2 > CAP_LAST_CAP:
        raise LinuxError(EINVAL)
    task.creds.bounding &= CAP_FULL_SET & ~(1 << arg2)
    task.process.show()
    return 0


@_option(options.PR_CAP_AMBIENT)
def _ambient(task: Task, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    creds = task.creds
    if arg2 == options.PR_CAP_AMBIENT_CLEAR_ALL:
        _only(arg3, arg4, arg5)
        creds.ambient = 0
        return 0
    _only(arg3 > CAP_LAST_CAP, arg4, arg5)
    bit = 1 << arg3
    if arg2 == options.PR_CAP_AMBIENT_IS_SET:
        return int(bool(creds.ambient & bit))
    if arg2 == options.PR_CAP_AMBIENT_RAISE:
        if not creds.permitted & creds.inheritable & bit or creds.securebits & SECBIT_NO_CAP_AMBIENT_RAISE:
            raise LinuxError(EPERM)
        creds.ambient |= bit
    elif arg2 == options.PR_CAP_AMBIENT_LOWER:
        creds.ambient &= ~bit
    else:
        raise LinuxError(EINVAL)
    return 0


# -- arch_prctl


@syscall
def arch_prctl(task: Task, code: ArchPrctlCode, addr: ULong) -> int:
    """arch_prctl(2): FS and GS base, on x86-64."""
    vcpu = task.vcpu
    if code in (codes.ARCH_SET_FS, codes.ARCH_SET_GS):
        if addr >= task.space.task_size:
            raise LinuxError(EPERM)
        if code == codes.ARCH_SET_FS:
            vcpu.set_tls(addr)
        else:
            vcpu.set_gs(addr)
    elif code == codes.ARCH_GET_FS:
        task.mem.write_u64(addr, vcpu.get_tls())
    elif code == codes.ARCH_GET_GS:
        task.mem.write_u64(addr, vcpu.get_gs())
    elif code == codes.ARCH_GET_CPUID:
        return 1  # CPUID does not fault
    elif code == codes.ARCH_SET_CPUID:
        raise LinuxError(ENODEV)
    else:
        raise LinuxError(EINVAL)
    return 0
