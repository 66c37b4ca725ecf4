"""`noah trace -c` and `-C`: how often each system call was made, how often it failed and how long it took.

Every process counts for itself and hands its counts in when it ends, or forks: a record into a file without a name that
all of them inherit. The first process, when it ends, adds up what is there. Times are by the clock on the wall and
include waiting: what strace -c -w counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.syscalls.registry import NUMBERS, Stub
from noah.trace.output import Output, TraceError

if TYPE_CHECKING:
    from noah.kernel.control import ProcessExit
    from noah.kernel.task import Process, Task
    from noah.trace.strace import Strace

_RECORD: Final = struct.Struct("<QQQQ")  # number, calls, errors, ns
_RULE: Final = "------ ----------- ----------- --------- --------- ----------------"


class Summary:
    """The counters of a run."""

    __slots__ = ("_calls", "_errors", "_file", "_output", "_path", "_strace", "_times")

    def __init__(self, path: bytes | None = None, strace: Strace | None = None) -> None:
        """`path` is a host path for the table; None is stderr. With `strace`, the table comes behind its lines."""
        self._path = path
        self._strace = strace
        self._calls: list[int] = []
        self._errors: list[int] = []
        self._times: list[int] = []

    def attach(self, process: Process, table: list[Stub]) -> list[Stub]:
        """Open the output and wrap a dispatch table. Raises TraceError."""
        host = process.host
        self._output = Output(process, self._path) if self._strace is None else self._strace.open(process)
        try:
            self._file = host.files.memfd_create(b"noah-counts")
        except LinuxError as error:
            raise TraceError(f"no room for the counts: {error}") from None
        self._reset(len(table))
        first = process.pid
        counted = [self._wrap(table, number, host.clock.clock_gettime) for number in range(len(table))]
        if self._strace is not None:
            counted = self._strace.attach(process, counted)
        last_words = process.at_exit

        def at_exit(how: ProcessExit) -> None:
            if last_words is not None:
                last_words(how)
            self._hand_in(process)
            if process.pid == first:
                self._print(process)

        process.before_fork = lambda: self._hand_in(process)
        process.at_exit = at_exit
        return counted

    def started(self, task: Task, path: bytes, argv: Sequence[bytes], environ: Sequence[bytes]) -> None:
        """strace counts the first execve(2), too."""
        if self._strace is not None:
            self._strace.started(task, path, argv, environ)
        self._calls[NUMBERS[task.process.arch.name]["execve"]] += 1

    def _wrap(self, table: list[Stub], number: int, clock: Callable[[int], int]) -> Stub:
        def counted(task: Task, *registers: int) -> int:
            failed = False
            start = clock(CLOCK_MONOTONIC)
            pid = task.pid
            try:
                result = table[number](task, *registers)
                failed = result < 0
                return result
            except LinuxError:
                failed = True
                raise
            finally:
                if task.pid == pid:  # not in the child of a fork, which has made no call yet
                    self._times[number] += clock(CLOCK_MONOTONIC) - start
                    self._calls[number] += 1
                    self._errors[number] += failed

        return counted

    def _reset(self, size: int) -> None:
        self._calls, self._errors, self._times = [0] * size, [0] * size, [0] * size

    def _hand_in(self, process: Process) -> None:
        """One write, so that records of processes do not mix: they share the position in the file."""
        counts = zip(range(len(self._calls)), self._calls, self._errors, self._times, strict=True)
        records = b"".join(_RECORD.pack(*entry) for entry in counts if entry[1])
        self._reset(len(self._calls))
        try:
            process.host.files.write(self._file, records)
        except LinuxError as error:
            process.on_bug(f"noah: counts of process {process.pid} are lost: {error}\n")

    def _print(self, process: Process) -> None:
        size = len(self._calls)
        files = process.host.files
        data = files.pread(self._file, files.fstat(self._file).size, 0)
        for number, calls, errors, time in _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size]):
            self._calls[number] += calls
            self._errors[number] += errors
            self._times[number] += time
        names = {number: name for name, number in NUMBERS[process.arch.name].items()}
        used = [number for number in range(size) if self._calls[number]]
        rows = [(names.get(number, f"syscall_{number:#x}"), number) for number in used]
        try:
            for line in self._table(rows):
                self._output.write(line)
        except TraceError as error:
            process.on_bug(f"noah: {error}\n")

    def _table(self, rows: list[tuple[str, int]]) -> list[str]:
        """As strace -c."""
        total = sum(self._times) or 1
        lines = ["% time     seconds  usecs/call     calls    errors syscall", _RULE]
        for name, number in sorted(rows, key=lambda row: -self._times[row[1]]):
            lines.append(_row(self._times[number], total, self._calls[number], self._errors[number], name))
        lines += [_RULE, _row(sum(self._times), total, sum(self._calls), sum(self._errors), "total")]
        return lines


def _row(time: int, total: int, calls: int, errors: int, name: str) -> str:
    percent = 100 * time / total
    each = time // 1000 // max(calls, 1)
    return f"{percent:6.2f} {time / NSEC_PER_SEC:11.6f} {each:>11} {calls:>9} {errors or '':>9} {name}"
