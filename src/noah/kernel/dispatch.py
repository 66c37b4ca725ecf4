"""System calls that a thread wants as SIGSYS: prctl(2) with PR_SET_SYSCALL_USER_DISPATCH.

Documentation/admin-guide/syscall-user-dispatch.rst, kernel/entry/syscall_user_dispatch.c. It costs nothing where nobody
asks for it: the run loop of a thread that does gets another table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from noah.abi.errno import LinuxError
from noah.abi.prctl import SYSCALL_DISPATCH_FILTER_ALLOW, SYSCALL_DISPATCH_FILTER_BLOCK
from noah.abi.signal import SIGSEGV, SIGSYS, SYS_USER_DISPATCH
from noah.host.values import Siginfo
from noah.kernel.control import NoReturn, ProcessExit

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.task import Task

_MASK: Final = (1 << 64) - 1
_AUDIT_ARCH: Final = 0xC000_0000  # __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE


class Table(Protocol):
    """Handlers by the numbers of the calls."""

    def __getitem__(self, nr: int, /) -> Callable[..., int]: ...


class Dispatch:
    """What a thread has asked for: calls from outside of a range become signals while a byte of its memory says so."""

    __slots__ = ("_length", "_offset", "_selector")

    def __init__(self, offset: int, length: int, selector: int) -> None:
        """selector: the address of the byte; 0 for none."""
        self._offset = offset
        self._length = length
        self._selector = selector

    def _blocks(self, task: Task) -> bool:
        if task.vcpu.regs[task.process.arch.pc] - self._offset & _MASK < self._length:
            return False
        if not self._selector:
            return True
        try:
            state = task.mem.read(self._selector, 1)[0]
        except LinuxError:
            raise ProcessExit(signal=SIGSEGV) from None
        if state not in (SYSCALL_DISPATCH_FILTER_ALLOW, SYSCALL_DISPATCH_FILTER_BLOCK):
            raise ProcessExit(signal=SIGSYS)
        return bool(state == SYSCALL_DISPATCH_FILTER_BLOCK)

    def check(self, task: Task) -> None:
        """Before a call is answered: NoReturn, with the signal on its way, if it is not to be."""
        if self._blocks(task):
            arch, regs = task.process.arch, task.vcpu.regs
            nr = regs[arch.number] & 0xFFFF_FFFF
            info = Siginfo(
                SIGSYS, 0, SYS_USER_DISPATCH, addr=regs[arch.pc], status=nr, value=arch.elf_machine | _AUDIT_ARCH
            )
            task.process.signals.force(task, info)
            raise NoReturn


class _Dispatched:
    """A table whose handlers look whether they are to answer."""

    __slots__ = ("_dispatch", "_table")

    def __init__(self, dispatch: Dispatch, table: Table) -> None:
        self._dispatch = dispatch
        self._table = table

    def __getitem__(self, nr: int, /) -> Callable[..., int]:
        def call(task: Task, *registers: int) -> int:
            self._dispatch.check(task)
            return self._table[nr](task, *registers)

        return call


def table_of(task: Task, table: Table) -> Table:
    """The table by which this thread's calls are answered."""
    return table if task.dispatch is None else _Dispatched(task.dispatch, table)
