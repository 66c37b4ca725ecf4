"""The runtimes' own test suites as guests: every test that passes natively passes in Noah.

tests/suites/cpython.txt and go.txt list the tests that do not, each with a reason. The lists are exact: a test that is
not on one must pass, and one that is and passes must be taken from it. `make test-suites` runs this; it takes long.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.running import (
    RUNTIMES,
    become_subreaper,
    cache_folder,
    debian_root,
    descendants,
    environment,
    kill_new,
    native_command,
    need_engine,
    noah_command,
    run,
    working_directory,
)

SUITES: Final = Path(__file__).parent / "suites"
CPYTHON: Final = (
    "test_asyncio",
    "test_concurrent_futures",
    "test_epoll",
    "test_fcntl",
    "test_fileio",
    "test_fork1",
    "test_glob",
    "test_httpservers",
    "test_io",
    "test_largefile",
    "test_mmap",
    "test_multiprocessing_fork",
    "test_multiprocessing_forkserver",
    "test_multiprocessing_spawn",
    "test_os",
    "test_pathlib",
    "test_popen",
    "test_posix",
    "test_posixpath",
    "test_pty",
    "test_pwd",
    "test_queue",
    "test_resource",
    "test_select",
    "test_selectors",
    "test_shutil",
    "test_signal",
    "test_socket",
    "test_ssl",
    "test_subprocess",
    "test_tempfile",
    "test_thread",
    "test_threading",
    "test_time",
    "test_wait3",
    "test_wait4",
)
# On the slow engine only what is quick natively, and is not about how long something takes.
ON_EMULATOR: Final = (
    "test_epoll",
    "test_fcntl",
    "test_fork1",
    "test_mmap",
    "test_os",
    "test_posix",
    "test_posixpath",
    "test_pty",
    "test_pwd",
    "test_resource",
    "test_select",
    "test_shutil",
    "test_tempfile",
    "test_thread",
    "test_wait3",
    "test_wait4",
)
# Packages of Go's standard library whose tests ask much of the kernel.
GO: Final = (
    "context",
    "internal/poll",
    "io/fs",
    "net",
    "net/http",
    "os",
    "os/exec",
    "os/signal",
    "os/user",
    "path/filepath",
    "runtime",
    "sync",
    "sync/atomic",
    "syscall",
)
PATIENCE: Final = {"native": 60, "kvm": 180, "emulator": 600}  # seconds for one test

Outcomes = dict[str, str]
"""How each test ended: pass, skip, fail, or start: it did not."""
Command = Callable[[Path, Sequence[str]], list[str]]
"""From a working directory and a guest's command to the host's."""


def natively(work: Path, command: Sequence[str]) -> list[str]:
    # With the capabilities that Noah leaves to root (noah.vfs.credentials.CONFINED) where a test asks for more.
    confined = ["setpriv", "--bounding-set=-sys_admin,-sys_time", "--"]
    return native_command(debian_root(RUNTIMES), work, [*confined, *command])


def in_noah(engine: str, host: str = "linux") -> Command:
    def command_in_noah(work: Path, command: Sequence[str]) -> list[str]:
        options = ["--engine", engine, "--host", host, "--root", str(debian_root(RUNTIMES)), "-v", f"{work}:{work}"]
        variables = [part for key, value in environment(HOME=str(work)).items() for part in ("-e", f"{key}={value}")]
        return [*noah_command(), "run", *options, *variables, "-w", str(work), "--", *command]

    return command_in_noah


def read_record(record: Path) -> Outcomes:
    """The last word of a test counts, but no word makes good for a failure (of one of its parts)."""
    found: Outcomes = {}
    for line in record.read_text().splitlines():
        word, _, name = line.partition(" ")
        if word == "start" or found.get(name) != "fail":
            found[name] = word
    return found


def run_suite(
    module: str, how: Command, *, patience: float, ignored: Collection[str] = (), log: Path | None = None
) -> Outcomes:
    """Runs a module of CPython's test suite. A test that takes longer than `patience` is killed; the others go on."""
    become_subreaper()
    before = set(descendants(os.getpid()))
    with working_directory() as work:
        (work / "record.py").write_bytes((SUITES / "cpython_record.py").read_bytes())
        record, ignore = work / "record", work / "ignore"
        record.touch()
        # A limit that leaves room for Noah's own descriptors, on a host that allows no more for them.
        limited = ["prlimit", "--nofile=1024:8192", "--"]
        command = how(work, [*limited, "python3", str(work / "record.py"), str(record), module, str(ignore)])
        while True:
            found = read_record(record)
            ignore.write_text("".join(f"{name}\n" for name in (*found, *ignored)))
            with open(log or os.devnull, "ab") as output:
                process = subprocess.Popen(
                    command,
                    cwd=work,
                    env=environment(HOME=str(work)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                ended = _wait(process, record, patience)
            kill_new(before)
            if ended or len(read_record(record)) == len(found):
                return read_record(record)


def _wait(process: subprocess.Popen[bytes], record: Path, patience: float) -> bool:
    size, since = -1, time.monotonic()
    while time.monotonic() - since < patience:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            if record.stat().st_size != size:
                size, since = record.stat().st_size, time.monotonic()
        else:
            return True
    process.kill()
    process.wait()
    return False


@functools.cache
def native_outcomes(module: str) -> Outcomes:
    return run_suite(module, natively, patience=PATIENCE["native"])


def known_failures(suite: str) -> dict[str, str]:
    """A suite's list: a test's name to the reason."""
    found = {}
    for line in (SUITES / f"{suite}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(": ")
            assert reason.strip(), f"{suite}.txt: no test with its reason: {line}"
            found[name] = reason
    return found


def judge(suite: str, expected: set[str], found: Outcomes, failed: set[str]) -> None:
    known = known_failures(suite).keys()
    at_times = {name[1:] for name in known if name.startswith("~")}
    trouble = [f"{found.get(name, 'not run')}: {name}" for name in sorted(failed - known - at_times)]
    trouble += [f"passes, take it from the list: {name}" for name in sorted((known & expected) - failed)]
    assert expected, "natively nothing passes"
    assert not trouble, "\n".join(trouble)


@functools.cache
def go_tests() -> Path:
    """The tests of GO as programs, made natively, once: a compiler is no test of these packages."""
    programs = cache_folder() / "noah-test-go"
    if not (programs / "made").exists():
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir(parents=True)
        script = "".join(
            f"cd /usr/lib/go-1.19/src/{name} && go test -c -o {programs}/{name.replace('/', '.')} . || exit\n"
            for name in GO
        )
        made = run(
            native_command(debian_root(RUNTIMES), programs, ["bash", "-c", script]),
            cwd="/",
            env=environment(HOME="/tmp", GOCACHE="/tmp/cache"),
            timeout=1500,
        )
        assert made.status == 0, made.stderr.decode()
        (programs / "made").touch()
    return programs


def run_go(name: str, how: Command, *, patience: float) -> Outcomes:
    """Runs the tests of a package of Go, in the directory of its sources."""
    become_subreaper()
    program = go_tests() / name.replace("/", ".")
    with working_directory() as work:
        shutil.copy(program, work / "tests")
        script = (
            f"cd /usr/lib/go-1.19/src/{name} && exec {work}/tests -test.short -test.v -test.timeout {patience:.0f}s"
        )
        result = run(
            how(work, ["bash", "-c", script]),
            cwd=work,
            env=environment(HOME=str(work), GOCACHE=f"{work}/cache"),
            timeout=patience + 60,
        )
    text = (result.stdout + result.stderr).decode(errors="replace")
    words = re.finditer(r"^\s*--- (PASS|SKIP|FAIL): (\S+)", text, re.MULTILINE)
    return {f"{name}.{match[2]}": match[1].lower() for match in words}


@functools.cache
def native_go(name: str) -> Outcomes:
    return run_go(name, natively, patience=600)


@pytest.mark.suites
@pytest.mark.parametrize("name", GO)
def test_go(name: str) -> None:
    need_engine("kvm")
    expected = {test for test, how in native_go(name).items() if how == "pass"}
    found = run_go(name, in_noah("kvm"), patience=1200)
    if any(found.get(test) != "pass" for test in expected - known_failures("go").keys()):
        again = run_go(name, in_noah("kvm"), patience=1200)  # a machine with much to do makes tests about time fail
        found |= {test: how for test, how in again.items() if how == "pass"}
    judge("go", expected, found, {test for test in expected if found.get(test) != "pass"})


@pytest.mark.suites
@pytest.mark.parametrize(
    ("engine", "module"),
    [("kvm", module) for module in CPYTHON] + [("emulator", module) for module in ON_EMULATOR],
)
def test_cpython(engine: str, module: str) -> None:
    need_engine(engine)
    expected = {name for name, how in native_outcomes(module).items() if how == "pass"}
    found = run_suite(module, in_noah(engine), patience=PATIENCE[engine])
    failed = {name for name in expected if found.get(name) != "pass"}
    if failed:  # once more, alone: a machine with much to do makes tests about time fail
        again = run_suite(module, in_noah(engine), patience=PATIENCE[engine], ignored=set(found) - failed)
        found |= again
        failed = {name for name in failed if again.get(name) != "pass"}
    judge("cpython", expected, found, failed)
