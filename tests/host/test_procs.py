"""Processes, limits, the machine."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest

from noah.abi import resource as res
from noah.abi import signal as sig
from noah.abi import wait
from noah.abi.capability import CAP_FULL_SET
from noah.abi.errno import EACCES, ECHILD, EINVAL, ENOSYS, EPERM, ESRCH, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY
from noah.host.values import WaitInfo

from .test_files import fails

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from noah.host.api import Host


def spawn(host: Host, body: Callable[[], object]) -> int:
    """A child that runs body, then exits with status 0."""
    pid = host.procs.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid


def sleeper(host: Host) -> int:
    return spawn(host, lambda: time.sleep(60))


def test_wait4_tells_exit_status_and_usage(host: Host) -> None:
    procs = host.procs
    pid = spawn(host, lambda: procs._exit(42))
    found, status, usage = procs.wait4(pid, 0)
    assert (found, status) == (pid, 42 << 8)
    assert usage.maxrss > 1000
    assert usage.minflt > 0
    fails(ECHILD, procs.wait4, pid, 0)


def test_wait4_sees_stop_continue_and_kill(host: Host) -> None:
    procs = host.procs
    pid = sleeper(host)
    assert procs.wait4(-1, wait.WNOHANG)[:2] == (0, 0)
    procs.kill(pid, sig.SIGSTOP)
    assert procs.wait4(pid, wait.WUNTRACED)[:2] == (pid, sig.SIGSTOP << 8 | 0x7F)
    procs.kill(pid, sig.SIGCONT)
    assert procs.wait4(pid, wait.WCONTINUED)[:2] == (pid, 0xFFFF)
    procs.kill(pid, sig.SIGUSR2)
    assert procs.wait4(pid, 0)[:2] == (pid, sig.SIGUSR2)
    fails(EINVAL, procs.wait4, -1, 0x100)


def test_waitid(host: Host) -> None:
    procs = host.procs
    pid = spawn(host, lambda: procs._exit(7))
    exited = WaitInfo(pid, os.getuid(), sig.CLD_EXITED, 7)
    if host.caps.waitid:
        for _ in range(2):
            assert procs.waitid(wait.P_PID, pid, wait.WEXITED | wait.WNOWAIT)[0] == exited
    info, usage = procs.waitid(wait.P_PID, pid, wait.WEXITED)
    assert info == exited
    assert usage.minflt > 0
    fails(ECHILD, procs.waitid, wait.P_ALL, 0, wait.WEXITED)

    pid = sleeper(host)
    assert procs.waitid(wait.P_ALL, 0, wait.WEXITED | wait.WNOHANG)[0] == WaitInfo()
    procs.kill(pid, sig.SIGSTOP)
    if host.caps.waitid:
        stopped = WaitInfo(pid, os.getuid(), sig.CLD_STOPPED, sig.SIGSTOP)
        assert procs.waitid(wait.P_PID, pid, wait.WSTOPPED)[0] == stopped
    procs.kill(pid, sig.SIGKILL)
    killed = WaitInfo(pid, os.getuid(), sig.CLD_KILLED, sig.SIGKILL)
    assert procs.waitid(wait.P_PID, pid, wait.WEXITED)[0] == killed


def test_pidfd(host: Host) -> None:
    if not host.caps.pidfd:
        fails(ENOSYS, host.procs.pidfd_open, os.getpid())
        return
    pid = sleeper(host)
    fd = host.procs.pidfd_open(pid)
    host.procs.kill(pid, sig.SIGKILL)
    assert host.procs.waitid(wait.P_PIDFD, fd, wait.WEXITED)[0].pid == pid
    host.files.close(fd)


def test_ids_are_those_of_os(host: Host) -> None:
    procs = host.procs
    assert procs.getpid() == os.getpid()
    assert procs.getppid() == os.getppid()
    assert procs.getpgid(0) == os.getpgid(0)
    assert procs.getsid(0) == os.getsid(0)
    assert procs.getresuid() == (os.getuid(), os.geteuid(), os.geteuid())
    assert procs.getresgid() == (os.getgid(), os.getegid(), os.getegid())
    assert sorted(procs.getgroups()) == sorted(os.getgroups())
    assert procs.getcwd() == os.getcwdb()
    assert procs.environ() == dict(os.environb)
    fails(ESRCH, procs.kill, 4194304 + 5, 0)
    fails(EINVAL, procs.kill, os.getpid(), 65)
    procs.kill(os.getpid(), 0)


def test_groups_and_sessions(host: Host, in_child: Callable[[Callable[[], None]], int]) -> None:
    procs = host.procs

    def child() -> None:
        procs.setpgid(0, 0)
        assert procs.getpgid(0) == os.getpid()
        fails(EPERM, procs.setsid)
        member = sleeper(host)
        procs.setpgid(member, member)
        procs.killpg(member, sig.SIGTERM)
        assert procs.wait4(-member, 0)[:2] == (member, sig.SIGTERM)

    def leader() -> None:
        assert procs.setsid() == os.getpid() == procs.getsid(0) == procs.getpgid(0)

    assert in_child(child) == 0
    assert in_child(leader) == 0


def test_priority(host: Host, in_child: Callable[[Callable[[], None]], int]) -> None:
    procs = host.procs

    def child() -> None:
        before = procs.getpriority(res.PRIO_PROCESS, 0)
        procs.setpriority(res.PRIO_PROCESS, 0, before + 3)
        assert procs.getpriority(res.PRIO_PROCESS, 0) == os.getpriority(os.PRIO_PROCESS, 0) == before + 3
        fails(EINVAL, procs.getpriority, 9, 0)

    assert in_child(child) == 0


def test_limits(host: Host, in_child: Callable[[Callable[[], None]], int]) -> None:
    procs = host.procs

    def child() -> None:
        assert procs.getrlimit(res.RLIMIT_CPU) == (res.RLIM_INFINITY, res.RLIM_INFINITY)
        soft, hard = procs.getrlimit(res.RLIMIT_NOFILE)
        assert (soft, hard) == resource.getrlimit(resource.RLIMIT_NOFILE)
        procs.setrlimit(res.RLIMIT_NOFILE, (100, hard))
        assert procs.prlimit(0, res.RLIMIT_NOFILE, (90, 200)) == (100, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (90, 200)
        fails(EINVAL, procs.setrlimit, res.RLIMIT_NOFILE, (300, 200))
        fails(EINVAL, procs.getrlimit, 99)
        if os.geteuid() == 0:
            os.setresuid(12345, 12345, 12345)
        fails(EPERM, procs.setrlimit, res.RLIMIT_NOFILE, (90, 300))

    assert in_child(child) == 0


def test_usage_and_times(host: Host) -> None:
    procs = host.procs
    usage = procs.getrusage(res.RUSAGE_SELF)
    expected = resource.getrusage(resource.RUSAGE_SELF)
    assert usage.maxrss == expected.ru_maxrss
    assert abs(usage.utime_us - expected.ru_utime * 1e6) < 1e6
    procs.getrusage(res.RUSAGE_CHILDREN)
    fails(EINVAL, procs.getrusage, 5)
    times, os_times = procs.times(), os.times()
    assert abs(times[0] - os_times.user * 100) < 100
    assert abs(times[3] - os_times.children_system * 100) < 100


def test_the_machine(host: Host) -> None:
    procs = host.procs
    assert procs.uname() == tuple(os.fsencode(field) for field in os.uname())
    info = procs.sysinfo()
    assert info.totalram * info.mem_unit == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < info.freeram <= info.totalram
    assert abs(info.uptime - time.monotonic()) < 5 or sys.platform != "linux"
    assert abs(info.loads[0] / 65536 - os.getloadavg()[0]) < 1
    assert procs.nproc() == os.cpu_count()
    cpus = procs.sched_getaffinity(0)
    assert cpus
    assert cpus == sorted(cpus)
    procs.sched_yield()
    assert procs.gettid() > 0


def test_prctl(host: Host, in_child: Callable[[Callable[[], None]], int]) -> None:
    procs = host.procs

    def child() -> None:
        procs.set_name(b"noah-test")
        if host.name == "posix":
            fails(EINVAL, procs.set_pdeathsig, sig.SIGTERM)
            fails(EINVAL, procs.set_child_subreaper, True)
            return
        with open("/proc/self/comm", "rb") as comm:
            assert comm.read() == b"noah-test\n"
        procs.set_pdeathsig(sig.SIGKILL)
        procs.set_child_subreaper(True)

    assert in_child(child) == 0


@pytest.mark.parametrize("number", [sig.SIGTERM, sig.SIGKILL, sig.SIGSEGV, sig.SIGPIPE, sig.SIGINT, 40])
def test_exit_by_signal_is_seen_as_such(host: Host, number: int) -> None:
    pid = host.procs.fork()
    if pid == 0:
        host.signals.block_all()
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        host.procs.exit_by_signal(number)
    assert host.procs.wait4(pid, 0)[:2] == (pid, number)


def test_exit_by_signal_that_does_nothing_by_default_exits(host: Host) -> None:
    pid = host.procs.fork()
    if pid == 0:
        host.signals.block_all()
        host.procs.exit_by_signal(sig.SIGCHLD)
    assert host.procs.wait4(pid, 0)[:2] == (pid, (128 + sig.SIGCHLD) << 8)


@pytest.mark.parametrize("number", [sig.SIGSTOP, sig.SIGTSTP, sig.SIGTTIN, sig.SIGTTOU])
def test_stop_by_signal_stops_and_goes_on(host: Host, number: int) -> None:
    def child() -> None:
        os.setpgid(0, 0)
        host.signals.block_all()
        host.procs.stop_by_signal(number)
        # Blocked again, and the SIGCONT is there to be collected.
        os.kill(os.getpid(), signal.SIGTERM)
        if [info.signo for info in host.signals.collect()] != [sig.SIGTERM, sig.SIGCONT]:
            os._exit(1)
        os._exit(5)

    pid = spawn(host, child)
    assert host.procs.wait4(pid, wait.WUNTRACED)[:2] == (pid, number << 8 | 0x7F)
    host.procs.kill(pid, sig.SIGCONT)
    assert host.procs.wait4(pid, 0)[:2] == (pid, 5 << 8)


def test_exit_by_signal_from_a_thread(host: Host) -> None:
    import threading

    def child() -> None:
        host.signals.block_all()
        thread = threading.Thread(target=host.procs.exit_by_signal, args=(sig.SIGUSR1,))
        thread.start()
        thread.join(20)

    pid = spawn(host, child)
    assert host.procs.wait4(pid, 0)[:2] == (pid, sig.SIGUSR1)


def test_fork_failure_is_a_linux_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(LinuxError):
        host.procs.fork()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become others")
def test_files_are_checked_against_the_guests_user(host: Host, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0o600)
    tmp_path.chmod(0o711)
    for above in tmp_path.parents[:2]:
        above.chmod(0o711)
    files, procs = host.files, host.procs
    child = os.fork()
    if child == 0:
        try:
            procs.set_identity(65534, 65533, (7, 8), 0)
            procs.kill(os.getppid(), 0)  # the processes of a box signal each other all the same
            way = files.openat(AT_FDCWD, bytes(tmp_path), O_PATH | O_DIRECTORY)  # may be searched, but not read
            for call in (lambda: files.openat(way, b"secret", O_RDONLY), lambda: files.mkdirat(way, b"d", 0o777)):
                try:
                    call()
                    os._exit(2)
                except LinuxError as error:
                    if error.errno != EACCES:
                        os._exit(3)
            procs.set_identity(0, 0, (), CAP_FULL_SET)
            files.close(files.openat(way, b"secret", O_RDONLY))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


BUSY: Final = """
import os, sys, time
from _thread import start_new_thread
from noah.host.select import make_host

def compute():
    while True:
        pass

procs = make_host("linux").procs
sys.setswitchinterval(20e-6)
for _ in range(3):
    start_new_thread(compute, ())
for _ in range(30):
    child = procs.clone(0, 0)
    if not child:
        os._exit(7)
    end = time.monotonic() + 20
    while not (found := procs.wait4(child, OPTIONS))[0]:
        if time.monotonic() > end:
            os.kill(child, 9)
            os._exit(1)
    assert found[1] == 7 << 8
os._exit(0)
"""


def test_children_of_clone_beside_threads() -> None:
    """A child does not wait for a thread of its parent that was about to run."""
    script = BUSY.replace("OPTIONS", str(wait.WNOHANG | wait.WCLONE))
    done = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
