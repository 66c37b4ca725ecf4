"""The workloads. Micro rows time an operation from inside (bench/src); macro rows are commands, timed from outside."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. In `script`, {work} is a folder of the row's own, as the guest sees it."""

    name: str
    what: str
    script: str = ""
    """A command of sh(1), or a program's name alone; empty for a row of the program micro."""
    prepare: Callable[[Path], None] | None = None
    """Runs untimed before each run, with the host's path of {work}."""
    needs: tuple[str, ...] = ()
    """Programs without which the row is left out."""

    @property
    def micro(self) -> bool:
        return not self.script


N_GIT_FILES: Final = 2000
N_C_FUNCTIONS: Final = 200

C_FUNCTION: Final = """
static unsigned f{n}(unsigned x, unsigned *table)
{{
    for (unsigned i = 0; i < {bound}; i++) {{
        switch ((x + i) % {modulus}) {{
        case 0: x = x * {factor}u + table[i & 63]; break;
        case 1: x ^= table[x & 63] >> {shift}; break;
        case 2: table[i & 63] += x; x -= i; break;
        default: x = (x << {shift}) | (x >> (32 - {shift})); break;
        }}
        if (x > {limit}u)
            table[x & 63] ^= {called}(x >> 1, table);
    }}
    return x;
}}
"""


def write_c_program(work: Path) -> None:
    """A C file of some 3,000 lines, the same at each run."""
    source = work / "program.c"
    if source.exists():
        return
    draw = random.Random(2000)
    parts = ["#define LEAF(x, t) ((x) + (t)[1])\n"]
    for n in range(N_C_FUNCTIONS):
        called = f"f{draw.randrange(n)}" if n else "LEAF"
        numbers = {"bound": draw.randrange(3, 90), "modulus": draw.randrange(4, 9), "shift": draw.randrange(1, 31)}
        parts.append(C_FUNCTION.format(n=n, called=called, factor=draw.getrandbits(20), limit=1 << 31, **numbers))
    calls = "".join(f"    x = f{n}(x, table);\n" for n in range(N_C_FUNCTIONS))
    parts.append(
        f"int main(void)\n{{\n    static unsigned table[64];\n    unsigned x = 1;\n{calls}    return x & 1;\n}}\n"
    )
    source.write_text("".join(parts))


def write_git_tree(work: Path) -> None:
    """2,000 small files in 40 folders; a repository that an earlier run made goes away."""
    shutil.rmtree(work / ".git", ignore_errors=True)
    draw = random.Random(17)
    for n in range(N_GIT_FILES):
        path = work / f"part{n % 40:02}" / f"file{n}.txt"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{draw.getrandbits(64):x}\n" for _ in range(20)))


GIT_SCRIPT: Final = """
cd {work}
export HOME={work} GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z
git init -q -b main . && git add . &&
git -c user.name=bench -c user.email=bench@example.org commit -q -m all && git rev-parse HEAD
"""

PERL_SCRIPT: Final = """
perl -e 'my ($sum, %seen); for my $i (1 .. 400_000) { $sum += $i * 7919 % 1013; $seen{$i % 997} .= "x" if $i % 3 == 0 }
print "$sum ", length(join "", map { "$_$seen{$_}" } sort keys %seen), "\\n"'
"""

MICRO: Final = tuple(
    Row(name, what)
    for name, what in {
        "getppid": "a system call that does nothing",
        "null_by_exit": "one that leaves the guest",
        "clock_gettime": "CLOCK_MONOTONIC through the C library",
        "pread_1": "1 byte of a cached file",
        "pread_4k": "4 KiB of a cached file",
        "pwrite_4k": "4 KiB over a cached file",
        "open_close": "open and close a file",
        "stat": "stat a path",
        "create_unlink": "create, close and unlink a file",
        "mmap_touch": "map a page, store into it, unmap it",
        "page_fault": "first touch of an anonymous page",
        "mprotect": "a store, to read-only and back",
        "signal_self": "a signal to oneself, with a handler",
        "pipe_self": "a byte into a pipe and out of it",
        "pipe_pingpong": "round trip between two processes by pipes",
        "unix_pingpong": "round trip between two processes by a socket pair",
        "fork_wait": "fork, exit, wait",
        "fork_exec": "fork, exec of a dynamic `true`, wait",
        "posix_spawn": "posix_spawn of a dynamic `true`, wait",
        "thread_create": "make a thread and wait for its end",
        "futex_wake": "a futex wake for which nobody waits",
        "futex_pingpong": "round trip between two threads by a futex",
        "sha256_1k": "SHA-256 of 1 KiB in portable C",
        "double_1k": "1,000 steps of double arithmetic",
        "memcpy_1m": "copy of 1 MiB out of 64 MiB",
    }.items()
)

MACRO: Final = (
    Row("start_true", "`true` from the shell: for Noah, the whole `noah run`", "true"),
    Row(
        "bash_true200",
        "bash runs /bin/true 200 times",
        "bash -c 'for ((i = 0; i < 200; i++)); do /bin/true; done; echo $i'",
        needs=("bash",),
    ),
    Row("find_usr", "find counts the files below /usr", "find /usr | wc -l", needs=("find",)),
    Row("tar_sha256", "tar of /usr/share into sha256sum", "tar -C /usr/share -cf - . | sha256sum", needs=("tar",)),
    Row("perl_loop", "400,000 turns of arithmetic and a hash", PERL_SCRIPT, needs=("perl",)),
    Row(
        "python_import",
        "python3 imports asyncio, json, ssl",
        "PATH=/usr/bin:/bin python3 -c 'import asyncio, json, ssl; print(json.dumps(ssl.OPENSSL_VERSION))'",
        needs=("/usr/bin/python3",),
    ),
    Row(
        "gcc_o2",
        "gcc -O2 of 3,000 lines of C",
        "cd {work} && gcc -O2 -c program.c -o program.o && sha256sum program.o",
        write_c_program,
        needs=("gcc",),
    ),
    Row("git_2000", "git init, add and commit of 2,000 files", GIT_SCRIPT, write_git_tree, needs=("git",)),
)

ROWS: Final = (*MICRO, *MACRO)
