"""`--strace`: every system call with its arguments and its result, a line each, as strace(1) writes it.

The tracer puts itself between the run loop and the handlers: it wraps the dispatch table. Without it nothing is paid.
Arguments that the kernel reads are written down before the call, since execve(2) and read(2) change what is there;
those that it fills in, after it. Guest memory is read through task.mem alone, so bad pointers are shown as numbers.

Where it differs from strace(1): a call is one line, written when it returns (no `<unfinished ...>`), and a signal that
the program ignores is not seen.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from noah.abi.errno import ERESTART_RESTARTBLOCK, LinuxError
from noah.abi.kinds import IN, INOUT, OUT
from noah.abi.names import sigset
from noah.kernel.control import NoReturn, ProcessExit, ThreadExit
from noah.syscalls.registry import DECLARATIONS, NUMBERS, Declaration, Stub
from noah.trace.arguments import show_for
from noah.trace.call import Call, Show
from noah.trace.calls import FILLED_IN, OWN_ARGUMENTS, OWN_RESULTS, TOLD_BY_RESULT
from noah.trace.errors import failure
from noah.trace.output import Output, TraceError
from noah.trace.signals import end_line, signal_line
from noah.trace.text import number, pointer, quote, shorten

if TYPE_CHECKING:
    from noah.host.values import Siginfo
    from noah.kernel.task import Process, Task

_COLUMN: Final = 40
"""Where the results stand, unless a call is longer (strace -a)."""


class Strace:
    """The tracer of a run; all its processes share it."""

    __slots__ = ("_output", "_path")

    def __init__(self, path: bytes | None = None) -> None:
        """`path` is a host path; None is stderr."""
        self._path = path
        self._output: Output | None = None

    def open(self, process: Process) -> Output:
        """Where the lines go, for what else shall stand there. Raises TraceError."""
        if self._output is None:
            self._output = Output(process, self._path)
        return self._output

    def attach(self, process: Process, table: list[Stub]) -> list[Stub]:
        """Open the output and wrap a dispatch table. Raises TraceError."""
        self.open(process)
        process.signals.on_deliver = self._signal
        process.at_exit = lambda how: self._line(process, process.pid, end_line(how.status, how.signal))
        traced: list[Stub] = []
        names = {nr: name for name, nr in NUMBERS[process.arch.name].items()}
        for nr in range(len(table)):
            traced.append(self._wrap(names.get(nr, f"syscall_{nr:#x}"), table, nr))
        return traced

    def started(self, task: Task, path: bytes, argv: Sequence[bytes], environ: Sequence[bytes]) -> None:
        """The first program runs. Raises TraceError when not even this line can be written."""
        assert self._output is not None
        words = ", ".join(shorten(word) for word in argv[:32]) + (", ..." if len(argv) > 32 else "")
        call = f"execve({quote(path)}, [{words}], {task.vcpu.regs[task.process.arch.sp]:#x}"
        call += f" /* {len(environ)} var{'s' * (len(environ) != 1)} */)"
        self._output.write(f"{task.pid:<5} {call:<{_COLUMN - 7}} = 0")

    def _line(self, process: Process, tid: int, text: str) -> None:
        """Write a line; if that fails, say so and trace no more."""
        if self._output is None:
            return
        try:
            self._output.write(f"{tid:<5} {text}")
        except TraceError as error:
            self._output.close()
            self._output = None
            process.on_bug(f"noah: {error}; tracing ends here\n")

    def _signal(self, task: Task, info: Siginfo) -> None:
        self._line(task.process, task.tid, signal_line(info))

    def _finish(self, task: Task, call: str, result: str) -> None:
        self._line(task.process, task.tid, f"{call:<{_COLUMN - 7}} = {result}")

    def _wrap(self, name: str, table: list[Stub], nr: int) -> Stub:
        """The traced form of one entry; its printer is made when the call is first seen."""
        printer: Printer | None = None

        def traced(task: Task, *registers: int) -> int:
            nonlocal printer
            if printer is None:
                printer = Printer(DECLARATIONS[name]) if name in DECLARATIONS else Printer(None)
            pid = task.pid
            call, before = printer.enter(task, registers)
            try:
                result = table[nr](task, *registers)
            except LinuxError as error:
                failed = error.errno != ERESTART_RESTARTBLOCK  # nanosleep(2) tells how much time is left
                text = f"{name}({printer.leave(call, before, failed=failed)})"
                self._finish(task, text, failure(error.errno, error.why))
                raise
            except NoReturn:
                if name == "rt_sigreturn":
                    self._finish(task, f"{name}({{mask={sigset(task.sigmask)}}})", _returned(task))
                elif task.pid == pid:  # a child does not see how its fork returns
                    self._finish(task, f"{name}({printer.leave(call, before, failed=True)})", _returned(task))
                raise
            except (ProcessExit, ThreadExit) as how:
                self._finish(task, f"{name}({printer.leave(call, before, failed=True)})", "?")
                if isinstance(how, ThreadExit) and len(task.process.tasks) > 1:
                    self._line(task.process, task.tid, end_line(how.status, 0))
                raise
            if call is not None:
                call.result = result
                call.done = True
            text = f"{name}({printer.leave(call, before, failed=result < 0)})"
            self._finish(task, text, failure(-result) if result < 0 else printer.result(call, result))
            return result

        return traced


class Printer:
    """Writes the arguments of one system call."""

    __slots__ = ("_declaration", "_result", "_shows")

    def __init__(self, declaration: Declaration | None) -> None:
        """None: a call that Noah does not have; its registers are all there is."""
        self._declaration = declaration
        self._shows: list[tuple[Show, str]] = []
        self._result: Callable[[Call], str] | None = None
        if declaration is not None:
            self._result = OWN_RESULTS.get(declaration.name)
            for index, (_, kind) in enumerate(declaration.parameters):
                show = OWN_ARGUMENTS.get((declaration.name, index)) or show_for(kind.show, kind.name)
                way = OUT if (declaration.name, index) in FILLED_IN else kind.direction
                self._shows.append((show, IN if way == INOUT and declaration.name in TOLD_BY_RESULT else way))

    def enter(self, task: Task, registers: tuple[int, ...]) -> tuple[Call | None, list[str | None]]:
        """What is known before the call; the arguments that it fills in are None."""
        if self._declaration is None:
            return None, [number(register) for register in registers]
        call = Call(task, self._declaration, registers)
        shows = enumerate(self._shows)
        return call, ["" if way == OUT else _text(show, call, index) for index, (show, way) in shows]

    def leave(self, call: Call | None, before: list[str | None], *, failed: bool) -> str:
        """All arguments after the call."""
        if call is not None:
            for index, (show, way) in enumerate(self._shows):
                if way == OUT:
                    address = call.values[index]
                    before[index] = pointer(address) if failed else _text(show, call, index)
                elif way == INOUT and not failed:
                    after = _text(show, call, index)
                    if after != before[index]:
                        before[index] = f"{before[index]} => {after}"
        return ", ".join(text for text in before if text is not None)

    def result(self, call: Call | None, result: int) -> str:
        if self._result is None or call is None:
            return str(result)
        return _careful(call, partial(self._result, call), str(result)) or ""


def _returned(task: Task) -> str:
    """What a call has put into the register: for rt_sigreturn(2) what the interrupted call returns."""
    result = task.vcpu.regs[task.process.arch.result]
    return failure((1 << 64) - result) if result > (1 << 64) - 4096 else str(result)


def _text(show: Show, call: Call, index: int) -> str | None:
    return _careful(call, partial(show, call, index), hex(call.values[index]))


def _careful(call: Call, form: Callable[[], str | None], otherwise: str) -> str | None:
    """Write a part. Memory may be missing; a mistake of the tracer is reported and changes nothing for the program."""
    try:
        return form()
    except LinuxError:
        return otherwise
    except Exception:
        call.task.process.on_bug(f"noah: internal error in the tracer:\n{traceback.format_exc()}")
        return otherwise
