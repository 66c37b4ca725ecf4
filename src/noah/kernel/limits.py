"""Resource limits of a process (getrlimit(2)): which hold, and who may set them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from noah.abi.errno import EAGAIN, EINVAL, EPERM, LinuxError
from noah.abi.limits import NR_OPEN
from noah.abi.resource import (
    RLIM_NLIMITS,
    RLIMIT_AS,
    RLIMIT_CPU,
    RLIMIT_DATA,
    RLIMIT_FSIZE,
    RLIMIT_MEMLOCK,
    RLIMIT_NICE,
    RLIMIT_NOFILE,
    RLIMIT_NPROC,
    RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
    RLIMIT_STACK,
)

if TYPE_CHECKING:
    from noah.kernel.task import Process, Task

Limits = tuple[int, int]
"""Soft and hard."""
_OF_HOST: Final = (RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME)
_REQUEST: Final = struct.Struct("<I??QQ")  # resource, whether the caller has CAP_SYS_RESOURCE, sets; soft, hard
_ANSWER: Final = struct.Struct("<QQ")


def change(process: Process, resource: int, new: Limits | None, *, privileged: bool) -> Limits:
    """do_prlimit(): the limits that held before."""
    if not 0 <= resource < RLIM_NLIMITS:
        raise LinuxError(EINVAL)
    before = process.rlimits[resource]
    if new is not None:
        soft, hard = new
        if soft > hard:
            raise LinuxError(EINVAL)
        if resource == RLIMIT_NOFILE and hard > NR_OPEN:
            raise LinuxError(EPERM)
        if hard > before[1] and not privileged:
            raise LinuxError(EPERM)
        process.rlimits[resource] = new
        apply(process, resource, soft)
    return before


def apply(process: Process, resource: int, soft: int) -> None:
    """Make a soft limit effective: most are Noah's to enforce; what counts time or files' sizes is the host's."""
    space = process.space
    if resource == RLIMIT_AS:
        space.limit_as = soft
    elif resource == RLIMIT_DATA:
        space.limit_data = soft
    elif resource == RLIMIT_STACK:
        space.limit_stack = soft
    elif resource == RLIMIT_MEMLOCK:
        space.limit_memlock = soft
    elif resource == RLIMIT_NOFILE:
        for task in process.tasks:
            task.fds.limit = min(soft, NR_OPEN)
    elif resource in _OF_HOST:
        try:
            hard = process.host.procs.getrlimit(resource)[1]
            process.host.procs.setrlimit(resource, (min(soft, hard), hard))
        except LinuxError as error:
            if error.errno != EINVAL:  # the host has no such limit, and nothing for it to limit
                raise


def change_of(task: Task, pid: int, resource: int, new: Limits | None) -> Limits:
    """prlimit(2) of another process of the box, which does it itself. EPERM: check_prlimit_permission()."""
    process, creds = task.process, task.creds
    shown = process.box.shown(pid)
    privileged = creds.capable(CAP_SYS_RESOURCE)
    if shown is None or not (privileged or ((creds.uid,) * 3 == shown.ids[:3] and (creds.gid,) * 3 == shown.ids[4:7])):
        raise LinuxError(EPERM)
    request = _REQUEST.pack(resource, privileged, new is not None, *(new or (0, 0)))
    soft, hard = _ANSWER.unpack(process.request(pid, b"limits", request))
    return soft, hard


def serve(process: Process, request: bytes) -> bytes:
    """The other side of change_of()."""
    resource, privileged, sets, soft, hard = _REQUEST.unpack(request)
    return _ANSWER.pack(*change(process, resource, (soft, hard) if sets else None, privileged=privileged))


def _has_more_than(process: Process, most: int) -> bool:
    """Whether the user has more processes and threads than that in the box."""
    box, uid = process.box, process.creds.uid
    count = 0
    for pid in box.members():
        if box.users(pid)[0] == uid:
            count += box.cards.threads(pid)
            if count > most:
                return True
    return False


def check_processes(task: Task) -> None:
    """Before one more: EAGAIN if the user has as many in the box as RLIMIT_NPROC allows (copy_process())."""
    creds, process = task.creds, task.process
    exempt = not creds.uid or creds.capable(CAP_SYS_RESOURCE) or creds.capable(CAP_SYS_ADMIN)
    if not exempt and _has_more_than(process, process.rlimits[RLIMIT_NPROC][0] - 1):
        raise LinuxError(EAGAIN)
    process.too_many = False


def note_user(process: Process) -> None:
    """The process has become another user's: with too many others, execve(2) will fail (flag_nproc_exceeded())."""
    process.too_many = process.creds.uid != 0 and _has_more_than(process, process.rlimits[RLIMIT_NPROC][0] + 1)


def check_exec(process: Process) -> None:
    """EAGAIN: do_execveat_common()"""
    if process.too_many and _has_more_than(process, process.rlimits[RLIMIT_NPROC][0]):
        raise LinuxError(EAGAIN)
    process.too_many = False
