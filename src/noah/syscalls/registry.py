"""The registry: a system call is one decorated, typed function, and everything else comes from it.

    @syscall
    def dup3(task: Task, oldfd: Fd, newfd: Fd, flags: OpenFlags) -> int:
        \"\"\"dup(2): ...\"\"\"

The number comes from the function's name (noah.abi.numbers), how each register is narrowed and printed from the kinds
in the annotations (noah.abi.kinds). A stub `lambda task, a0..a5: dup3(task, <narrowed a0>, ...)` stands between the run
loop and the handler; nothing is introspected when a call is made. Calls whose parameters are narrowed alike have stubs
of one form, and the forms are in a generated module: to compile them would take longer than all else that happens at
the start, or, when a call is first made, each forked child some of it. Unknown numbers are ENOSYS and are named once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from noah.abi import kinds
from noah.abi.errno import ENOSYS, LinuxError
from noah.abi.numbers import AARCH64, X86_64
from noah.syscalls import stubs

NUMBERS: Final[dict[str, dict[str, int]]] = {"x86_64": X86_64, "aarch64": AARCH64}
TABLE_SIZE: Final = 512

Stub = Callable[..., int]
_F = TypeVar("_F", bound=Callable[..., int])


class Declaration:
    """One system call: its name, handler and parameters, and what of it is missing (`partial`)."""

    __slots__ = ("doc", "function", "name", "parameters", "partial")

    def __init__(self, name: str, function: Callable[..., int], partial: str) -> None:
        code = getattr(function, "__code__", None)
        if code is None:
            raise TypeError(f"{name}: a compiled function has no annotations to read")
        self.name = name
        self.function = function
        self.partial = partial
        self.doc = (function.__doc__ or "").strip()
        if f"({2}" not in self.doc and "(2)" not in self.doc:
            raise TypeError(f"{name}: the docstring does not name a man page of section 2")
        self.parameters: list[tuple[str, kinds.Kind]] = []
        for parameter in code.co_varnames[1 : code.co_argcount]:
            alias = getattr(kinds, str(function.__annotations__.get(parameter)), None)
            metadata = getattr(alias, "__metadata__", None)
            if not metadata:
                raise TypeError(f"{name}: parameter {parameter} has no kind")
            self.parameters.append((parameter, metadata[0]))

    @property
    def form(self) -> str:
        """How its registers are narrowed: a letter for each parameter."""
        return "".join(kinds.LETTERS[kind.expr] for _, kind in self.parameters)

    def stub(self) -> Stub:
        """The entry of the dispatch table: narrows six raw registers to what the handler takes."""
        make = getattr(stubs, f"stub_{self.form}", None)
        if make is None:  # a declaration newer than the generated module
            scope: dict[str, Any] = {}
            exec(source(self.form), scope)
            make = scope[f"stub_{self.form}"]
        stub: Stub = make(self.function)
        return stub


def source(form: str) -> str:
    """What tools/gen_stubs.py writes for calls of this form."""
    by_letter = {letter: expr for expr, letter in kinds.LETTERS.items()}
    arguments = ", ".join(["task", *(by_letter[letter].format(x=f"a{index}") for index, letter in enumerate(form))])
    return f"def stub_{form}(call: Call) -> Call:\n    return lambda task, a0, a1, a2, a3, a4, a5: call({arguments})\n"


DECLARATIONS: Final[dict[str, Declaration]] = {}


@overload
def syscall(function: _F, /) -> _F: ...
@overload
def syscall(*, name: str = ..., partial: str = ...) -> Callable[[_F], _F]: ...
def syscall(function: Any = None, /, *, name: str = "", partial: str = "") -> Any:
    """Declare a handler. `partial` says in a sentence what Linux does and this does not."""

    def declare(function: _F) -> _F:
        own_name = name or function.__name__.rstrip("_")
        if own_name in DECLARATIONS:
            raise TypeError(f"{own_name} is declared twice")
        if not any(own_name in numbers for numbers in NUMBERS.values()):
            raise TypeError(f"{own_name} is no system call of any architecture")
        DECLARATIONS[own_name] = Declaration(own_name, function, partial)
        return function

    return declare(function) if function is not None else declare


class Missing:
    """Names each system call or flag that a program asked for and did not get, once."""

    __slots__ = ("report", "seen")

    def __init__(self, report: Callable[[str], None]) -> None:
        self.seen: dict[str, int] = {}
        self.report = report

    def note(self, what: str) -> None:
        count = self.seen.get(what, 0)
        self.seen[what] = count + 1
        if not count:
            self.report(what)


def build_table(arch: str, missing: Missing) -> list[Stub]:
    """The dispatch table of an architecture."""
    table: list[Stub] = [_unknown(f"system call {number}", missing) for number in range(TABLE_SIZE)]
    for name, number in NUMBERS[arch].items():
        declaration = DECLARATIONS.get(name)
        table[number] = declaration.stub() if declaration is not None else _unknown(name, missing)
    return table


def _unknown(name: str, missing: Missing) -> Stub:
    def unknown(task: Any, *arguments: int) -> int:
        missing.note(name)
        raise LinuxError(ENOSYS)

    return unknown
