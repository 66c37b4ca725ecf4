"""Size and number: many runs, long pipelines, big files, deep trees, and runs that are killed from outside.

Where the native kernel can tell, it is the oracle; the rest counts what Noah leaves behind: processes, temporary files,
locks.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.running import (
    TIMED_OUT,
    Result,
    descendants,
    environment,
    kill_new,
    need_engine,
    noah_command,
    run,
    snapshot,
    working_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # they measure what depends on an idle machine

ENGINES: Final = ("kvm", pytest.param("emulator", marks=pytest.mark.slow))
# Where a program may leave files without anybody noticing.
TEMPORARY: Final = (Path(tempfile.gettempdir()), Path("/dev/shm"), Path("/run"), Path("/var/lock"), Path("/var/tmp"))
# What other tests, perhaps of another run at the same time, call their own folders.
OF_TESTS: Final = ("noah-apt-", "noah-guest-", "noah-programs-", "noah-test-")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    need_engine(request.param)
    noah_command()
    return str(request.param)


def noah(engine: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    return [*noah_command(), "run", "--engine", engine, "--root", "/", *options, "--", *command]


def temporary_files() -> set[Path]:
    """Files that a run might leave: everything directly in the usual places, and what has "noah" in its name."""
    found: set[Path] = set()
    for folder in TEMPORARY:
        found |= set(folder.glob("*")) if folder.is_dir() else set()
    return found | set(Path("/run/user").glob(f"{os.getuid()}/*"))


@contextmanager
def leaves_nothing() -> Iterator[None]:
    """Fails when the block leaves a process or a temporary file."""
    processes, files = set(descendants(os.getpid())), temporary_files()
    yield
    left = kill_new(processes)
    ours = {
        path for path in temporary_files() - files if "noah" in path.name.lower() and not path.name.startswith(OF_TESTS)
    }
    assert left == 0, f"{left} processes still ran a second later"
    assert not ours, f"temporary files left: {sorted(map(str, ours))}"


def same_as_native(engine: str, script: str, *, timeout: float = 60, shell: str = "bash") -> Result:
    """Runs a script natively and in Noah, in fresh directories; the output and the trees must be equal."""
    results: list[Result] = []
    trees: list[dict[str, tuple[object, ...]]] = []
    factor = 5 if engine == "emulator" else 1
    for command in ([shell, "-c", script], noah(engine, shell, "-c", script)):
        with working_directory() as cwd:
            results.append(run(command, cwd=cwd, timeout=timeout * factor))
            trees.append(snapshot(cwd))
    native, other = results
    assert native.status != TIMED_OUT, "the native run did not end in time"
    assert other.status != TIMED_OUT, f"no end within {timeout * factor:.0f} s; stderr: {other.stderr[-500:]!r}"
    assert (other.status, other.stdout, other.stderr) == (native.status, native.stdout, native.stderr)
    assert trees[1] == trees[0]
    assert other.orphans == native.orphans
    return other


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_true_200_times_leaves_nothing(engine: str) -> None:
    with leaves_nothing():
        statuses = {subprocess.run(noah(engine, "true"), check=False).returncode for _ in range(200)}
    assert statuses == {0}


def test_true_three_times_leaves_nothing(engine: str) -> None:
    with leaves_nothing():
        for _ in range(3):
            assert run(noah(engine, "true"), cwd="/").status == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_forks_1000_in_a_loop(engine: str) -> None:
    same_as_native(
        engine, "for ((i = 0; i < 1000; i++)); do (exit $((i % 256))); ((s += $?)); done; echo $s", timeout=120
    )


@pytest.mark.timeout(400)
def test_pipeline_of_50_processes(engine: str) -> None:
    pipeline = " | ".join(["seq 2000", *["cat"] * 49])
    same_as_native(engine, f"{pipeline} | md5sum; echo ${{#PIPESTATUS[@]}}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pipe_carries_1_gib(engine: str) -> None:
    same_as_native(engine, "head -c 1G /dev/zero | tail -c +1 | wc -c", timeout=150)


def test_pipe_carries_32_mib_unchanged(engine: str) -> None:
    same_as_native(engine, "seq 4000000 | head -c 32M | md5sum")


def test_sparse_file_of_4_gib(engine: str) -> None:
    same_as_native(
        engine,
        "truncate -s 4G big; printf end | dd of=big bs=1 seek=$((4 * 1024 ** 3 + 10)) conv=notrunc status=none; "
        "stat -c '%s %b' big; tail -c 3 big; dd if=big bs=1 skip=$((2 ** 32 - 1)) count=2 status=none | od -An -tx1; "
        "cp --sparse=always big copy; stat -c %s copy; rm big copy",
    )


@pytest.mark.timeout(400)
def test_directory_of_10000_entries(engine: str) -> None:
    script = """
        import os
        os.mkdir("d")
        for i in range(10000):
            os.close(os.open(f"d/entry-{i:05}", os.O_CREAT | os.O_WRONLY, 0o644))
        names = sorted(os.listdir("d"))
        print(len(names), names[0], names[-1], len(set(names)))
        for name in names[::2]:
            os.unlink(f"d/{name}")
        print(len(os.listdir("d")), sum(1 for entry in os.scandir("d") if entry.is_file()))
    """
    lines = "\n".join(line[8:] for line in script.splitlines())
    same_as_native(engine, f"/usr/bin/python3 -c '{lines}'; ls d | wc -l; rm -rf d; ls", timeout=90)


def test_directory_60_levels_deep(engine: str) -> None:
    same_as_native(
        engine,
        'd=$(printf "level/%.0s" {1..60}); mkdir -p "$d"; echo deep > "$d/file"; cat "$d/file"; find . | wc -l; '
        "cd \"$d\"; pwd | tr -cd / | wc -c | awk '{print $1 > 60}'; cd ../..; cat */*/file; cd ../../../..; ls; "
        "find . -type f -exec cat {} +",
    )


def test_path_of_4095_bytes(engine: str) -> None:
    # 4,095 bytes and the terminating zero are PATH_MAX; one more is ENAMETOOLONG, as is a name of 256 bytes.
    script = """
        import errno, os
        top = os.getcwd()
        name = "n" * 200
        for _ in range(25):
            os.mkdir(name)
            os.chdir(name)
        print(len(os.getcwd()) > 4096 or len(os.getcwd()))
        os.chdir(top)
        def attempt(path):
            try:
                return os.stat(path).st_mode
            except OSError as error:
                return errno.errorcode[error.errno]
        deep = "/".join([name] * 20)
        path = deep + "/." * ((4095 - len(deep)) // 2)
        path += "/" * (4095 - len(path))
        print(len(path), attempt(path), attempt(path + "/"), attempt("x" * 255), attempt("x" * 256))
        fd = os.open(path, os.O_RDONLY)
        print(os.mkdir("made", dir_fd=fd), os.listdir(fd) != [], attempt("./" * 2047 + "x"), attempt("./" * 2047 + "."))
    """
    lines = "\n".join(line[8:] for line in script.splitlines())
    same_as_native(engine, f"/usr/bin/python3 -c '{lines}'")


def test_open_files_1000(engine: str) -> None:
    script = """
        import errno, os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        first = os.open("/dev/null", os.O_RDONLY)
        files = [os.open(f"f{i}", os.O_CREAT | os.O_RDWR, 0o600) for i in range(1000)]
        print(max(files), len(set(files)))
        for i, fd in enumerate(files):
            os.write(fd, b"%d" % i)
        print(os.pread(files[777], 9, 0), len(os.listdir("/proc/self/fd")) > 1000)
        try:
            while True:
                files.append(os.dup(first))
        except OSError as error:
            print(errno.errorcode[error.errno], max(files))
        for fd in files:
            os.close(fd)
        print(os.open("/dev/null", os.O_RDONLY))
    """
    lines = "\n".join(line[8:] for line in script.splitlines())
    same_as_native(engine, f"/usr/bin/python3 -c '{lines}'")


def test_open_files_to_the_hard_limit(engine: str) -> None:
    if subprocess.run(["prlimit", "--nofile=1048576:1048576", "true"], capture_output=True).returncode:
        pytest.skip("the host's limit cannot be raised: descriptors for Noah beside the guest's take CAP_SYS_RESOURCE")
    program = "try:\n while True: last = os.open('.', 0)\nexcept OSError as error: print(last, error.errno)"
    with working_directory() as cwd:
        found = run(
            ["prlimit", "--nofile=300:300", *noah(engine, "/usr/bin/python3", "-c", "import os\n" + program)], cwd=cwd
        )
    assert (found.status, found.stdout, found.stderr) == (0, b"299 24\n", b"")


def test_mappings_take_no_descriptors(engine: str) -> None:
    program = (
        "import mmap; f = open('f', 'w+b'); f.truncate(8192); m = [mmap.mmap(f.fileno(), 4096) for _ in range(150)]"
    )
    program += "; m[0][0] = 7; print(len(m), m[149][0])"
    with working_directory() as cwd:
        found = run(["prlimit", "--nofile=200:200", *noah(engine, "/usr/bin/python3", "-c", program)], cwd=cwd)
    # Python's mmap keeps a descriptor for each: 150 of them fit, and 150 more would not.
    assert (found.status, found.stdout, found.stderr) == (0, b"150 7\n", b"")


def test_threads_1000(engine: str) -> None:
    script = """
        import threading
        threading.stack_size(1 << 16)
        there, seen = threading.Barrier(1001), []
        def work(number):
            seen.append(number)
            there.wait()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1000)]
        for thread in threads:
            thread.start()
        there.wait()
        for thread in threads:
            thread.join()
        print(threading.active_count(), sum(seen), len(set(seen)))
    """
    lines = "\n".join(line[8:] for line in script.splitlines())
    same_as_native(engine, f"/usr/bin/python3 -c '{lines}'")


def test_threads_are_refused_when_the_host_has_no_descriptors_left(engine: str) -> None:
    program = """
