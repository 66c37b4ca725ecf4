"""Processes, limits and the machine, on any POSIX host."""

from __future__ import annotations

import os
import resource as host_resource
import signal
import sys
import time
from _thread import get_native_id  # not threading: see noah.kernel.threads
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from noah.abi import resource as linux_resource
from noah.abi import sched, wait
from noah.abi import signal as linux_signal_numbers
from noah.abi.errno import EINVAL, ENOSYS, EPERM, ESRCH, LinuxError
from noah.host.errnos import from_host
from noah.host.late import can_import, import_all
from noah.host.posix.libc import LIBC, SIG_DFL
from noah.host.signums import TO_HOST, host_signal, linux_signal, linux_status
from noah.host.tables import Flags, Numbers, named
from noah.host.values import Rusage, Scheduling, Sysinfo, Utsname, WaitInfo

if TYPE_CHECKING:
    from noah.host.api import Signals

RESOURCES: Final = Numbers(named(linux_resource, "RLIMIT_"), named(host_resource, "RLIMIT_"))
_WHO: Final = Numbers(named(linux_resource, "RUSAGE_"), named(host_resource, "RUSAGE_"))
_WAIT: Final = Flags(
    {"WNOHANG": wait.WNOHANG, "WUNTRACED": wait.WUNTRACED, "WCONTINUED": wait.WCONTINUED}, named(os, "W")
)
_WAITID: Final = Flags(
    {name: getattr(wait, name) for name in ("WNOHANG", "WEXITED", "WSTOPPED", "WCONTINUED", "WNOWAIT")}, named(os, "W")
)
_PRIORITY: Final = Numbers(
    named(linux_resource, "PRIO_P") | {"PRIO_USER": linux_resource.PRIO_USER}, named(os, "PRIO_")
)
_TIME_SLICE_NS: Final = 4_000_000  # of what is not real-time
_INFINITY: Final = linux_resource.RLIM_INFINITY
_MAXRSS_UNIT: Final = 1 if os.uname().sysname == "Linux" else 1024  # macOS counts bytes


_LINUX_WAIT: Final = wait.WCLONE | wait.WALL | wait.WNOTHREAD
"""Wait options that make no difference here: all children are alike, and so are threads."""


