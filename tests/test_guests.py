"""Differential tests: every case of every C guest prints in Noah what it prints on the native kernel.

The native run is the oracle: output, exit status and the files left behind must be equal. To be quick, all cases of a
program run in one start; a case whose part of that run differs is started again alone, natively and in Noah, and that
second comparison decides. So a case that only suffers from an earlier one passes here, and the earlier one fails.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import build  # tests/guests/build.py
import pytest
from tests.running import become_subreaper, descendants, kill_new

ROOT: Final = Path(__file__).resolve().parents[1]
NOAH: Final = os.environ.get("NOAH", str(ROOT / ".venv/bin/noah"))
SOURCES: Final = {path.stem: path for path in sorted((ROOT / "tests/guests").glob("*_*.c"))}
TIMEOUT: Final = 60.0
TIMED_OUT: Final = -1000  # in place of an exit status
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C", "GUEST": "1"}


class Target(NamedTuple):
    """What a case is compared with the native kernel on. `variant` is a build.VARIANTS name."""

    engine: str
    host: str
    variant: str

    def __str__(self) -> str:
        return "-".join(self)


TARGETS: Final = {
    Target("kvm", "linux", "dynamic"): (),
    Target("emulator", "linux", "dynamic"): (pytest.mark.emulator, pytest.mark.slow),
    Target("kvm", "posix", "dynamic"): (pytest.mark.posix, pytest.mark.slow),
    Target("emulator", "linux", "aarch64"): (pytest.mark.emulator, pytest.mark.aarch64, pytest.mark.slow),
}
# Programs that also run without a dynamic loader: there the first page, brk and auxv look different.
STATIC: Final = {"proc_exec": ("static", "static-pie"), "mm_map": ("static",), "mm_fault": ("static",)}


def cases_of(name: str, variant: str) -> list[str]:
    """The cases of a program that exist in `variant`, read from the source: collecting tests compiles nothing."""
    found = re.findall(r"^CASE(_WITH_PROGRAMS)?\((\w+)\)", SOURCES[name].read_text(), re.MULTILINE)
    if variant == "aarch64":  # the programs of the root that the tests run in are this machine's own
        return [case for programs, case in found if not programs and not case.startswith("x86_")]
    return [case for _, case in found if not case.startswith("arm_")]


# What an engine or a host cannot do, or Noah does not do yet, by program and case: it only shrinks.
_NO_RSEQ: Final = "restartable sequences cannot be kept: rseq is ENOSYS (docs/decisions/0014)"
_NO_PI: Final = "no portable call locks a word of memory: FUTEX_LOCK_PI and its like are ENOSYS"
_NO_SCHEDULING: Final = "no portable call schedules a thread, or in real time: EPERM, and nice values are the process'"
LIMITS: Final[dict[str, dict[str, str]]] = {
    "linux": {"thread_futex-restartable_sequences": _NO_RSEQ},
    "posix": {
        "proc_files-descriptors_of_others": "no portable call opens what another process has open: only named files",
        "proc_pidfd-of_another_process": "no portable call compares or takes what another process has open: ENOSYS",
        "proc_others-of_another_program": "no portable call tells whether another process is stopped, or a zombie",
        "file_dev-proc_of_a_child": "no portable call tells whether another process is stopped, or a zombie",
        "file_copy-tee": "no portable call looks into a pipe without reading it: tee is EINVAL",
        "dir_entries-position_shared_with_a_child": "no portable call reads a directory from where its descriptor is",
        "file_fd-driven_by_another_signal": "no portable call has another signal than SIGIO sent: F_SETSIG is EINVAL",
        "file_fd-seals": "no portable call seals a file: memory files say EINVAL, as other files do",
        "mm_advise-seals": "no portable call seals a file: memory files say EINVAL, as other files do",
        "file_link-renameat2_exchange": "no portable call exchanges two names at once: RENAME_EXCHANGE is EINVAL",
        "file_open-tmpfile": "no portable call names a file that has no name: O_TMPFILE is EOPNOTSUPP",
        "file_perm-default_list": "no portable call has extended attributes: all of them are EOPNOTSUPP",
        "file_perm-attributes": "no portable call has extended attributes: all of them are EOPNOTSUPP",
        "file_rw-allocating": "no portable call reserves storage or makes holes: fallocate is EOPNOTSUPP",
        "proc_limits-size_to_allocate": "no portable call reserves storage or makes holes: fallocate is EOPNOTSUPP",
        "file_rw-appending_vectors": "no portable call appends without O_APPEND: RWF_APPEND is EOPNOTSUPP",
        "pipe_basic-changing_capacity": "no portable call changes a pipe's size: F_SETPIPE_SZ takes no other",
        "pipe_basic-packets": "no portable call makes pipes of packets: O_DIRECT is EINVAL",
        "pipe_basic-reopening": "no portable call opens the other end of a pipe: it is EACCES",
        "proc_fork-subreaper": "no portable call adopts orphans: PR_SET_CHILD_SUBREAPER is EINVAL",
        "proc_fork-parent_death_signal": "no portable call tells of a parent's end: PR_SET_PDEATHSIG is EINVAL",
        "proc_misc-death_signal": "no portable call tells of a parent's end: PR_SET_PDEATHSIG is EINVAL",
        "proc_fork-clone_exit_signal": "no portable call makes a child that ends without SIGCHLD: clone is EINVAL",
        "proc_fork-clone_parent": "no portable call makes a sibling: CLONE_PARENT is EINVAL",
        "proc_misc-membarrier": "no portable call makes other threads pass a barrier: membarrier offers no command",
        "time_clock-clocks_of_children": "no portable call tells the CPU time of another process: EINVAL",
        "tty_pty-lock": "no portable call tells whether a terminal is locked: TIOCGPTLCK is ENOTTY",
        "tty_pty-locked_attributes": "no portable call tells which attributes are locked: TIOCGLCKTRMIOS is ENOTTY",
        "event_epoll-edge_of_a_part": "poll(2) does not tell old data from new: rather an edge too many",
        "event_fd-sent_to_another_process": "timers and epoll sets are no descriptors here: no socket carries them",
        "event_inotify-directory": "nothing tells who opens, reads or closes a file",
        "event_inotify-files": "nothing tells who opens, reads or closes a file",
        "event_epoll-shared_after_fork": "an epoll set is a table of the process here",
        "file_fd-directory_notification": "no portable call watches directories: F_NOTIFY is EINVAL",
        "proc_cred-file_capabilities": "no portable call reads extended attributes: there are none",
        "thread_futex-processes": "nothing tells how many other processes wait for a word",
        "thread_futex-processes_bitset_and_requeue": "nothing tells how many other processes wait for a word",
        "thread_futex-priority_inheriting_mutex": _NO_PI,
        "thread_futex-restartable_sequences": _NO_RSEQ,
        **{f"thread_pi-{case}": _NO_PI for case in cases_of("thread_pi", "dynamic")},
        **{f"proc_sched-{case}": _NO_SCHEDULING for case in cases_of("proc_sched", "dynamic")[:-1]},
        "thread_robust-held_by_a_second_thread": "no portable call tells whether a thread of another process lives",
        "thread_futex-barriers": "no portable call makes other threads pass a barrier: membarrier offers no command",
    },
    "emulator": {
        "proc_exec-auxv": "guests have no vDSO: they ask the kernel for the time",
        "time_clock-vdso_symbols": "guests have no vDSO: they ask the kernel for the time",
        "sig_fault-x86_float_exceptions": "Unicorn does not raise the SSE exceptions",
        "sig_fault-x86_unaligned": "Unicorn does not check the alignment of movaps",
        "sig_fault-x86_stack_not_canonical": "Unicorn reports a stack fault as a general protection fault",
    },
    "emulator-dynamic": {
        "mm_code-file": "Unicorn does not see that write(2) changes the file which code is mapped from",
    },
}


class Run(NamedTuple):
    """One run of a guest: output by case, exit status (negative: minus the signal) and files by relative path."""

    sections: dict[str, str]
    status: int
    files: dict[str, str]
    errors: str


def split_sections(output: bytes) -> dict[str, str]:
    """Splits a guest's output at its "== case" lines; what precedes the first is the section ""."""
    sections: dict[str, list[str]] = {}
    lines = sections.setdefault("", [])
    for line in output.decode(errors="backslashreplace").splitlines():
        if line.startswith("== "):
            lines = sections.setdefault(line[3:], [])
        else:
            lines.append(line)
    return {name: "\n".join(content) for name, content in sections.items()}