import threading
gate = threading.Event()
try:
    for count in range(400):
        threading.Thread(target=gate.wait).start()
except RuntimeError as error:
    print(error)
gate.set()
"""
    with working_directory() as cwd:
        found = run(["prlimit", "--nofile=300:300", *noah(engine, "python3", "-c", program)], cwd=cwd)
    assert (found.status, found.stdout, found.stderr) == (0, b"can't start new thread\n", b"")


def test_arguments_of_100_mib_are_refused(engine: str) -> None:
    script = """
        import errno, os
        def attempt(arguments, environment):
            pid = os.fork()
            if not pid:
                try:
                    os.execve("/bin/true", arguments, environment)
                except OSError as error:
                    print(errno.errorcode[error.errno], flush=True)
                    os._exit(1)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        attempt(["x" * 1000] * 100_000, {})
        attempt(["x"], {str(i): "y" * 1000 for i in range(100_000)})
        attempt(["x", "y" * 131071], {})
        attempt(["x", "y" * 131072], {})
        attempt(["x" * 1000] * 2000, {})
        attempt(["x"], {"a": "b" * 131060})
    """
    lines = "\n".join(line[8:] for line in script.splitlines())
    same_as_native(engine, f"ulimit -s 8192; /usr/bin/python3 -c '{lines}'")


def test_host_stack_limit_decides_the_argument_limit(engine: str) -> None:
    same_as_native(engine, "ulimit -s 1024; /bin/true $(seq 100000); echo $?; /bin/echo $(seq 20000) | wc -c")


# ---- runs that end from outside ----

# A pipeline, a background job in a group of its own, an open lock and a temporary file in the guest.
BUSY: Final = "exec 9> lock; flock 9; set -m; (sleep 1000 | sleep 1001) & set +m; sleep 1002 & echo ready; cat; wait"
KILLERS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)


def wait_for(condition: object, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def lock_is_free(path: Path) -> bool:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize("number", KILLERS, ids=lambda number: number.name)
def test_killed_alone_dies_by_that_signal_and_leaves_nothing(engine: str, number: signal.Signals) -> None:
    with working_directory() as cwd, leaves_nothing():
        process = subprocess.Popen(
            noah(engine, "sh", "-c", "exec 9> lock; flock 9; echo ready; exec cat"),
            cwd=cwd,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(number)
            assert process.wait(20) == -number
            assert lock_is_free(cwd / "lock")
        finally:
            process.kill()
            process.communicate()
        assert set(snapshot(cwd)) == {"lock"}


def test_host_process_group_killed_leaves_nothing(engine: str) -> None:
    # What a shell does with a job: the group gets the signal. The background job has a group of its own: it ends as
    # it would natively, when the session's leader is gone and its input ends.
    with working_directory() as cwd, leaves_nothing():
        process = subprocess.Popen(
            noah(engine, "bash", "-c", "sleep 1000 | sleep 1001 & sleep 1002 & echo ready; wait"),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
        finally:
            process.kill()
            process.communicate()


def test_host_process_of_a_shell_killed_leaves_what_linux_leaves(engine: str) -> None:
    # Killing a parent does not kill its children, natively or here; the same number of them goes on.
    counts: list[int] = []
    for command in (["bash", "-c", BUSY], noah(engine, "bash", "-c", BUSY)):
        with working_directory() as cwd:
            before = set(descendants(os.getpid()))
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                # The three sleeps and cat; which shells are still between them depends on timing.
                wait_for(lambda known=before: len(set(descendants(os.getpid())) - known) >= 5, "the children")
                time.sleep(1.5)
                process.kill()
                process.wait(20)
            finally:
                process.kill()
                if process.stdin:
                    process.stdin.close()
                if process.stdout:
                    process.stdout.close()
            counts.append(kill_new(before))
    assert counts[1] == counts[0]


# bash waits for the pipeline; when that died of Ctrl-C it dies of it too, else it exits with 128 + SIGQUIT.
@pytest.mark.parametrize(("key", "status"), [(b"\x03", -2), (b"\x1c", 131)], ids=["Ctrl-C", "Ctrl-backslash"])
def test_key_ends_the_run_and_leaves_nothing(engine: str, key: bytes, status: int) -> None:
    with working_directory() as cwd, leaves_nothing():
        command = noah(engine, "bash", "-c", "ulimit -c 0; exec 9> lock; flock 9; echo ready; sleep 1000 | cat")
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(cwd)
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)
            os.execve(command[0], command, environment())
        try:
            seen = b""
            while b"ready" not in seen:
                seen += os.read(terminal, 1000)
            time.sleep(0.3)
            os.write(terminal, key)
            wait_for(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG), "the end", 20)
            assert lock_is_free(cwd / "lock")
        finally:
            os.close(terminal)
            os.kill(pid, signal.SIGKILL)
            ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert ended == status


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment_leaves_nothing(engine: str) -> None:
    """SIGKILL after ever longer times, from before Noah is up to the middle of the program."""
    with working_directory() as cwd, leaves_nothing():
        for step in range(25):
            process = subprocess.Popen(
                noah(engine, "sh", "-c", "while :; do /bin/true; done"),
                cwd=cwd,
                env=environment(),
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(step * 0.04)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
        assert snapshot(cwd) == {}