class PosixProcs:
    """See noah.host.api.Procs."""

    __slots__ = ("_identity", "_ioprios", "_policies", "_signals")

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._policies: dict[int, int] = {}  # that the guest believes in, with SCHED_RESET_ON_FORK
        self._ioprios: dict[int, int] = {}
        self._identity: tuple[int, int, tuple[int, ...]] | None = None

    def getpid(self) -> int:
        return os.getpid()

    def getppid(self) -> int:
        return os.getppid()

    def gettid(self) -> int:
        return get_native_id()

    def fork(self) -> int:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            raise from_host(error) from None
        if pid == 0:
            self._signals.after_fork()
            policy, ioprio = self._policies.pop(parent, sched.SCHED_OTHER), self._ioprios.pop(parent, 0)
            self._policies = {} if policy & sched.SCHED_RESET_ON_FORK else {os.getpid(): policy}
            self._ioprios = {os.getpid(): ioprio}
        return pid

    def clone(self, flags: int, exit_signal: int) -> int:
        if flags or exit_signal != linux_signal_numbers.SIGCHLD:
            raise LinuxError(EINVAL, "no clone on this host")
        return self.fork()

    def wait4(self, pid: int, options: int) -> tuple[int, int, Rusage]:
        options &= ~_LINUX_WAIT
        if options & ~_WAIT.known:
            raise LinuxError(EINVAL, "wait4 options of Linux alone")
        try:
            found, status, usage = os.wait4(pid, _WAIT.to_host(options))
        except OSError as error:
            raise from_host(error) from None
        return found, linux_status(status) if found else 0, rusage(usage)

    def waitid(self, idtype: int, id: int, options: int) -> tuple[WaitInfo, Rusage]:
        """By way of wait4(), which tells the usage, if it may take a child that exited, and reap it."""
        if idtype not in (wait.P_ALL, wait.P_PID, wait.P_PGID):
            raise LinuxError(EINVAL, "no pidfds on this host")
        options &= ~_LINUX_WAIT
        if not options & wait.WEXITED or options & wait.WNOWAIT:
            return self._waitid(idtype, id, options), Rusage()
        pid = -1 if idtype == wait.P_ALL else id if idtype == wait.P_PID else -id
        pid, status, usage = self.wait4(pid, options & ~wait.WEXITED)
        return (wait_info(pid, status) if pid else WaitInfo()), usage

    def _waitid(self, idtype: int, id: int, options: int) -> WaitInfo:
        if sys.platform == "darwin" and sys.version_info < (3, 13):
            raise LinuxError(EINVAL, "Python has no waitid here")
        if options & ~_WAITID.known:
            raise LinuxError(EINVAL)
        try:
            info = os.waitid((os.P_ALL, os.P_PID, os.P_PGID)[idtype], id, _WAITID.to_host(options))
        except OSError as error:
            raise from_host(error) from None
        if info is None:
            return WaitInfo()
        # The CLD_* codes have the same numbers everywhere.
        status = info.si_status if info.si_code == linux_signal_numbers.CLD_EXITED else linux_signal(info.si_status)
        return WaitInfo(info.si_pid, info.si_uid, info.si_code, status)

    def kill(self, pid: int, sig: int) -> None:
        number = host_signal(sig)
        try:
            os.kill(pid, number)
        except OSError as error:
            raise from_host(error) from None

    def killpg(self, pgid: int, sig: int) -> None:
        number = host_signal(sig)
        try:
            os.killpg(pgid, number)
        except OSError as error:
            raise from_host(error) from None

    def sigqueue(self, pid: int, sig: int, value: int, code: int = -1) -> None:
        self.kill(pid, sig)

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        raise LinuxError(ENOSYS, "no pidfd on this host")

    def pidfd_getfd(self, pid: int, fd: int) -> int:
        raise LinuxError(ENOSYS, "no pidfd on this host")

    def kcmp(self, pid1: int, pid2: int, type: int, idx1: int, idx2: int) -> int:
        raise LinuxError(ENOSYS, "no kcmp on this host")

    def setpgid(self, pid: int, pgid: int) -> None:
        try:
            os.setpgid(pid, pgid)
        except OSError as error:
            raise from_host(error) from None

    def getpgid(self, pid: int) -> int:
        try:
            return os.getpgid(pid)
        except OSError as error:
            raise from_host(error) from None

    def setsid(self) -> int:
        try:
            os.setsid()
        except OSError as error:
            raise from_host(error) from None
        return os.getpid()

    def getsid(self, pid: int) -> int:
        try:
            return os.getsid(pid)
        except OSError as error:
            raise from_host(error) from None

    def getpriority(self, which: int, who: int) -> int:
        try:
            return os.getpriority(_PRIORITY.to_host(which), who)
        except OSError as error:
            raise from_host(error) from None

    def setpriority(self, which: int, who: int, prio: int) -> None:
        try:
            os.setpriority(_PRIORITY.to_host(which), who, prio)
        except OSError as error:
            raise from_host(error) from None

    def getrusage(self, who: int) -> Rusage:
        return rusage(host_resource.getrusage(_WHO.to_host(who)))

    def times(self) -> tuple[int, int, int, int]:
        t = os.times()
        return round(t[0] * 100), round(t[1] * 100), round(t[2] * 100), round(t[3] * 100)

    def getrlimit(self, resource: int) -> tuple[int, int]:
        soft, hard = host_resource.getrlimit(RESOURCES.to_host(resource))
        return _limit_to_linux(soft), _limit_to_linux(hard)

    def setrlimit(self, resource: int, limits: tuple[int, int]) -> None:
        number = RESOURCES.to_host(resource)
        try:
            host_resource.setrlimit(number, (_limit_to_host(limits[0]), _limit_to_host(limits[1])))
        except ValueError as error:  # what Python makes of EINVAL and of the EPERM of raising the hard limit
            raise LinuxError(EINVAL if limits[0] > limits[1] else EPERM, str(error)) from None
        except OSError as error:
            raise from_host(error) from None

    def prlimit(self, pid: int, resource: int, limits: tuple[int, int] | None) -> tuple[int, int]:
        if pid not in (0, os.getpid()):
            raise LinuxError(ESRCH, "no prlimit on this host")
        old = self.getrlimit(resource)
        if limits is not None:
            self.setrlimit(resource, limits)
        return old

    def getresuid(self) -> tuple[int, int, int]:
        """The saved id is what POSIX does not tell: taken for the effective one."""
        return os.getuid(), os.geteuid(), os.geteuid()

    def getresgid(self) -> tuple[int, int, int]:
        return os.getgid(), os.getegid(), os.getegid()

    def getgroups(self) -> list[int]:
        return os.getgroups()

    def sched_getaffinity(self, pid: int) -> list[int]:
        return list(range(self.nproc()))

    def sched_setaffinity(self, pid: int, cpus: Sequence[int]) -> None:
        if not set(cpus) >= set(self.sched_getaffinity(pid)):
            raise LinuxError(EINVAL, "no CPU affinity on this host")

    def sched_yield(self) -> None:
        os.sched_yield()

    def sched_getattr(self, pid: int) -> Scheduling:
        policy = self._policies.get(pid or os.getpid(), sched.SCHED_OTHER)
        flags = sched.SCHED_FLAG_RESET_ON_FORK if policy & sched.SCHED_RESET_ON_FORK else 0
        return Scheduling(
            policy & ~sched.SCHED_RESET_ON_FORK, flags, self.getpriority(linux_resource.PRIO_PROCESS, pid)
        )

    def sched_setattr(self, pid: int, attributes: Scheduling) -> None:
        if attributes.policy not in (sched.SCHED_OTHER, sched.SCHED_BATCH, sched.SCHED_IDLE):
            raise LinuxError(EPERM, "no real-time scheduling on this host")
        if pid not in (0, os.getpid()) and attributes.policy != sched.SCHED_OTHER:
            raise LinuxError(EPERM, "no scheduling of other processes on this host")
        if attributes.nice != self.getpriority(linux_resource.PRIO_PROCESS, pid):
            self.setpriority(linux_resource.PRIO_PROCESS, pid, attributes.nice)
        reset = sched.SCHED_RESET_ON_FORK if attributes.flags & sched.SCHED_FLAG_RESET_ON_FORK else 0
        if pid in (0, os.getpid()):
            self._policies[os.getpid()] = attributes.policy | reset

    def sched_rr_get_interval(self, pid: int) -> int:
        return _TIME_SLICE_NS

    def ioprio_get(self, pid: int) -> int:
        return self._ioprios.get(pid or os.getpid(), 0)

    def ioprio_set(self, pid: int, ioprio: int) -> None:
        kind, level = ioprio >> linux_resource.IOPRIO_CLASS_SHIFT, ioprio & 7
        if kind == linux_resource.IOPRIO_CLASS_RT:
            raise LinuxError(EPERM, "no real-time input and output on this host")
        if pid not in (0, os.getpid()):
            raise LinuxError(EPERM, "no priorities of input and output of other processes on this host")
        if kind > linux_resource.IOPRIO_CLASS_IDLE or (kind == linux_resource.IOPRIO_CLASS_NONE and level):
            raise LinuxError(EINVAL)
        self._ioprios[os.getpid()] = ioprio

    def nproc(self) -> int:
        return os.cpu_count() or 1

    def uname(self) -> Utsname:
        return Utsname(*(os.fsencode(field) for field in os.uname()))

    def sysinfo(self) -> Sysinfo:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        free = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else pages // 2
        one, five, fifteen = (round(load * 65536) for load in os.getloadavg())
        return Sysinfo(int(time.monotonic()), (one, five, fifteen), pages * page, free * page, 0, 0, 0, 0, 1)

    def resident(self) -> int:
        return 0

    def set_pdeathsig(self, sig: int) -> None:
        raise LinuxError(EINVAL, "no parent death signal on this host")

    def set_child_subreaper(self, on: bool) -> None:
        raise LinuxError(EINVAL, "no subreapers on this host")

    def set_identity(self, uid: int, gid: int, groups: Sequence[int], capabilities: int) -> None:
        """Effective ids, which count for signals as well, and for all threads alike. That does no harm: a guest's
        threads share theirs, and the real id, which stays root's, lets the processes of a box signal each other."""
        if os.getuid():
            return
        # HOST: macOS takes 16 groups; the user has fewer rights without the others.
        wanted = uid, gid, tuple(groups[: os.sysconf("SC_NGROUPS_MAX")])
        if wanted == self._identity:
            return
        before = os.geteuid()
        try:
            os.seteuid(0)
            os.setgroups(wanted[2])
            os.setegid(gid)
            os.seteuid(uid)
            if not can_import():
                os.seteuid(0)
                import_all()
                os.seteuid(uid)
        except OSError as error:  # in a container that does not allow it
            os.seteuid(before)
            raise from_host(error) from None
        self._identity = wanted

    def limit_capabilities(self, kept: int) -> None:
        return

    def leave_network(self) -> bool:
        return False

    def set_name(self, name: bytes) -> None:
        return

    def getcwd(self) -> bytes:
        try:
            return os.getcwdb()
        except OSError as error:
            raise from_host(error) from None

    def environ(self) -> dict[bytes, bytes]:
        return dict(os.environb)

    def _exit(self, status: int) -> NoReturn:
        os._exit(status)

    def exit_by_signal(self, sig: int) -> NoReturn:
        try:
            if (number := TO_HOST.get(sig)) is not None:
                _, hard = host_resource.getrlimit(host_resource.RLIMIT_CORE)
                host_resource.setrlimit(host_resource.RLIMIT_CORE, (0, hard))
                LIBC.signal(number, SIG_DFL)  # signal.signal() works in the main thread only
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
                os.kill(os.getpid(), number)
        finally:  # the default is to do nothing, the host has no such signal, or this is a name space's init
            os._exit(128 + sig)

    def stop_by_signal(self, sig: int) -> None:
        number = host_signal(sig)
        if sig == linux_signal_numbers.SIGSTOP:
            os.kill(os.getpid(), number)
            return
        before = LIBC.signal(number, SIG_DFL)
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)  # returns when this process has been continued
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        LIBC.signal(number, before)


