"""siginfo_t between guest memory and noah.host.values.Siginfo."""

from __future__ import annotations

from typing import Any, Final

from noah.abi.errno import E2BIG, LinuxError
from noah.abi.siginfo import (
    SIGINFO_SIZE,
    SiginfoChld,
    SiginfoFault,
    SiginfoKill,
    SiginfoPoll,
    SiginfoRt,
    SiginfoSys,
    SiginfoTimer,
    layout_of,
)
from noah.abi.signal import POLL_HUP, SI_KERNEL
from noah.host.values import Siginfo

_KERNEL_SIGINFO_SIZE: Final = 48  # sizeof(kernel_siginfo_t): no union member is longer


def pack(info: Siginfo) -> bytes:
    """The 128 bytes that the guest sees."""
    signo, errno, code = info.signo, info.errno, info.code
    layout = layout_of(signo, code)
    if layout is SiginfoFault:
        return layout.struct.pack(signo, errno, code, info.addr, 0, 0, 0)
    if layout is SiginfoChld:
        return layout.struct.pack(signo, errno, code, info.pid, info.uid, info.status, info.utime, info.stime)
    if layout is SiginfoRt:
        return layout.struct.pack(signo, errno, code, info.pid, info.uid, info.value)
    if layout is SiginfoTimer:
        return layout.struct.pack(signo, errno, code, info.timerid, info.overrun, info.value)
    if layout is SiginfoPoll:
        return layout.struct.pack(signo, errno, code, info.band, info.fd)
    if layout is SiginfoSys:
        return layout.struct.pack(signo, errno, code, info.addr, info.status, info.value & 0xFFFF_FFFF)
    # SiginfoKill, and the value that rt_sigqueueinfo(2) may have put behind it
    return SiginfoRt.struct.pack(signo, errno, code, info.pid, info.uid, info.value)


def unpack(signo: int, raw: bytes) -> Siginfo:
    """What the guest hands to rt_sigqueueinfo(2), as a signal `signo`.

    E2BIG: a si_code of no known layout with data beyond what the kernel keeps (post_copy_siginfo_from_user).
    """
    _, errno, code, pid, uid, value = SiginfoRt.struct.unpack(raw)
    layout = layout_of(signo, code)
    if layout is SiginfoRt or layout is SiginfoKill:
        if POLL_HUP < code < SI_KERNEL or code > SI_KERNEL:
            if any(raw[_KERNEL_SIGINFO_SIZE:SIGINFO_SIZE]):
                raise LinuxError(E2BIG)
        return Siginfo(signo, errno, code, pid=pid, uid=uid, value=value)
    fields: tuple[Any, ...] = layout.struct.unpack(raw)[3:]
    if layout is SiginfoFault:
        return Siginfo(signo, errno, code, addr=fields[0])
    if layout is SiginfoChld:
        pid, uid, status, utime, stime = fields
        return Siginfo(signo, errno, code, pid=pid, uid=uid, status=status, utime=utime, stime=stime)
    if layout is SiginfoTimer:
        return Siginfo(signo, errno, code, timerid=fields[0], overrun=fields[1], value=fields[2])
    if layout is SiginfoPoll:
        return Siginfo(signo, errno, code, band=fields[0], fd=fields[1])
    return Siginfo(signo, errno, code, addr=fields[0], status=fields[1], value=fields[2])
