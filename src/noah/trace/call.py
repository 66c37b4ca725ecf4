"""One system call as the tracer sees it, and how its arguments are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from noah.abi import kinds

if TYPE_CHECKING:
    from noah.kernel.task import Task
    from noah.syscalls.registry import Declaration

_NARROW: Final[dict[str, Callable[[int], int]]] = {
    kinds.U16: lambda x: x & 0xFFFF,
    kinds.U32: lambda x: x & 0xFFFF_FFFF,
    kinds.S32: lambda x: ((x & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000,
    kinds.U64: lambda x: x,
    kinds.S64: lambda x: (x ^ 1 << 63) - (1 << 63),
}


class Call:
    """A call in progress or done. `values` are the narrowed arguments; `result` counts once `done`."""

    __slots__ = ("declaration", "done", "mem", "result", "task", "values")

    def __init__(self, task: Task, declaration: Declaration, registers: tuple[int, ...]) -> None:
        self.task = task
        self.mem = task.mem
        self.declaration = declaration
        self.values = [
            _NARROW[kind.expr](register) for (_, kind), register in zip(declaration.parameters, registers, strict=False)
        ]
        self.result = 0
        self.done = False

    def named(self, name: str) -> int:
        """The value of the parameter called so; 0 if there is none."""
        for (own, _), value in zip(self.declaration.parameters, self.values, strict=True):
            if own == name:
                return value
        return 0

    def after(self, index: int, show: str = "dec") -> int:
        """The value of the next parameter behind `index` that is printed in this way: a buffer's length."""
        for (_, kind), value in zip(self.declaration.parameters[index + 1 :], self.values[index + 1 :], strict=True):
            if kind.show == show:
                return value
        return 0


Show: TypeAlias = Callable[[Call, int], "str | None"]
"""The text of a call's argument by index; None leaves it out, as strace does with the mode of open(2)
without O_CREAT. Raises LinuxError for memory that cannot be read."""