def rusage(usage: host_resource.struct_rusage) -> Rusage:
    """Linux' form of what Python gives."""
    u = usage
    return Rusage(
        round(u.ru_utime * 1e6),
        round(u.ru_stime * 1e6),
        u.ru_maxrss // _MAXRSS_UNIT,
        u.ru_ixrss,
        u.ru_idrss,
        u.ru_isrss,
        u.ru_minflt,
        u.ru_majflt,
        u.ru_nswap,
        u.ru_inblock,
        u.ru_oublock,
        u.ru_msgsnd,
        u.ru_msgrcv,
        u.ru_nsignals,
        u.ru_nvcsw,
        u.ru_nivcsw,
    )


def wait_info(pid: int, status: int) -> WaitInfo:
    """siginfo of a child from its (Linux) wait status."""
    s = linux_signal_numbers
    if status == wait.WCONTINUED_STATUS:
        return WaitInfo(pid, os.getuid(), s.CLD_CONTINUED, s.SIGCONT)
    if status & 0xFF == 0x7F:
        return WaitInfo(pid, os.getuid(), s.CLD_STOPPED, status >> 8)
    if status & 0x7F == 0:
        return WaitInfo(pid, os.getuid(), s.CLD_EXITED, status >> 8)
    return WaitInfo(pid, os.getuid(), s.CLD_DUMPED if status & wait.WCORE_FLAG else s.CLD_KILLED, status & 0x7F)


def _limit_to_linux(value: int) -> int:
    return _INFINITY if value in (host_resource.RLIM_INFINITY, -1) else value


def _limit_to_host(value: int) -> int:
    return host_resource.RLIM_INFINITY if value >= 1 << 63 else value
