"""Signals that stay blocked and are picked up, and the poller that waits for them. Each test runs in a child."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from noah.abi import poll as p
from noah.abi import signal as sig
from noah.abi.errno import EINVAL, EPIPE
from noah.host.values import Siginfo

from .conftest import closing
from .test_files import fails
from .test_procs import spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.host.api import Host

    InChild = Callable[[Callable[[], None]], int]

MS = 1_000_000


def kill_later(host: Host, number: int, seconds: float = 0.05) -> int:
    """A child that sends number to this process after a while, then exits; gives its pid."""
    parent = os.getpid()

    def body() -> None:
        time.sleep(seconds)
        os.kill(parent, number)

    return spawn(host, body)


def test_collect_takes_what_is_blocked(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        assert host.signals.collect() == []
        assert host.signals.pending() == 0
        for number in (sig.SIGTERM, sig.SIGINT, sig.SIGTSTP, sig.SIGUSR1, sig.SIGCONT, sig.SIGSEGV, 64):
            os.kill(os.getpid(), number)
        wanted = {sig.SIGTERM, sig.SIGINT, sig.SIGUSR1, sig.SIGCONT, sig.SIGSEGV, 64}  # SIGCONT takes back SIGTSTP
        assert host.signals.pending() == sum(1 << number - 1 for number in wanted)
        found = host.signals.collect()
        assert {info.signo for info in found} == wanted
        assert len(found) == len(wanted)
        for info in found:
            assert (info.code, info.pid, info.uid) == (sig.SI_USER, os.getpid(), os.getuid())
        assert host.signals.pending() == 0
        assert host.signals.collect() == []

    assert in_child(body) == 0


def test_child_exit_tells_who_and_how(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        pid = spawn(host, lambda: os._exit(3))
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        (info,) = host.signals.collect()
        assert (info.signo, info.code, info.pid, info.status) == (sig.SIGCHLD, sig.CLD_EXITED, pid, 3)
        host.procs.wait4(pid, 0)

    assert in_child(body) == 0


def test_real_time_signals_queue_with_values(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        for value in (7, 8, (1 << 64) - 1):
            host.procs.sigqueue(os.getpid(), 40, value)
        found = host.signals.collect()
        if host.caps.sigqueue:
            assert [info.value for info in found] == [7, 8, (1 << 64) - 1]
            assert found[0] == Siginfo(40, 0, sig.SI_QUEUE, os.getpid(), os.getuid(), value=7)
        else:
            assert [info.signo for info in found] == [40, 40, 40]

    assert in_child(body) == 0


def test_signals_that_the_c_library_hides_are_blocked(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        os.kill(os.getpid(), 33)
        assert [info.signo for info in host.signals.collect()] == [33]

    if host.name == "linux":
        assert in_child(body) == 0


def test_broken_pipe_is_an_error_only(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        r, w = host.files.pipe()
        host.files.close(r)
        fails(EPIPE, host.files.write, w, b"x")
        assert host.signals.collect() == []
        if host.name == "linux":
            pid = kill_later(host, sig.SIGPIPE, 0)
            host.procs.wait4(pid, 0)
            assert [info.signo for info in host.signals.collect()] == [sig.SIGPIPE, sig.SIGCHLD]

    assert in_child(body) == 0


def test_inherited_state_is_reported(host: Host, in_child: InChild) -> None:
    def body() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        host.signals.block_all()
        assert host.signals.inherited_ignored == 1 << sig.SIGHUP - 1
        assert host.signals.inherited_blocked == 1 << sig.SIGUSR1 - 1

    assert in_child(body) == 0


def test_synchronous_signals_can_be_left_alone(host: Host, in_child: InChild) -> None:
    def body() -> None:
        faulthandler.disable()
        host.signals.block_all(synchronous=False)
        os.kill(os.getpid(), signal.SIGFPE)

    assert in_child(body) == sig.SIGFPE


def test_poll_is_ended_by_a_signal(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        r, w = host.files.pipe()
        for before in (0, 0.1):  # pending before the poll, and coming during it
            pid = kill_later(host, sig.SIGUSR1, before)
            if not before:
                host.procs.wait4(pid, 0)
            assert host.poller.poll([(r, p.POLLIN)], 10_000 * MS) == ([], True)
            assert sig.SIGUSR1 in [info.signo for info in host.signals.collect()]
            if before:
                host.procs.wait4(pid, 0)
                host.signals.collect()
        # Nothing is left: the next one waits for its whole time.
        start = time.monotonic_ns()
        assert host.poller.poll([(r, p.POLLIN)], 30 * MS) == ([], False)
        assert time.monotonic_ns() - start >= 30 * MS
        host.files.close(w)

    assert in_child(body) == 0


def test_pending_does_not_take_a_signal_away_from_poll(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        kill_later(host, sig.SIGUSR2, 0.05)
        assert host.poller.poll([], 10_000 * MS) == ([], True)
        for _ in range(2):
            assert host.signals.pending() & 1 << sig.SIGUSR2 - 1
            assert host.poller.poll([], 10_000 * MS) == ([], True)
        assert sig.SIGUSR2 in [info.signo for info in host.signals.collect()]
        host.procs.wait4(-1, 0)

    assert in_child(body) == 0


def test_what_is_pending_when_a_poll_begins_keeps_its_sender(host: Host, in_child: InChild) -> None:
    """By the sender Noah knows its own kicks of a thread: without it they would end the guest."""

    def body() -> None:
        host.signals.block_all()
        signal.pthread_kill(threading.get_ident(), 63)
        assert host.poller.poll([], 1000 * MS) == ([], True)
        (info,) = host.signals.collect()
        assert (info.signo, info.pid) == (63, os.getpid())
        assert host.poller.poll([], 1 * MS) == ([], False)

    assert in_child(body) == 0


def test_poll_without_signals_is_not_ended_by_one(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        os.kill(os.getpid(), signal.SIGUSR1)
        start = time.monotonic_ns()
        assert host.poller.poll([], 20 * MS, signals=False) == ([], False)
        assert time.monotonic_ns() - start >= 20 * MS
        assert host.poller.poll([], 0) == ([], True)

    assert in_child(body) == 0


def test_a_childs_signals_do_not_wake_its_parent(host: Host, in_child: InChild) -> None:
    """The wake-up descriptor must not be shared over a fork, in either direction."""

    def body() -> None:
        host.signals.block_all()
        ready_r, ready_w = host.files.pipe()

        def child() -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            ended = host.poller.poll([], 5_000 * MS) == ([], True)
            host.files.write(ready_w, b"y" if ended else b"n")
            time.sleep(30)

        pid = spawn(host, child)
        assert host.poller.poll([(ready_r, p.POLLIN)], 10_000 * MS) == ([(ready_r, p.POLLIN)], False)
        assert host.files.read(ready_r, 1) == b"y"
        assert host.poller.poll([], 20 * MS) == ([], False)
        host.procs.kill(pid, sig.SIGKILL)
        host.procs.wait4(pid, 0)
        assert host.poller.poll([], 0) == ([], True)
        assert [info.signo for info in host.signals.collect()] == [sig.SIGCHLD]

        os.kill(os.getpid(), signal.SIGUSR1)
        pid = spawn(host, lambda: os._exit(host.poller.poll([], 20 * MS)[1]))
        assert host.procs.wait4(pid, 0)[1] == 0

    assert in_child(body) == 0


def test_every_thread_that_polls_is_woken(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        woken: list[bool] = []
        threads = [
            threading.Thread(target=lambda: woken.append(host.poller.poll([], 10_000 * MS)[1])) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)
        for thread in threads:
            thread.join(5)
        assert woken == [True, True, True]
        assert [info.signo for info in host.signals.collect()] == [sig.SIGUSR1]

    assert in_child(body) == 0


def test_timer(host: Host, in_child: InChild) -> None:
    def body() -> None:
        host.signals.block_all()
        start = time.monotonic_ns()
        host.clock.ring_in(30 * MS)
        assert host.poller.poll([], 10_000 * MS) == ([], True)
        assert time.monotonic_ns() - start >= 30 * MS
        (info,) = host.signals.collect()
        assert host.clock.is_ring(info) in (True, None)
        host.clock.ring_in(20 * MS)
        host.clock.ring_in(0)
        assert host.poller.poll([], 40 * MS) == ([], False)
        os.kill(os.getpid(), sig.SIGALRM)
        assert not host.clock.is_ring(host.signals.collect()[0]) or host.name == "posix"

    assert in_child(body) == 0


@pytest.mark.parametrize("timeout_ns", [0, 1, 1500, 300_000, 2_345_678])
def test_poll_is_never_early(host: Host, timeout_ns: int) -> None:
    for _ in range(3):
        start = time.monotonic_ns()
        assert host.poller.poll([], timeout_ns, signals=False) == ([], False)
        taken = time.monotonic_ns() - start
        assert timeout_ns <= taken < timeout_ns + 500 * MS


def test_poll_events(host: Host) -> None:
    files, poller = host.files, host.poller
    r, w = files.pipe()
    with closing(host, r, w):
        both = [(r, p.POLLIN), (w, p.POLLOUT)]
        assert poller.poll(both, None, signals=False) == ([(w, p.POLLOUT)], False)
        files.write(w, b"x")
        wide = [(r, p.POLLIN | p.POLLRDNORM), (w, p.POLLOUT | p.POLLWRNORM), (-1, p.POLLIN)]
        assert poller.poll(wide, 0, signals=False) == (
            [(r, p.POLLIN | p.POLLRDNORM), (w, p.POLLOUT | p.POLLWRNORM)],
            False,
        )
        # One descriptor twice: each gets its own events.
        twice = [(r, p.POLLIN), (r, p.POLLRDNORM), (r, p.POLLPRI)]
        assert poller.poll(twice, 0, signals=False)[0] == [(r, p.POLLIN), (r, p.POLLRDNORM)]
        files.close(w)
        files.read(r, 1)
        assert poller.poll([(r, p.POLLIN)], 0, signals=False) == ([(r, p.POLLHUP)], False)
        assert poller.poll([(w, p.POLLIN), (r, 0)], None, signals=False)[0] == [(w, p.POLLNVAL), (r, p.POLLHUP)]


def test_poll_sees_a_peer_that_shut_down(host: Host) -> None:
    a, b = host.sockets.socketpair(1, 1)
    with closing(host, a, b):
        host.sockets.shutdown(b, 1)
        found, _ = host.poller.poll([(a, p.POLLIN | p.POLLRDHUP)], 0, signals=False)
        assert found == [(a, p.POLLIN | p.POLLRDHUP)]


def test_poll_of_too_many_is_a_linux_error(host: Host, in_child: InChild) -> None:
    def body() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        fails(EINVAL, host.poller.poll, [(fd, p.POLLIN) for fd in range(1000)], 0, False)

    assert in_child(body) == 0
