"""What programs asked for and did not get, and Noah's own mistakes: noted as they happen, listed by `noah report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.trace import state
from noah.trace.output import Output, TraceError
from noah.util.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from noah.host.console import ErrorOutput
    from noah.kernel.control import ProcessExit
    from noah.kernel.task import Process, Task
    from noah.syscalls.registry import Stub

MISSING: Final = b"missing"
BUGS: Final = b"bugs.log"
_LIST_PROGRAMS: Final = 4


class Missed:
    """Takes note of what a program missed: `Options.on_missing`. Every process of a run says each thing once."""

    __slots__ = ("_errors", "run")

    def __init__(self, errors: ErrorOutput | None = None) -> None:
        """`errors` is told at once as well (--verbose)."""
        self._errors = errors
        self.run = ""
        """What marks the lines of this run in the file; empty until something is missing, or of_one_run()."""

    def __call__(self, process: Process, what: str) -> None:
        program = printable(process.comm) or "?"
        if self._errors is not None:
            self._errors.write(f"noah: {program} asked for {what}, which Noah does not have\n")
        state.append(process.host, MISSING, f"{self.run}\t{program}\t{what}\n")

    def of_one_run(self) -> OneRun:
        """For `noah report PROGRAM`: a list at the end of the run's first process."""
        return OneRun(self)


class OneRun:
    """Not a tracer of calls: it marks the run's notes and lists them when its first process ends."""

    __slots__ = ("_missed",)

    def __init__(self, missed: Missed) -> None:
        self._missed = missed

    def attach(self, process: Process, table: list[Stub]) -> list[Stub]:
        output, first = Output(process, None), process.pid  # the program may close its own stderr
        mark = self._missed.run = f"{first}.{process.host.clock.clock_gettime(0)}"

        def list_them(how: ProcessExit) -> None:
            if process.pid == first:
                lines = [line for line in state.read(process.host, MISSING) if line.startswith(mark + "\t")]
                nothing = "Nothing: the program asked for nothing that Noah does not have."
                try:
                    output.write("\n".join(table_of(lines) if lines else [nothing]))
                except TraceError:
                    pass  # nobody is left to be told

        process.at_exit = list_them
        return table

    def started(self, task: Task, path: bytes, argv: Sequence[bytes], environ: Sequence[bytes]) -> None:
        """Nothing is known yet."""


class Bugs:
    """Takes note of mistakes inside Noah: `Options.on_bug`. The program lives on."""

    __slots__ = ("_errors", "_strict", "_told")

    def __init__(self, errors: ErrorOutput, *, strict: bool) -> None:
        """With `strict` the traceback is shown, not only kept."""
        self._errors = errors
        self._strict = strict
        self._told = False

    def __call__(self, process: Process, text: str) -> None:
        first, _, rest = text.partition("\n")
        kept = bool(rest) and state.append(process.host, BUGS, text)  # else a word to the user, no mistake of Noah's
        if self._strict or not rest:
            self._errors.write(text)
        elif not self._told:
            self._told = True  # a program may run into the same mistake a million times
            file = printable(state.path(process.host, BUGS))
            where = f"in {file}" if kept else f"not kept: {f'{file} cannot be written' if file else 'HOME is not set'}"
            self._errors.write(f"{first.rstrip(':')}; the program goes on; details are {where}\n")


def table_of(lines: Iterable[str]) -> list[str]:
    """The list for people: how often each thing was missed, what, by which programs."""
    counts: dict[str, int] = {}
    programs: dict[str, dict[str, None]] = {}
    for line in lines:
        parts = line.split("\t")
        if len(parts) == 3:
            _, program, what = parts
            counts[what] = counts.get(what, 0) + 1
            programs.setdefault(what, {})[program] = None
    result = ["times  what                             asked for by"]
    for what in sorted(counts, key=lambda what: (-counts[what], what)):
        names = list(programs[what])
        shown = ", ".join(names[:_LIST_PROGRAMS]) + (", ..." if len(names) > _LIST_PROGRAMS else "")
        result.append(f"{counts[what]:>5}  {what:<32} {shown}")
    return result
