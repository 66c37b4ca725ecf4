"""Memory of another process of the box, which copies it itself: process_vm_readv(2), process_vm_writev(2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_SYS_PTRACE
from noah.abi.errno import EFAULT, EPERM, ESRCH, LinuxError
from noah.mm.advise import madvise
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noah.kernel.task import Process, Task

AT_ONCE: Final = 1 << 17
"""Bytes that fit into one question or answer."""
_ADVICE: Final = struct.Struct("<QQi")
_RANGE: Final = struct.Struct("<QQ")  # address, length


def check_traceable(task: Task, pid: int) -> None:
    """PTRACE_MODE_ATTACH_REALCREDS (ptrace(2)): ESRCH for what is no process of the box, EPERM for who may not."""
    process, creds = task.process, task.creds
    shown = process.box.shown(pid) if process.box.contains(pid) else None
    if shown is None:
        raise LinuxError(ESRCH)
    same = (creds.uid,) * 3 == shown.ids[:3] and (creds.gid,) * 3 == shown.ids[4:7]
    if not ((same and shown.dumpable) or creds.capable(CAP_SYS_PTRACE)):
        raise LinuxError(EPERM)


def read(task: Task, pid: int, address: int, length: int) -> bytes:
    """What is there, up to AT_ONCE bytes: short if it ends before. EFAULT if it does not begin."""
    return task.process.request(pid, b"read", _RANGE.pack(address, length))


def write(task: Task, pid: int, address: int, data: bytes) -> int:
    """How much of it could be written. EFAULT if nothing."""
    return int.from_bytes(task.process.request(pid, b"write", _RANGE.pack(address, len(data)) + data), "little")


def advise(task: Task, pid: int, address: int, length: int, advice: int) -> None:
    """madvise(2) by the other."""
    task.process.request(pid, b"advise", _ADVICE.pack(address, length, advice))


def serve_advise(process: Process, request: bytes) -> bytes:
    madvise(process.space, *_ADVICE.unpack(request))
    return b""


def serve_read(process: Process, request: bytes) -> bytes:
    address, length = _RANGE.unpack(request)
    found = bytearray()
    for start, count in pages(address, min(length, AT_ONCE)):
        try:
            found += process.space.memory.read(start, count)
        except LinuxError as error:
            if error.errno != EFAULT or not found:
                raise
            break
    return bytes(found)


def serve_write(process: Process, request: bytes) -> bytes:
    address, length = _RANGE.unpack_from(request)
    data = request[_RANGE.size :][:length]
    done = 0
    for start, count in pages(address, len(data)):
        try:
            process.space.memory.write(start, data[done : done + count])
        except LinuxError as error:
            if error.errno != EFAULT or not done:
                raise
            break
        done += count
    return done.to_bytes(8, "little")


def pages(address: int, length: int) -> Iterator[tuple[int, int]]:
    """A range in pieces that lie in one page each."""
    end = address + length
    while address < end:
        part = min(end - address, PAGE - address % PAGE)
        yield address, part
        address += part
