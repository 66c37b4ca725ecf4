"""The alternate signal stack of a task: sigaltstack(2), kernel/signal.c (do_sigaltstack, sas_ss_flags)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, ENOMEM, EPERM, LinuxError
from noah.abi.signal import SS_AUTODISARM, SS_DISABLE, SS_ONSTACK

if TYPE_CHECKING:
    from noah.kernel.task import Task

NONE: Final = (0, SS_DISABLE, 0)  # sas_ss_reset()


def contains(task: Task, sp: int) -> bool:
    """Whether a stack pointer is on it; the stack grows down, so its end belongs to it and its start does not."""
    base, _, size = task.altstack
    return base < sp <= base + size


def in_use(task: Task, sp: int) -> bool:
    """on_sig_stack(): a stack that disarmed itself when it was entered counts as not in use."""
    return not task.altstack[1] & SS_AUTODISARM and contains(task, sp)


def flags(task: Task, sp: int) -> int:
    """sas_ss_flags(): SS_DISABLE, SS_ONSTACK or 0 (armed, not in use)."""
    if not task.altstack[2]:
        return SS_DISABLE
    return SS_ONSTACK if in_use(task, sp) else 0


def change(task: Task, sp: int, stack: tuple[int, int, int], minimum: int) -> None:
    """Set the stack (base, flags, size) while the stack pointer is `sp`.

    EPERM: it is in use; EINVAL: unknown flags; ENOMEM: smaller than `minimum`.
    """
    base, new_flags, size = stack
    new_flags &= 0xFFFF_FFFF
    if in_use(task, sp):
        raise LinuxError(EPERM)
    mode = new_flags & ~SS_AUTODISARM
    if mode not in (SS_DISABLE, SS_ONSTACK, 0):
        raise LinuxError(EINVAL)
    if (base, new_flags, size) == task.altstack:
        return
    if mode == SS_DISABLE:
        base = size = 0
    elif size < minimum:
        raise LinuxError(ENOMEM)
    task.altstack = (base, new_flags, size)
