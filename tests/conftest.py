"""Fixtures that all tests share, and the check that a test leaves no process and no descriptor behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES: Final = ("kvm", "emulator")

# Engines keep the device open for the life of the process.
KEPT_OPEN: Final = {"/dev/kvm"}


# Python itself ignores SIGPIPE and SIGXFSZ, and gives them back to the programs that it starts.
OWN_IGNORED: Final = {signal.SIGPIPE, signal.SIGXFSZ}


def pytest_configure() -> None:
    """Signals as a shell in the foreground leaves them: what started the tests may have ignored or blocked some."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - OWN_IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if sys.platform == "linux":
        from noah.host.linux.signals import OF_C_LIBRARY, stop_ignoring

        stop_ignoring(OF_C_LIBRARY)


def kvm_trouble() -> str | None:
    """Why /dev/kvm cannot be used here; None when it can."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return None


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine's name in turn, for tests that must hold on all of them."""
    name = cast("str", request.param)
    if name == "kvm" and (trouble := kvm_trouble()):
        pytest.skip(trouble)
    return name


@pytest.fixture(scope="session")
def noah() -> str:
    """The command under test: $NOAH, else the one installed beside this Python."""
    return os.environ.get("NOAH") or str(Path(sys.executable).with_name("noah"))


def open_descriptors() -> dict[int, str]:
    """This process' descriptors and what each refers to; empty where the host has no /proc."""
    found = {}
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            found[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:  # the descriptor that glob() itself used
            continue
    return found


def has_child() -> bool:
    """Tells whether this process has a child, running or a zombie, without reaping it."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children() -> list[str]:
    """What `ps` would say of this process' children."""
    listed = subprocess.run(["ps", "-o", "pid,stat,args", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines()[1:] if " ps -o" not in line]


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves more children or descriptors than it found."""
    before, had_child = open_descriptors(), has_child()
    yield
    after = open_descriptors()
    if after.keys() - before.keys():
        gc.collect()
        after = open_descriptors()
    leaked = {fd: what for fd, what in after.items() if fd not in before and what not in KEPT_OPEN}
    assert not leaked, f"descriptors left open: {leaked}"
    assert had_child or not has_child(), f"a child process was left behind: {children()}"
