"""Noah's trace beside strace's own of the same program: the same calls, in the same order, in the same words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from tests.running import NOAH, environment, kvm_trouble

if TYPE_CHECKING:
    from pathlib import Path

ENGINE: Final = "emulator" if kvm_trouble() else "kvm"
PROGRAMS: Final = [
    ["true"],
    ["cat", "/etc/passwd"],
    ["wc", "-c", "/etc/passwd", "/nowhere"],
    ["readlink", "-f", "/bin/sh"],
    ["head", "-c", "5", "/dev/zero"],
    ["sh", "-c", "umask 022; cd /; pwd; exit 3"],
    ["sh", "-c", "echo a | cat; kill -TERM $$"],
    ["perl", "-e", "$SIG{ALRM} = sub { exit 0 }; alarm 1; sleep 5; pipe A, B; print select(undef, undef, undef, 0.01)"],
]
# What is another number in each run, or Noah's own choice (see docs/COMPATIBILITY.md).
OWN_WAYS: Final = {
    "rseq": "always ENOSYS",
    "sysinfo": "the memory that is free changes",
    "getrandom": "",
    "getppid": "the parent is not of the box",
    "brk": "addresses",
}

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def plain(line: str) -> str:
    """A line without what differs from run to run: addresses, times, padding."""
    line = re.sub(r"0x[0-9a-f]{5,}", "ADDRESS", line)
    line = re.sub(r"\) +=", ") =", line)
    line = re.sub(r" /\* \d{4}-.*? \*/", "", line)  # strace adds a date to times of files
    line = re.sub(r"_IOC\w+ or (\w+)", r"\1", line)
    line = re.sub(r'read\((\d+), ".+", 4\) = 4', r"read(\1, RANDOM, 4) = 4", line)  # perl asks /dev/urandom
    line = re.sub(r"si_[us]time=\d+( /\* [\d.]+ s \*/)?", "si_time", line)
    line = re.sub(r"\{tv_sec=\d+, tv_nsec=\d+\}\) = \?", "LEFT) = ?", line)
    return re.sub(r"tv_[nu]sec=\d+", "tv_sec", line)


def calls(path: Path) -> list[list[str]]:
    """The lines of each process, in the order of their ids; what strace cut in two is put together."""
    lines: dict[str, list[str]] = {}
    begun: dict[str, str] = {}
    for line in path.read_text(errors="backslashreplace").splitlines():
        pid, _, text = line.strip().partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
            lines.setdefault(pid, [])
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            begun_text, rest = begun.pop(pid), text[resumed.end() :]
            text = begun_text + (
                rest if rest.startswith(")") else " " + rest.lstrip() if begun_text[-1] == "," else rest
            )
        name = text.partition("(")[0]
        lines.setdefault(pid, []).append(name if name in OWN_WAYS else plain(text))
    pids = {pid: f"PID{index}" for index, pid in enumerate(sorted(lines, key=int))}
    return [
        [re.sub(r"\d+", lambda found: pids.get(found[0], found[0]), text) for text in lines[pid]]
        for pid in sorted(lines, key=int)
    ]


def without_signals(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(("---", "rt_sigreturn"))]


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_same_lines_as_strace(program: list[str], tmp_path: Path) -> None:
    own = [NOAH, "run", "--engine", ENGINE, "--root", "/", f"--strace={tmp_path}/noah", "--"]
    ended = []
    for start in (["strace", "-f", "-o", str(tmp_path / "strace")], own):
        done = subprocess.run(
            [*start, *program], cwd="/", env=environment(LC_ALL="C"), stdin=subprocess.DEVNULL, capture_output=True,
            check=False, timeout=60,
        )  # fmt: skip
        ended.append((done.returncode, done.stdout, done.stderr))
    assert ended[1] == ended[0]
    native, noah = calls(tmp_path / "strace"), calls(tmp_path / "noah")
    assert len(noah) == len(native)
    for theirs, ours in zip(native, noah, strict=True):
        # A child's end is seen before or after whatever else its parent does.
        assert without_signals(ours) == without_signals(theirs)
        assert {line for line in ours if line[:3] == "---"} == {line for line in theirs if line[:3] == "---"}


def test_every_line_of_many_processes_is_whole(tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6; do cat /etc/passwd | cat | cat > /dev/null & done; wait"
    command = [NOAH, "run", "--engine", ENGINE, f"--strace={tmp_path}/log", "--", "bash", "-c", script]
    subprocess.run(command, check=True, env=environment(), timeout=100)
    lines = (tmp_path / "log").read_text().splitlines()
    assert all(re.fullmatch(r"\d+ +(\w+\(.*\) += .+|--- .* ---|\+\+\+ .* \+\+\+)", line) for line in lines)
    assert sum("+++ exited with 0 +++" in line for line in lines) == 1 + 6 * 3


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system takes root")
def test_tracing_ends_when_the_disk_is_full_and_the_program_goes_on(tmp_path: Path) -> None:
    command = [
        NOAH,
        "run",
        "--engine",
        ENGINE,
        f"--strace={tmp_path}/log",
        "--",
        "sh",
        "-c",
        "while [ $((i += 1)) -lt 99 ]; do cd /; done; echo on",
    ]
    script = 'mount -t tmpfs -o size=4k tmpfs "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), *command], capture_output=True, cwd="/",
        env=environment(), check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"on\n")
    assert done.stderr == f"noah: trace file {tmp_path}/log: no space left on device; tracing ends here\n".encode()


def test_summary_counts_all_processes(tmp_path: Path) -> None:
    command = [NOAH, "trace", "-c", "--engine", ENGINE, "-o", str(tmp_path / "table"), "--", "sh", "-c"]
    subprocess.run([*command, "cat /nowhere; cat /etc/passwd > /dev/null; true"], env=environment(), timeout=60)
    table = (tmp_path / "table").read_text().splitlines()
    assert table[0] == "% time     seconds  usecs/call     calls    errors syscall"
    rows = {line.split()[-1]: line.split() for line in table[2:]}
    assert rows["execve"][3] == "3"
    assert rows["exit_group"][3] == "3"
    assert int(rows["openat"][4]) >= 1
    assert rows["total"][0] == "100.00"
    assert sum(int(row[3]) for name, row in rows.items() if name.isidentifier() and name != "total") == int(
        rows["total"][3]
    )


def test_threads_have_lines_of_their_own(tmp_path: Path) -> None:
    program = (
        "import threading; t = threading.Thread(target=lambda: open('/etc/passwd').close()); t.start(); t.join()\n"
    )
    program += "import time; time.sleep(0.5)"  # else the process may end before its thread does
    command = [NOAH, "run", "--engine", ENGINE, f"--strace={tmp_path}/log", "--", "/usr/bin/python3", "-SEc", program]
    subprocess.run(command, check=True, env=environment(), timeout=60)
    text = (tmp_path / "log").read_text()
    made = re.search(r"^(\d+) +clone3?\(.*CLONE_THREAD.*\) = (\d+)$", text, re.MULTILINE)
    assert made
    assert made[1] != made[2]
    own = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(made[2])]
    assert any(line.startswith('openat(AT_FDCWD, "/etc/passwd"') for line in own)
    assert re.fullmatch(r"exit\(0\) += \?", own[-2])
    assert own[-1] == "+++ exited with 0 +++"


def test_the_program_s_own_limit_of_file_size_does_not_count(tmp_path: Path) -> None:
    script = 'ulimit -f 1; i=0; while [ $((i += 1)) -lt 30 ]; do cd /; done; cat /etc/passwd > "$1"; echo $? on'
    command = [NOAH, "run", "--engine", ENGINE, f"--strace={tmp_path}/log", "--", "bash", "-c", script, "bash"]
    done = subprocess.run(
        [*command, str(tmp_path / "small")], capture_output=True, env=environment(), check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, b"153 on\n")  # 128 + SIGXFSZ
    assert (tmp_path / "small").stat().st_size == 1024
    assert "+++ killed by SIGXFSZ +++" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").stat().st_size > 2048