def tree(top: Path) -> Iterator[tuple[str, str]]:
    """Yields relative path and a one-line description of everything below `top`; owners and modes are Noah's own."""
    for folder, folders, names in os.walk(top):
        for name in sorted(folders + names):
            path = Path(folder, name)
            if path.is_symlink():
                # The guests' own place differs between architectures.
                what = "link to " + re.sub(
                    re.escape(str(build.cache_folder())) + "/[0-9a-f]+", "GUEST", os.readlink(path)
                )
            elif path.is_file():
                what = f"file of {path.stat().st_size} bytes"
                if path.stat().st_size < 1 << 20:
                    what += f": {path.read_bytes()!r:.200}"
            else:
                what = "folder" if path.is_dir() else "special file"
            yield str(path.relative_to(top)), what


def run(command: list[str]) -> Run:
    """Runs a guest command in a fresh folder ("{cwd}" in the command stands for it) and in a session of its own.

    Orphans get a moment to end, then they are killed, so that no run disturbs the next one.
    """
    become_subreaper()
    before = set(descendants(os.getpid()))
    with tempfile.TemporaryDirectory(prefix="noah-guest-") as cwd, tempfile.TemporaryFile() as errors:
        os.chmod(cwd, 0o755)
        process = subprocess.Popen(
            [part.replace("{cwd}", cwd) for part in command],
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            status = TIMED_OUT
            output = _read_rest(process)
        kill_new(before)
        errors.seek(0)
        text = errors.read().decode(errors="backslashreplace")
        return Run(split_sections(output), status, dict(tree(Path(cwd))), text)


def _read_rest(process: subprocess.Popen[bytes]) -> bytes:
    # A guest child in a session of its own may survive the kill and hold the pipe open: do not wait for it for long.
    try:
        return process.communicate(timeout=5)[0]
    except subprocess.TimeoutExpired as late:
        return late.stdout or b""


def in_noah(target: Target, program: Path, *cases: str) -> list[str]:
    options = ["--engine", target.engine, "--host", target.host, "--root", "/", "-w", "{cwd}"]
    for key, value in ENVIRONMENT.items():
        options += ["-e", f"{key}={value}"]
    return [NOAH, "run", *options, "--", str(program), *cases]


def oracle_variant(variant: str) -> str:
    """The build that the native kernel can run: other architectures are compared with this machine's own."""
    return "static" if variant == "aarch64" else variant


@functools.cache
def native_all(name: str, variant: str) -> tuple[Run, Run]:
    """Two native runs of all cases, to tell a case that varies from one that differs in Noah."""
    program = str(build.build(SOURCES[name], oracle_variant(variant)))
    return run([program]), run([program])


@functools.cache
def noah_all(name: str, target: Target) -> Run:
    return run(in_noah(target, build.build(SOURCES[name], target.variant)))


def files_of(case: str, files: dict[str, str]) -> dict[str, str]:
    return {path: what for path, what in files.items() if path == case or path.startswith(case + "/")}


def explain(case: str, native: Run, noah: Run) -> str:
    """Returns the differences between two runs of one case as text, "" when there is none."""
    parts: list[str] = []
    if noah.status == TIMED_OUT:
        parts.append(f"no end after {TIMEOUT:.0f} s")
    elif noah.status != native.status:
        parts.append(f"exit status {noah.status}, natively {native.status}")
    if noah.errors != native.errors:
        parts.append(f"other words on the standard error: {noah.errors[-3000:]}")
    native_lines = native.sections.get(case, "").splitlines()
    noah_lines = noah.sections.get(case, "").splitlines()
    parts += difflib.unified_diff(native_lines, noah_lines, "native", "noah", lineterm="", n=2)
    native_files = [f"{path}: {what}" for path, what in sorted(files_of(case, native.files).items())]
    noah_files = [f"{path}: {what}" for path, what in sorted(files_of(case, noah.files).items())]
    parts += difflib.unified_diff(native_files, noah_files, "native files", "noah files", lineterm="", n=0)
    return "\n".join(parts)


def collect() -> Iterator[object]:
    for target, marks in TARGETS.items():
        for name in SOURCES:
            for variant in (target.variant, *(STATIC.get(name, ()) if target == next(iter(TARGETS)) else ())):
                chosen = target._replace(variant=variant)
                for case in cases_of(name, variant):
                    known = [
                        pytest.mark.xfail(reason=reason, strict=True)
                        for limited in {target.engine, target.host, f"{target.engine}-{variant}"} & LIMITS.keys()
                        if (reason := LIMITS[limited].get(f"{name}-{case}"))
                    ]
                    yield pytest.param(name, case, chosen, marks=[*marks, *known], id=f"{chosen}-{name}-{case}")


@functools.cache
def kvm_trouble() -> str:
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return ""


@pytest.mark.guest
@pytest.mark.timeout(7 * TIMEOUT)  # the runs of all cases happen in whichever test comes first
@pytest.mark.parametrize(("name", "case", "target"), list(collect()))
def test_case(name: str, case: str, target: Target) -> None:
    if not build.available(target.variant):
        pytest.skip(f"no compiler {build.VARIANTS[target.variant][0]}")
    if target.engine == "kvm" and kvm_trouble():
        pytest.skip(kvm_trouble())
    first, second = native_all(name, target.variant)
    # The exit status belongs to the last case alone; no case ends its own process.
    assert first.status == 0, f"the native run failed: {first.status} {list(first.sections.items())[-1]}"
    trouble = explain(case, first, second)
    assert not trouble, f"not deterministic on the native kernel:\n{trouble}"

    whole = noah_all(name, target)
    ended_here = whole.status != first.status and case == list(whole.sections)[-1]
    if case in whole.sections and not ended_here and not explain(case, first, whole._replace(status=first.status)):
        return
    alone = run([str(build.build(SOURCES[name], oracle_variant(target.variant))), case])
    trouble = explain(case, alone, run(in_noah(target, build.build(SOURCES[name], target.variant), case)))
    if trouble:
        pytest.fail(f"{name}.c, case {case}, on {target}:\n{trouble}", pytrace=False)
