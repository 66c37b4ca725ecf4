"""The demo: a guest bash runs `cat FILE | grep mitou`, and its three processes are three processes of the host.

    tools/demo.py [RUNNER...]

RUNNER starts a program and writes its calls to "{trace}", a line each as `strace -f -o` does; by default it is Noah.
`tools/demo.py strace -f -o {trace}` shows the same on the native kernel. The exit status is 1 when anything that the
demo promises is missing from what it saw.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORD: Final = "mitou"
TEXT: Final = """\
the first boat was made of reeds
mitou: the part of the map that is not yet drawn
the second carried two of every kind
and one of them sang of mitou
then the water went down
"""
NOAH: Final = (str(Path(sys.executable).with_name("noah")), "run", "--root", "/", "--strace={trace}", "--")
TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the trace."""

    pid: int
    name: str
    args: str
    result: str

    @property
    def succeeded(self) -> bool:
        return not self.result.startswith("-1")

    @property
    def fd(self) -> int:
        """The descriptor that is the first argument; -1 when it is none."""
        first = re.match(r"(\d+)\b", self.args)
        return int(first[1]) if first else -1

    @property
    def returned(self) -> int:
        value = re.match(r"-?\d+", self.result)
        return int(value[0]) if value else -1


@dataclass(slots=True)
class Process:
    """A guest process, as the trace tells it."""

    pid: int
    parent: int | None = None
    program: str = "?"
    calls: list[Call] = field(default_factory=list)


