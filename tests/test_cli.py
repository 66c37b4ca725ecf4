"""The `noah` command: what it says to bad input, its exit statuses, what it hands through, its options."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.running import (
    NOAH,
    REPOSITORY,
    Result,
    debian_root,
    environment,
    kvm_trouble,
    noah_command,
    ordinary_user,
    run,
    with_kvm,
    working_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE: Final = "emulator" if kvm_trouble() else "kvm"
DOCKER_ERROR, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127


@pytest.fixture
def cwd() -> Iterator[Path]:
    noah_command()
    with working_directory() as folder:
        yield folder


def noah(cwd: Path, *arguments: str, stdin: bytes | int = subprocess.DEVNULL, **more: str) -> Result:
    return run([NOAH, *arguments], cwd=cwd, stdin=stdin, env=environment(**more))


def start(cwd: Path, *arguments: str, stdin: bytes | int = subprocess.DEVNULL, **more: str) -> Result:
    """`noah run --root / ARGUMENTS`; what follows "--" is the program."""
    return noah(cwd, "run", "--engine", ENGINE, "--root", "/", *arguments, stdin=stdin, **more)


def one_line(result: Result, status: int, *words: str) -> None:
    """Asserts an error as a user should see it: one line, for people, that names the thing."""
    text = result.stderr.decode()
    assert result.status == status, text
    assert result.stdout == b""
    assert "Traceback" not in text
    assert re.fullmatch(r"noah: [^\n]{10,300}\n", text), text
    for word in words:
        assert word in text


def elf(machine: int = 62, *, header: int = 64, interpreter: bytes = b"", kind: int = 2) -> bytes:
    """A small ELF-64 file for `machine`, cut after `header` bytes when that is shorter than the header."""
    ident = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    count = 2 if interpreter else 1
    head = ident + struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0x400078, 64, 0, 0, 64, 56, count, 64, 0, 0)
    offset = 64 + 56 * count
    parts = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 512, 512, 4096)
    if interpreter:
        size = len(interpreter) + 1
        parts = struct.pack("<IIQQQQQQ", 3, 4, offset, 0x400000 + offset, 0, size, size, 1) + parts
        parts += interpreter + b"\0"
    return (head + parts).ljust(512, b"\xf4")[: header if header < 64 else None]


def program(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


# ---- bad input ----


def test_program_not_in_path_is_127(cwd: Path) -> None:
    one_line(start(cwd, "--", "no-such-program"), NOT_FOUND, "no-such-program")


def test_program_path_missing_is_127(cwd: Path) -> None:
    one_line(start(cwd, "--", "/nowhere/program"), NOT_FOUND, "/nowhere/program", "no such file")


def test_program_name_empty_is_127(cwd: Path) -> None:
    one_line(start(cwd, "--", ""), NOT_FOUND)


def test_program_without_execute_permission_is_126(cwd: Path) -> None:
    path = program(cwd / "plain", b"#!/bin/sh\n", 0o644)
    one_line(start(cwd, "--", path), NOT_EXECUTABLE, path, "ermission denied")


def test_directory_as_program_is_126(cwd: Path) -> None:
    one_line(start(cwd, "--", str(cwd)), NOT_EXECUTABLE, str(cwd))


@pytest.mark.parametrize("length", [0, 3, 20, 63])
def test_truncated_elf_is_126(cwd: Path, length: int) -> None:
    path = program(cwd / "cut", elf(header=length))
    one_line(start(cwd, "--", path), NOT_EXECUTABLE, path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (elf(machine=243), "243"),  # RISC-V
        (elf(machine=21), "21"),  # PowerPC
        (elf()[:4] + b"\1" + elf()[5:], ""),  # ELF-32
        (elf(kind=1), ""),  # an object file
        (b"MZ" + bytes(100), ""),
        (bytes(100), ""),
        (b"text without a first line for an interpreter\n", ""),
    ],
    ids=["riscv", "powerpc", "32-bit", "object", "windows", "zeros", "text"],
)
def test_program_of_another_kind_is_126(cwd: Path, content: bytes, word: str) -> None:
    path = program(cwd / "other", content)
    one_line(start(cwd, "--", path), NOT_EXECUTABLE, path, word)


def test_missing_loader_is_named(cwd: Path) -> None:
    path = program(cwd / "dynamic", elf(interpreter=b"/lib/ld-nowhere.so.1"))
    one_line(start(cwd, "--", path), NOT_FOUND, "/lib/ld-nowhere.so.1")


def test_missing_script_interpreter_is_named(cwd: Path) -> None:
    path = program(cwd / "script", b"#!/nowhere/interpreter\n")
    one_line(start(cwd, "--", path), NOT_FOUND, "/nowhere/interpreter")


def test_script_that_is_its_own_interpreter_is_126(cwd: Path) -> None:
    path = program(cwd / "loop", f"#!{cwd}/loop\n".encode())
    one_line(start(cwd, "--", path), NOT_EXECUTABLE, path)


def test_root_missing_is_125(cwd: Path) -> None:
    one_line(noah(cwd, "run", "--root", str(cwd / "none"), "--", "/bin/true"), DOCKER_ERROR, str(cwd / "none"))


def test_root_that_is_a_file_is_125(cwd: Path) -> None:
    path = program(cwd / "file", b"")
    one_line(noah(cwd, "run", "--root", path, "--", "/bin/true"), DOCKER_ERROR, path, "director")


def test_root_unreadable_is_125(cwd: Path) -> None:
    user = ordinary_user()
    closed = cwd / "closed"
    closed.mkdir(mode=0o000)
    command = [*noah_command(user), "run", "--root", str(closed), "--", "/bin/true"]
    one_line(run(command, cwd="/", user=user), DOCKER_ERROR, str(closed), "ermission denied")


def test_root_empty_says_that_the_program_is_not_there(cwd: Path) -> None:
    (cwd / "empty").mkdir()
    one_line(noah(cwd, "run", "--root", str(cwd / "empty"), "--", "/bin/true"), NOT_FOUND, "/bin/true")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["run", "--no-such-option", "--", "true"],
        ["no-such-command"],
        ["run", "--root"],
        ["run", "--root", "/"],
        ["run"],
        [],
        ["run", "--engine", "abacus", "--", "true"],
        ["run", "--host", "beos", "--", "true"],
        ["run", "-w", "relative", "--", "true"],
        ["run", "-w", "/nowhere/dir", "--", "true"],
        ["run", "-v", "/", "--", "true"],
        ["run", "-v", "/nowhere:/x", "--", "true"],
        ["run", "-v", "/tmp:relative", "--", "true"],
        ["run", "-v", "/tmp:/x:rx", "--", "true"],
        ["run", "-e", "=value", "--", "true"],
        ["run", "-u", "no-such-user", "--", "true"],
        ["run", "-u", "-1", "--", "true"],
        ["run", "--strace=/nowhere/log", "--", "true"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_125(cwd: Path, arguments: list[str]) -> None:
    one_line(noah(cwd, *arguments), DOCKER_ERROR)


def test_full_disk_is_the_program_s_error(cwd: Path) -> None:
    if os.getuid():
        pytest.skip("mounting a small file system takes root")
    script = (
        'mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1" && shift && export TMPDIR=$PWD && '
        '"$@"; status=$?; ls -A . >&2; exit $status'
    )
    small = cwd / "small"
    small.mkdir()
    inner = ["sh", "-c", "head -c 200000 /dev/zero > file; echo $?; wc -c < file; rm file; echo ok > file; cat file"]
    results = [
        run(["unshare", "-m", "sh", "-c", script, "x", str(small), *start_of, *inner], cwd=cwd)
        for start_of in ([], [NOAH, "run", "--engine", ENGINE, "--root", "/", "--"])
    ]
    assert results[1] == results[0]


def test_program_with_no_room_for_its_trace_says_so(cwd: Path) -> None:
    one_line(start(cwd, "--strace=/dev/full", "--", "true"), DOCKER_ERROR, "/dev/full", "o space left")


def test_no_kvm_permission_says_the_remedy(cwd: Path) -> None:
    user = ordinary_user()
    command = [*noah_command(user), "run", "--engine", "kvm", "--root", "/", "--", "true"]
    one_line(run([*with_kvm(user, usable=False), *command], cwd="/"), DOCKER_ERROR, "/dev/kvm")


# ---- exit statuses ----


@pytest.mark.parametrize("status", [0, 1, 42, 125, 126, 127, 255])
def test_exit_status_is_the_program_s(cwd: Path, status: int) -> None:
    assert start(cwd, "--", "sh", "-c", f"exit {status}") == (status, b"", b"", 0)


@pytest.mark.parametrize(
    "number",
    [
        *(signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGABRT, signal.SIGSEGV, signal.SIGPIPE),
        *(signal.SIGUSR1, signal.SIGALRM, 32, 33, signal.SIGRTMIN + 3),  # 32 and 33 are the host's C library's
    ],
)
def test_death_by_signal_is_noah_s_own_death(cwd: Path, number: int) -> None:
    result = start(cwd, "--", "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$")
    assert (result.status, result.stdout) == (-number, b"")
    command = (
        f'"{NOAH}" run --engine {ENGINE} --root / -- sh -c "ulimit -c 0; kill -{int(number)} \\$\\$" 2>&1; echo $?'
    )
    assert run(["sh", "-c", command], cwd=cwd).stdout.splitlines()[-1] == b"%d" % (128 + number)


@pytest.mark.skipif(sys.platform != "linux", reason="compares with what the host's own kernel says")
def test_signals_that_are_ignored_stay_so(cwd: Path) -> None:
    def ignore() -> None:
        from noah.host.linux.kernel import syscall

        for number in (signal.SIGUSR2, 32, signal.SIGRTMIN + 1):  # 32 is the host's C library's
            syscall("rt_sigaction", number, struct.pack("=QQQQ", 1, 0, 0, 0), None, 8)

    command = ["grep", "SigIgn", "/proc/self/status"]
    native, guest = (
        subprocess.run([*start_of, *command], cwd=cwd, capture_output=True, check=True, preexec_fn=ignore).stdout
        for start_of in ([], [NOAH, "run", "--engine", ENGINE, "--root", "/", "--"])
    )
    assert int(native.split()[1], 16) & 1 << 31
    assert guest == native


def test_stopped_program_is_a_stopped_job(cwd: Path) -> None:
    process = subprocess.Popen([NOAH, "run", "--root", "/", "--", "sh", "-c", "kill -STOP $$; exit 7"], cwd=cwd)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == signal.SIGSTOP
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 7
    finally:
        process.kill()
        process.wait()


def test_signals_to_noah_reach_the_program(cwd: Path) -> None:
    trap = "trap 'echo usr1; exit 9' USR1; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [NOAH, "run", "--engine", ENGINE, "--root", "/", "--", "sh", "-c", trap], cwd=cwd, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.communicate(timeout=20)[0] == b"usr1\n"
        assert process.returncode == 9
    finally:
        process.kill()
        process.wait()


def test_ignored_signals_stay_ignored(cwd: Path) -> None:
    script = 'trap "" USR1 HUP; exec "$0" run --root / -- sh -c "kill -USR1 \\$\\$; kill -HUP \\$\\$; echo alive"'
    assert run(["sh", "-c", script, NOAH], cwd=cwd)[:3] == (0, b"alive\n", b"")


# ---- what is handed through ----


def test_streams_are_handed_through(cwd: Path) -> None:
    result = start(cwd, "--", "sh", "-c", "tr a-z A-Z; echo error >&2", stdin=b"binary \0\xff in\n")
    assert result == (0, b"BINARY \0\xff IN\n", b"error\n", 0)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stay_closed(cwd: Path, closed: str) -> None:
    inner = "for fd in 0 1 2; do [ -e /proc/self/fd/$fd ] && echo $fd open || echo $fd closed; done > result"
    results = []
    for command in ("sh -c", f'"{NOAH}" run --engine {ENGINE} --root / -- sh -c'):
        run(["sh", "-c", f"{command} '{inner}' {closed}"], cwd=cwd)
        results.append((cwd / "result").read_text())
        (cwd / "result").unlink()
    assert results[1] == results[0]


def test_more_descriptors_are_handed_through(cwd: Path) -> None:
    script = f'exec 3> three 5< "$0"; "{NOAH}" run --engine {ENGINE} --root / -- sh -c "echo to three >&3; cat <&5"'
    path = program(cwd / "input", b"from five\n", 0o644)
    assert run(["bash", "-c", script, path], cwd=cwd).stdout == b"from five\n"
    assert (cwd / "three").read_bytes() == b"to three\n"


def test_program_shares_the_file_position(cwd: Path) -> None:
    (cwd / "lines").write_text("1\n2\n3\n")
    script = f'{{ read -r x; "{NOAH}" run --engine {ENGINE} --root / -- sh -c "read -r y; echo \\$y"; cat; }} < lines'
    assert run(["bash", "-c", script], cwd=cwd).stdout == b"2\n3\n"


def test_arguments_are_bytes(cwd: Path) -> None:
    odd = [b"", b" ", b"a b", b"\n", b"\xff\xfe", "é".encode(), b"--", b"-e", b"$HOME", b"*"]
    result = subprocess.run(
        [NOAH.encode(), b"run", b"--root", b"/", b"--", b"printf", b"<%s>", *odd],
        check=False,
        capture_output=True,
        cwd=cwd,
    )
    assert result.stdout == b"".join(b"<%s>" % each for each in odd)
    assert result.stderr == b""


def test_options_after_the_program_are_its_own(cwd: Path) -> None:
    assert start(cwd, "echo", "-e", "a", "--root", "--help").stdout == b"a --root --help\n"


# ---- options ----


def test_environment_option(cwd: Path) -> None:
    script = 'echo "$A|$B|${C-unset}|$FROM"'
    result = start(cwd, "-e", "A=1", "--env", "B=x=y z", "-e", "FROM", "--", "sh", "-c", script, FROM="host")
    assert result == (0, b"1|x=y z|unset|host\n", b"", 0)


def test_environment_of_another_root_is_small(cwd: Path) -> None:
    root = debian_root()
    result = noah(cwd, "run", "--root", str(root), "-e", "A=1", "--", "env", SECRET="leaked")
    assert result.status == 0, result.stderr
    names = {line.partition(b"=")[0] for line in result.stdout.splitlines()}
    assert {b"A", b"PATH", b"HOME"} <= names <= {b"A", b"PATH", b"HOME", b"TERM", b"LANG", b"HOSTNAME"}


def test_workdir_option(cwd: Path) -> None:
    assert start(cwd, "-w", "/usr/bin", "--", "pwd").stdout == b"/usr/bin\n"
    assert start(cwd, "--workdir", "/etc", "--", "pwd").stdout == b"/etc\n"
    assert start(cwd, "--", "pwd").stdout.strip() == os.fsencode(cwd)


@pytest.mark.parametrize("user", ["65534", "65534:65534", "nobody", "nobody:nogroup"])
def test_user_option(cwd: Path, user: str) -> None:
    if os.getuid():
        pytest.skip("becoming another user takes root")
    script = "id -u; id -g; touch made 2>/dev/null || echo refused"
    assert start(cwd, "-u", user, "--", "sh", "-c", script).stdout == b"65534\n65534\nrefused\n"


LATE: Final = """
import os, socket, threading
os.setuid(65534)
thread = threading.Thread(target=os.getuid)
thread.start()
thread.join()
print(socket.if_nameindex()[0])
"""


def test_what_is_kept_is_no_file_of_the_program(cwd: Path) -> None:
    program = "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(9999) + 1)"
    script = f"ulimit -f 0; /usr/bin/python3 -c '{program}'"
    options = ["report", "--engine", ENGINE, "--root", "/", "--", "bash", "-c", script]
    result = noah(cwd, *options, HOME=str(cwd))
    assert result.status == 0
    assert b"prctl: option 9999" in result.stderr


@pytest.mark.parametrize("host", ["linux", "posix"])
def test_user_who_may_not_read_noah_itself(cwd: Path, host: str) -> None:
    if os.getuid():
        pytest.skip("becoming another user takes root")
    closed = cwd / "closed"
    shutil.copytree(REPOSITORY / "src", closed, ignore=shutil.ignore_patterns("__pycache__"))
    closed.chmod(0o700)
    main = (
        f"import sys; sys.path.insert(0, {str(closed)!r}); sys.argv[0] = 'noah'; from noah.cli.main import main; main()"
    )
    options = ["run", "--engine", ENGINE, "--host", host, "--root", "/", "--", "/usr/bin/python3", "-c", LATE]
    result = run([sys.executable, "-c", main, *options], cwd=cwd)
    assert (result.status, result.stdout, result.stderr) == (0, b"(1, 'lo')\n", b"")


def test_volume_option(cwd: Path) -> None:
    (cwd / "shared").mkdir()
    (cwd / "shared" / "file").write_text("from the host\n")
    root = debian_root()
    script = "cat /mnt/deep/file; echo made > /mnt/deep/made; ls /mnt/deep; cd /mnt/deep/..; pwd; ls -A /mnt"
    result = noah(cwd, "run", "--root", str(root), "-v", f"{cwd}/shared:/mnt/deep", "--", "sh", "-c", script)
    assert (result.status, result.stderr) == (0, b"")
    assert result.stdout == b"from the host\nfile\nmade\n/mnt\ndeep\n"
    assert (cwd / "shared" / "made").read_text() == "made\n"
    assert not (root / "mnt/deep").exists() or not list((root / "mnt/deep").iterdir())


def test_volume_read_only(cwd: Path) -> None:
    (cwd / "shared").mkdir()
    (cwd / "shared" / "file").write_text("kept\n")
    volume = f"{cwd}/shared:/mnt:ro"
    script = (
        "cat /mnt/file; cd /mnt; echo x > new; echo x >> file; rm file; mkdir d; mv file other; ln file link; "
        "chmod 600 file; touch file; truncate -s 0 file; true > ../mnt/new; cat file"
    )
    result = noah(cwd, "run", "--root", str(debian_root()), "-v", volume, "--", "sh", "-c", script)
    assert result.stdout == b"kept\nkept\n"
    assert result.stderr.count(b"Read-only file system") >= 9
    assert os.listdir(cwd / "shared") == ["file"]


def test_volume_of_one_file(cwd: Path) -> None:
    path = program(cwd / "one", b"one file\n", 0o644)
    result = noah(cwd, "run", "--root", str(debian_root()), "-v", f"{path}:/etc/one", "--", "cat", "/etc/one")
    assert result == (0, b"one file\n", b"", 0)


def test_strace_option_writes_decoded_calls(cwd: Path) -> None:
    result = start(cwd, f"--strace={cwd}/log", "--", "cat", "/etc/hostname")
    assert result[1:] == (Path("/etc/hostname").read_bytes(), b"", 0)
    text = (cwd / "log").read_text()
    assert re.search(r'openat\(AT_FDCWD, "/etc/hostname", O_RDONLY.*\) += \d', text)
    assert re.search(r"exit_group\(0\)", text)
    assert re.search(r"= -1 ENOENT \(.+\)", text)


def test_strace_option_alone_writes_to_stderr(cwd: Path) -> None:
    result = start(cwd, "--strace", "--", "echo", "text")
    assert result.stdout == b"text\n"
    assert re.search(rb'write\(1, "text\\n", 5\) += 5', result.stderr)


def test_strace_follows_children(cwd: Path) -> None:
    result = start(cwd, f"--strace={cwd}/log", "--", "sh", "-c", "cat /etc/hostname | grep -c .; exit 3")
    assert result.status == 3
    text = (cwd / "log").read_text()
    assert text.count("exit_group(") == 3
    assert "execve(" in text
    assert re.search(r"pipe2?\(\[\d+, \d+\]", text)


def test_terminal_options_are_accepted(cwd: Path) -> None:
    assert start(cwd, "-i", "--", "cat", stdin=b"in\n").stdout == b"in\n"
    assert start(cwd, "-it", "--rm", "--", "true").status in (0, DOCKER_ERROR)


@pytest.mark.parametrize("engine", ["auto", "kvm", "emulator"])
@pytest.mark.parametrize("host", ["auto", "linux", "posix"])
def test_engine_and_host_options(cwd: Path, engine: str, host: str) -> None:
    if engine == "kvm" and kvm_trouble():
        pytest.skip(kvm_trouble())
    result = noah(cwd, "run", "--root", "/", "--engine", engine, "--host", host, "--", "echo", "ran")
    assert result == (0, b"ran\n", b"", 0)


# A /dev of its own, so that a defect here damages nothing: $0 is Noah, $1 the root, $2 what the guest does.
OWN_DEVICES: Final = """
set -e
mount -t tmpfs tmpfs /dev
for each in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "/dev/${each%:*}" c 1 "${each#*:}"; done
mknod -m 666 /dev/tty c 5 0
[ -z "$3" ] || mknod /dev/kvm c 10 232
mkdir -m 1777 /dev/shm
mkdir /dev/pts
echo secret > /dev/shm/of-the-host
"$0" run --root "$1" -- sh -c "$2" || true
stat -c '%n %A %u %t:%T' /dev/*
cat /dev/shm/*
"""


def test_guest_cannot_change_the_host_s_devices(cwd: Path) -> None:
    """Root in a guest with another root may use /dev, and neither change nor remove what the host has there."""
    if os.getuid():
        pytest.skip("damaging device nodes takes root")
    root = str(debian_root())
    kvm = "" if kvm_trouble() else "yes"
    attack = (
        "cd /dev; chmod 600 full; chown 5:5 full; rm -f zero random; mv null other; ln -f full urandom; "
        "touch -d @0 tty; mkdir new; mknod new2 c 1 3; ln -s x new3; rm -f shm/of-the-host; echo x > shm/of-the-host; "
        "chmod 600 /proc/self/fd/3 3< full; chmod 700 shm pts; chmod 1777 shm; rm -f shm/of-the-host"
    )
    enter = ["unshare", "--mount", "bash", "-c", OWN_DEVICES, NOAH, root]
    before = run([*enter, ":", kvm], cwd=cwd)
    after = run([*enter, attack, kvm], cwd=cwd)
    assert before.stdout
    assert after.stdout == before.stdout


# ---- the other commands ----


@pytest.mark.parametrize("command", ["", "run", "doctor", "trace", "report"])
def test_help(cwd: Path, command: str) -> None:
    result = noah(cwd, *command.split(), "--help")
    assert (result.status, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert text.lower().startswith("usage: noah")
    if command == "":
        assert all(word in text for word in ("run", "doctor", "trace", "report"))
    if command == "run":
        assert all(word in text for word in ("--root", "-v", "-e", "-w", "-u", "--engine", "--host", "--strace"))


def test_version(cwd: Path) -> None:
    result = noah(cwd, "--version")
    assert result.status == 0
    assert re.fullmatch(rb"noah \d+\.\d+\S*\n", result.stdout)


def test_doctor(cwd: Path) -> None:
    result = noah(cwd, "doctor")
    assert result.stderr == b""
    assert result.status == 0
    assert b"kvm" in result.stdout.lower()
    assert b"emulator" in result.stdout.lower()


def test_doctor_tells_a_user_without_kvm_the_remedy(cwd: Path) -> None:
    user = ordinary_user()
    result = run([*with_kvm(user, usable=False), *noah_command(user), "doctor"], cwd="/")
    assert b"/dev/kvm" in result.stdout
    assert b"Traceback" not in result.stderr


def test_trace(cwd: Path) -> None:
    result = noah(cwd, "trace", "--", "echo", "text")
    assert result.status == 0
    assert b"text\n" in result.stdout
    assert re.search(rb'write\(1, "text\\n", 5\) += 5', result.stderr + result.stdout)


def test_trace_with_counts_behind_the_calls(cwd: Path) -> None:
    result = noah(cwd, "trace", "-C", "-o", str(cwd / "log"), "--", "sh", "-c", "echo text | cat")
    assert (result.status, result.stdout, result.stderr) == (0, b"text\n", b"")
    calls, counts = (cwd / "log").read_text().split("% time")
    assert len(re.findall(r'^\d+ +write\(1, "text\\n", 5\) += 5$', calls, re.MULTILINE)) == 2
    assert re.search(r" 2 +write$", counts, re.MULTILINE)
    total = re.search(r"(\d+) +\d+ total$", counts, re.MULTILINE)
    assert total
    assert int(total[1]) == len(re.findall(r"^\d+ +\w+\(", calls, re.MULTILINE))


def test_report(cwd: Path) -> None:
    result = noah(cwd, "report", "--", "true")
    assert result.status == 0
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["trace", "report"])
def test_other_commands_pass_errors_on(cwd: Path, command: str) -> None:
    assert noah(cwd, command, "--", "/nowhere/program").status == NOT_FOUND


@pytest.mark.slow  # an interrupt before Noah's first line is the interpreter's to report: it fails now and then
def test_interrupted_start_shows_no_traceback(cwd: Path) -> None:
    # Ctrl-C while Python still imports: the shell's user sees nothing, or a word, but never a traceback.
    for delay in (0.01, 0.03, 0.06, 0.1, 0.15):
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [NOAH, "run", "--engine", ENGINE, "--root", "/", "--", "sleep", "5"], cwd=cwd, stderr=errors
            )
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            status = process.wait(20)
            errors.seek(0)
            text = errors.read()
            # Before the first line of Noah runs, the interpreter itself may still speak, and exit with 1.
            assert b"Traceback" not in text or b"noah/" not in text
            assert status in (-signal.SIGINT, 130) or b"/noah/" not in text
