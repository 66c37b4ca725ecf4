"""What the tests of servers share: starting one natively or in Noah, waiting for it, what it takes and what it leaves.

A server runs in a Debian root that has all of them (tests.running.SERVERS), with a working directory that is the same
on the host, in a native run and in the guest. Clients come from the host (natively, in the same root) or from inside
(a second `noah run`): loopback is the host's own. What a scenario returns natively it must return in Noah.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests.running import (
    SERVERS,
    become_subreaper,
    debian_root,
    descendants,
    environment,
    kill_new,
    native_command,
    need_engine,
    noah_command,
    reap,
    working_directory,
)

LOCAL: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 30.0


class Target(NamedTuple):
    """Where programs run; without an engine natively."""

    engine: str = ""
    host: str = "linux"

    def __str__(self) -> str:
        return f"{self.engine}-{self.host}" if self.engine else "native"

    def command(self, work: Path, argv: Sequence[str]) -> list[str]:
        root = debian_root(SERVERS)
        if not self.engine:
            return native_command(root, work, argv)
        options = ["--engine", self.engine, "--host", self.host, "--root", str(root), "-v", f"{work}:{work}"]
        variables = [part for key, value in environment(HOME=str(work)).items() for part in ("-e", f"{key}={value}")]
        return [*noah_command(), "run", *options, *variables, "-w", str(work), "--", *argv]


NATIVE: Final = Target()
KVM: Final = Target("kvm")
TARGETS: Final = (KVM, Target("kvm", "posix"))


def need(target: Target) -> None:
    """Skips where the target or the root cannot be had."""
    if target.engine:
        need_engine(target.engine)
    debian_root(SERVERS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


def as_user(name: str, *argv: str) -> list[str]:
    """A command as another user of the root."""
    return ["setpriv", "--reuid", name, "--regid", name, "--clear-groups", "--", *argv]


def client(target: Target, work: Path, *argv: str, timeout: float = 240, stdin: bytes = b"") -> str:
    """Runs a command to its end, which must be a good one; what it wrote to both outputs.

    Unlike tests.running.run() it lets be what is started meanwhile: the server has children of its own.
    """
    done = subprocess.run(
        target.command(work, argv),
        cwd=work,
        env=environment(HOME=str(work)),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        start_new_session=True,
    )
    text = done.stdout.decode(errors="backslashreplace")
    assert done.returncode == 0, f"{target}: {' '.join(argv)}: status {done.returncode}: {text[-2000:]}"
    return text


def _signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="backslashreplace")

    def processes(self) -> list[int]:
        """Its host processes."""
        return [self._process.pid, *descendants(self._process.pid)]

    def memory(self) -> int:
        """Bytes of memory that its host processes take, what they share counted once.

        Without pages of files that they have mapped: these are the host's cache.
        """
        total = 0
        for pid in self.processes():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue  # it has just ended
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """What Ctrl-C sends, to every process of the session."""
        os.killpg(self._process.pid, signal.SIGINT)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end; its exit status."""
        self.send(number)
        return self.wait()

    def wait(self, seconds: float = _END_SECONDS) -> int:
        return self._process.wait(seconds)

    def kill_all(self) -> None:
        """SIGKILL for all host processes, as when the machine runs out of memory; first they stop making more."""
        found: set[int] = set()
        while new := set(self.processes()) - found:
            found |= new
            _signal_all(new, signal.SIGSTOP)
        _signal_all(found, signal.SIGKILL)
        self._process.wait(_END_SECONDS)

    def await_port(self, port: int) -> None:
        """Waits until somebody listens."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, f"the server has ended: {self.log[-3000:]}"
            try:
                socket.create_connection((LOCAL, port), 5).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"nobody listens: {self.log[-3000:]}"
                time.sleep(0.05)


@contextmanager
def serving(target: Target, work: Path, argv: Sequence[str], port: int | None) -> Iterator[Server]:
    """Starts a server and waits for its port, if it has one. It must be gone at the end, with all that it made."""
    become_subreaper()
    before = set(descendants(os.getpid()))
    log = work / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            target.command(work, argv),
            cwd=work,
            env=environment(HOME=str(work)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(process, log)
    try:
        if port is not None:
            server.await_port(port)
        yield server
        assert process.poll() is not None, "the test has not ended the server"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        left = kill_new(before, grace=5)
        reap()
    assert left == 0, f"{left} processes outlive the server"


def shared_objects() -> set[str]:
    """What the host has of shared memory, semaphores and message queues, by name."""
    found = {f"/dev/shm/{name}" for name in os.listdir("/dev/shm")}
    for kind in ("shm", "sem", "msg"):
        found |= {f"{kind} {line.split()[1]}" for line in Path("/proc/sysvipc", kind).read_text().splitlines()[1:]}
    return found


def _in_use(name: str) -> bool:
    """Whether a living process has a file open or mapped."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [*(process / "fd").iterdir(), *(process / "map_files").iterdir()]
            if any(os.readlink(link) == name for link in links):
                return True
        except OSError:
            continue  # it has just ended
    return False


def nothing_is_left(before: set[str]) -> bool:
    """Whether there are no more shared objects than before, but for what other programs that run meanwhile use."""
    deadline = time.monotonic() + 5
    while (left := shared_objects() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(name for name in left if not _in_use(name))


def is_free(port: int) -> bool:
    """Whether nobody listens."""
    try:
        socket.create_connection((LOCAL, port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def await_true(condition: Callable[[], bool]) -> None:
    """Waits until something is so that is to come about by itself."""
    deadline = time.monotonic() + _END_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_parallel(count: int, work: Callable[[int], None]) -> None:
    """Calls work(0) ... work(count - 1) on as many threads; the first exception is raised here."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def everyone_s_directory() -> Iterator[Path]:
    """A working directory that the servers' users may use, too."""
    with working_directory() as work:
        work.chmod(0o777)
        yield work


def skip_unless_root() -> None:
    if os.getuid():
        pytest.skip("servers start as root and become other users")