def parse(lines: Iterable[str]) -> Iterator[Call]:
    """Read a trace; a call that strace wrote in two parts comes where it ended. Raises ValueError for other text."""
    begun: dict[int, str] = {}
    for line in lines:
        start = re.match(r"\s*(\d+)\s+(.*\S)", line)
        if not start:
            raise ValueError(f"no line of a trace: {line!r}")
        pid, text = int(start[1]), start[2]
        if text.startswith(("---", "+++")):  # a signal, an exit
            continue
        if text.endswith(" <unfinished ...>"):
            begun[pid] = text.removesuffix(" <unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = begun.pop(pid, "") + text[resumed.end() :]
        call = re.fullmatch(r"(\w+)\((.*)\)\s+=\s+(.+)", text)
        if not call:
            raise ValueError(f"no call: {line!r}")
        yield Call(pid, call[1], call[2], call[3])


FORKS: Final = ("clone", "clone3", "fork", "vfork")


def family(calls: list[Call]) -> dict[int, Process]:
    """The processes of a trace by pid, in the order of their birth."""
    root = Process(calls[0].pid)
    found = {root.pid: root}
    for call in calls:
        if call.name in FORKS and call.succeeded:
            found[call.returned] = Process(call.returned, call.pid)
    for call in calls:
        process = found.setdefault(call.pid, Process(call.pid))
        process.calls.append(call)
        if call.name == "execve" and call.succeeded:
            path = re.match(r'"([^"]*)"', call.args)
            process.program = path[1] if path else "?"
    return found


def telling(process: Process, file: str) -> list[Call]:
    """The calls of a process that tie the pipeline together; the rest is the start-up of program and C library."""
    kept = {"pipe", "pipe2", "dup2", "dup3", "execve", "wait4", "exit_group", *FORKS}
    data_fds = {0, 1}
    chosen = []
    for call in process.calls:
        if call.name in ("open", "openat") and f'"{file}"' in call.args:
            data_fds.add(call.returned)
            chosen.append(call)
        elif call.succeeded and (call.name in kept or (call.name in ("read", "write") and call.fd in data_fds)):
            chosen.append(call)
        if call.name == "close":  # the number may name another file later
            data_fds -= {call.fd} - {0, 1}
    return chosen


def missing(processes: dict[int, Process], file: str) -> list[str]:
    """What the trace should show and does not."""
    by_program = {Path(process.program).name: process for process in processes.values()}
    absent = [f"a process that runs {name}" for name in ("bash", "cat", "grep") if name not in by_program]
    if absent:
        return absent
    shell, cat, grep = (by_program[name] for name in ("bash", "cat", "grep"))
    pipes = [re.search(r"\[(\d+), (\d+)\]", call.args) for call in shell.calls if call.name in ("pipe", "pipe2")]
    reader, writer = (pipes[0][1], pipes[0][2]) if pipes and pipes[0] else ("?", "?")

    def has(process: Process, name: str, args: str = "", result: str = "") -> bool:
        return any(
            re.fullmatch(name, call.name) and re.match(args, call.args) and call.result.startswith(result)
            for call in process.calls
        )

    file = re.escape(file)
    promised = {
        "bash makes a pipe": reader != "?",
        "bash is the parent of both": cat.parent == grep.parent == shell.pid,
        "cat's output becomes the pipe": has(cat, "dup[23]", f"{writer}, 1"),
        "grep's input becomes the pipe": has(grep, "dup[23]", f"{reader}, 0"),
        "cat opens the file": has(cat, "openat|open", f'.*"{file}"'),
        "cat reads it": has(cat, "read", rf'\d+, "{TEXT[:10]}', str(len(TEXT))),
        "cat writes it into the pipe": has(cat, "write", f'1, "{TEXT[:10]}', str(len(TEXT))),
        "grep reads it from the pipe": has(grep, "read", f'0, "{TEXT[:10]}', str(len(TEXT))),
        "grep writes what it found": has(grep, "write", f'1, "{WORD}'),
        "bash waits for cat": has(shell, "wait4|waitid", "", str(cat.pid)),
        "bash waits for grep": has(shell, "wait4|waitid", "", str(grep.pid)),
    }
    for process in (shell, cat, grep):
        promised[f"{Path(process.program).name} ends well"] = has(process, "exit_group", "0")
    return [what for what, seen in promised.items() if not seen]


def descendants(pid: int) -> Iterator[int]:
    """A host process and all below it, from /proc; nothing on hosts that have none."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # it ended meanwhile
        return
    for child in children.split():
        yield from descendants(int(child))


def look(pid: int) -> str | None:
    """What the host says about a process: its name and the pipes on its standard descriptors."""
    proc = Path(f"/proc/{pid}")
    try:
        name = (proc / "comm").read_text().strip()
        ends = {n: str((proc / "fd" / str(n)).readlink()) for n in (0, 1)}
    except OSError:
        return None
    pipes = [f"{label} {ends[n]}" for n, label in ((0, "in"), (1, "out")) if ends[n].startswith("pipe:")]
    return ", ".join([f"host process '{name}'", *pipes])


def run(command: list[str]) -> tuple[str, int, dict[int, str]]:
    """Run it; return its output, its exit status and what the host said of each process at its last sight."""
    seen: dict[int, str] = {}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None:
            for pid in descendants(process.pid):
                if description := look(pid):
                    seen[pid] = description
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.001)
        output.seek(0)
        return output.read(), process.wait(), seen


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def show(processes: dict[int, Process], calls: list[Call], seen: dict[int, str], file: str) -> None:
    print(f"\n{bold('Three guest processes, each a process of the host:')}\n")
    for process in processes.values():
        parent = f"child of {process.parent}" if process.parent else "the first"
        print(f"  {process.pid:>7}  {process.program:<16} {parent:<18} {seen.get(process.pid, '')}".rstrip())
    print(f"\n{bold('The system calls that tie them together:')}\n")
    width = shutil.get_terminal_size((120, 24)).columns
    wanted = {id(call) for process in processes.values() for call in telling(process, file)}
    for call in calls:
        if id(call) in wanted:
            owner = Path(processes[call.pid].program).name
            room = max(width - 22 - len(call.name) - len(call.result), 20)
            print(f"  {call.pid:>7}  {owner:<5} {call.name}({fit(call.args, room)}) = {call.result}")


def main(runner: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="noah-demo-") as folder:
        trace = Path(folder) / "trace"
        file = Path(folder) / "notes.txt"
        file.write_text(TEXT)
        line = f"cat {file} | grep {WORD}"
        command = [part.replace("{trace}", str(trace)) for part in runner] + ["bash", "-c", line]
        print(f"{bold('$')} {shlex.join([Path(command[0]).name, *command[1:]])}", flush=True)
        try:
            output, status, seen = run(command)
        except FileNotFoundError:
            print(f"demo: no program {command[0]}; `make demo` sets up what is needed", file=sys.stderr)
            return 1
        print(output, end="")
        if status or not trace.exists():
            print(f"demo: the command ended with status {status}", file=sys.stderr)
            return 1
        calls = list(parse(trace.read_text(errors="backslashreplace").splitlines()))
    processes = family(calls) if calls else {}
    show(processes, calls, seen, str(file))
    absent = missing(processes, str(file))
    expected = "".join(text for text in TEXT.splitlines(keepends=True) if WORD in text)
    if output != expected:
        absent.append(f"the program's output, which is {expected!r}")
    for what in absent:
        print(f"demo: not seen: {what}", file=sys.stderr)
    if not absent and runner == list(NOAH):
        print(f"\nNo kernel but the host's ran here: Noah answered all {len(calls)} calls of the three programs.")
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(NOAH)))
