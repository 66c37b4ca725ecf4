"""Processes of a Linux host."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import capability, prctl, sched
from noah.abi import resource as linux_resource
from noah.abi import signal as linux
from noah.abi.errno import LinuxError
from noah.host.errnos import from_host
from noah.host.late import can_import, import_all
from noah.host.linux.clone import clone
from noah.host.linux.kernel import syscall
from noah.host.linux.signals import reset_action, sigprocmask
from noah.host.posix.procs import PosixProcs, rusage
from noah.host.values import Rusage, Scheduling, Sysinfo, WaitInfo

_QUEUED: Final = struct.Struct("=iii4xiIQ96x")  # siginfo_t: signo, errno, code, pid, uid, value
_SIGINFO_CHILD: Final = struct.Struct("=iii4xiIi100x")  # signo, errno, code, pid, uid, status
_RUSAGE: Final = struct.Struct("=18q")
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")
_RLIMIT: Final = struct.Struct("=QQ")
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQII")  # struct sched_attr, which begins with its size
_TIMESPEC: Final = struct.Struct("=qq")
_SYSINFO: Final = struct.Struct("=q9QH6xQQI4x")
_CAPABILITIES: Final = struct.Struct("=6I")  # effective, permitted, inheritable of 32 each, twice
_CAPABILITY_HEADER: Final = struct.pack("=Ii", capability.LINUX_CAPABILITY_VERSION_3, 0)
_LOW: Final = (1 << 32) - 1
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
assert (_QUEUED.size, _SIGINFO_CHILD.size, _SYSINFO.size) == (128, 128, 112)


class LinuxProcs(PosixProcs):
    """See noah.host.api.Procs."""

    __slots__ = ()

    def clone(self, flags: int, exit_signal: int) -> int:
        own_tid = ctypes.c_ulong(0)
        flags |= exit_signal
        try:
            # The C library keeps the thread's id where the kernel clears it at the end: let it write the child's there.
            syscall("prctl", prctl.PR_GET_TID_ADDRESS, ctypes.byref(own_tid))
            flags |= sched.CLONE_CHILD_SETTID | sched.CLONE_CHILD_CLEARTID
        except LinuxError:
            pass  # a kernel without checkpoints: only the id of the first thread stays the parent's
        pid = clone(flags, own_tid.value)
        if not pid:
            self._signals.after_fork()
        return pid

    def wait4(self, pid: int, options: int) -> tuple[int, int, Rusage]:
        try:
            # options is an int whose highest bit is __WCLONE
            found, status, usage = os.wait4(pid, (options & 0xFFFFFFFF ^ 1 << 31) - (1 << 31))
        except OSError as error:
            raise from_host(error) from None
        return found, status, rusage(usage)

    def waitid(self, idtype: int, id: int, options: int) -> tuple[WaitInfo, Rusage]:
        info = ctypes.create_string_buffer(_SIGINFO_CHILD.size)
        usage = ctypes.create_string_buffer(_RUSAGE.size)
        syscall("waitid", idtype, id, info, options, usage)
        _, _, code, pid, uid, status = _SIGINFO_CHILD.unpack(info)
        used = _RUSAGE.unpack(usage)
        times = used[0] * 10**6 + used[1], used[2] * 10**6 + used[3]
        return WaitInfo(pid, uid, code, status), Rusage(*times, *used[4:])

    def sigqueue(self, pid: int, sig: int, value: int, code: int = -1) -> None:
        info = _QUEUED.pack(sig, 0, code, os.getpid(), os.getuid(), value)
        syscall("rt_sigqueueinfo", pid, sig, info)

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        return syscall("pidfd_open", pid, flags)

    def pidfd_getfd(self, pid: int, fd: int) -> int:
        pidfd = self.pidfd_open(pid)
        try:
            return syscall("pidfd_getfd", pidfd, fd, 0)
        finally:
            os.close(pidfd)

    def kcmp(self, pid1: int, pid2: int, type: int, idx1: int, idx2: int) -> int:
        return syscall("kcmp", pid1, pid2, type, idx1, idx2)

    def getrlimit(self, resource: int) -> tuple[int, int]:
        return self.prlimit(0, resource, None)

    def setrlimit(self, resource: int, limits: tuple[int, int]) -> None:
        self.prlimit(0, resource, limits)

    def prlimit(self, pid: int, resource: int, limits: tuple[int, int] | None) -> tuple[int, int]:
        old = ctypes.create_string_buffer(_RLIMIT.size)
        syscall("prlimit64", pid, resource, None if limits is None else _RLIMIT.pack(*limits), old)
        soft, hard = _RLIMIT.unpack(old)
        return soft, hard

    def getresuid(self) -> tuple[int, int, int]:
        return os.getresuid()

    def getresgid(self) -> tuple[int, int, int]:
        return os.getresgid()

    def sched_getaffinity(self, pid: int) -> list[int]:
        try:
            return sorted(os.sched_getaffinity(pid))
        except OSError as error:
            raise from_host(error) from None

    def sched_setaffinity(self, pid: int, cpus: Sequence[int]) -> None:
        try:
            os.sched_setaffinity(pid, cpus)
        except OSError as error:
            raise from_host(error) from None

    def sched_getattr(self, pid: int) -> Scheduling:
        buffer = ctypes.create_string_buffer(_SCHED_ATTR.size)
        syscall("sched_getattr", pid, buffer, _SCHED_ATTR.size, 0)
        return Scheduling(*_SCHED_ATTR.unpack(buffer)[1:])

    def sched_setattr(self, pid: int, attributes: Scheduling) -> None:
        syscall("sched_setattr", pid, _SCHED_ATTR.pack(_SCHED_ATTR.size, *attributes), 0)

    def sched_rr_get_interval(self, pid: int) -> int:
        interval = ctypes.create_string_buffer(_TIMESPEC.size)
        syscall("sched_rr_get_interval", pid, interval)
        seconds, ns = _TIMESPEC.unpack(interval)
        return int(seconds * 10**9 + ns)

    def ioprio_get(self, pid: int) -> int:
        return syscall("ioprio_get", linux_resource.IOPRIO_WHO_PROCESS, pid)

    def ioprio_set(self, pid: int, ioprio: int) -> None:
        syscall("ioprio_set", linux_resource.IOPRIO_WHO_PROCESS, pid, ioprio)

    def resident(self) -> int:
        try:
            fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return int(os.read(fd, 256).split()[1]) * _PAGE_SIZE
        finally:
            os.close(fd)

    def sysinfo(self) -> Sysinfo:
        buffer = ctypes.create_string_buffer(_SYSINFO.size)
        syscall("sysinfo", buffer)
        uptime, one, five, fifteen, total, free, shared, buffers, swap, free_swap, procs, _, _, unit = _SYSINFO.unpack(
            buffer
        )
        return Sysinfo(uptime, (one, five, fifteen), total, free, shared, buffers, swap, free_swap, procs, unit)

    def environ(self) -> dict[bytes, bytes]:
        found = super().environ()
        if b"LC_CTYPE" in found:
            # In the C locale the interpreter adds it to its own environment (PEP 538).
            try:
                with open("/proc/self/environ", "rb") as file:
                    if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
                        del found[b"LC_CTYPE"]
            except OSError:
                pass
        return found

    def set_pdeathsig(self, sig: int) -> None:
        syscall("prctl", prctl.PR_SET_PDEATHSIG, sig)

    def set_child_subreaper(self, on: bool) -> None:
        syscall("prctl", prctl.PR_SET_CHILD_SUBREAPER, int(on))

    def set_identity(self, uid: int, gid: int, groups: Sequence[int], capabilities: int) -> None:
        if os.geteuid():
            return
        self._set_identity(uid, gid, groups, capabilities)
        if uid and not can_import():
            self._set_identity(0, 0, (), -1)
            import_all()
            self._set_identity(uid, gid, groups, capabilities)

    def _set_identity(self, uid: int, gid: int, groups: Sequence[int], capabilities: int) -> None:
        permitted = _capabilities()
        _set_capabilities(permitted, permitted)  # setgroups(2) and setfsgid(2) ask for some
        syscall("setfsuid", 0)
        syscall("setgroups", len(groups), (ctypes.c_uint32 * len(groups))(*groups))
        syscall("setfsgid", gid)
        syscall("setfsuid", uid)
        _set_capabilities(permitted & capabilities, permitted)
        # The kernel has made the process undumpable: its own /proc/self/fd would be closed to it.
        syscall("prctl", prctl.PR_SET_DUMPABLE, 1)

    def limit_capabilities(self, kept: int) -> None:
        permitted = _capabilities() & kept
        _set_capabilities(permitted, permitted)

    def leave_network(self) -> bool:
        # Not by way of a user name space of its own: there, files of others would seem to be nobody's.
        try:
            syscall("unshare", sched.CLONE_NEWNET)
        except LinuxError:
            return False
        import socket  # slow to load

        request = bytearray(struct.pack("=16sh22x", b"lo", _IFF_UP))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
        return True

    def set_name(self, name: bytes) -> None:
        syscall("prctl", prctl.PR_SET_NAME, name)

    def exit_by_signal(self, sig: int) -> NoReturn:
        try:
            syscall("prctl", prctl.PR_SET_DUMPABLE, 0)  # no core file, also where core_pattern is a pipe
            if sig != linux.SIGKILL:
                reset_action(sig)
            sigprocmask(linux.SIG_UNBLOCK, 1 << sig - 1)
            os.kill(os.getpid(), sig)
        finally:  # the default is to do nothing, or this is the init of a pid name space
            os._exit(128 + sig)

    def stop_by_signal(self, sig: int) -> None:
        # Its disposition is SIG_DFL: LinuxSignals installs no handlers.
        old = sigprocmask(linux.SIG_UNBLOCK, 1 << sig - 1)
        os.kill(os.getpid(), sig)  # returns when this process has been continued
        sigprocmask(linux.SIG_SETMASK, old)


def _capabilities() -> int:
    """The calling thread's permitted ones."""
    data = ctypes.create_string_buffer(_CAPABILITIES.size)
    syscall("capget", _CAPABILITY_HEADER, data)
    _, low, _, _, high, _ = _CAPABILITIES.unpack(data)
    return int(low | high << 32)


def _set_capabilities(effective: int, permitted: int) -> None:
    low, high = (effective & _LOW, permitted & _LOW, 0), (effective >> 32, permitted >> 32, 0)
    syscall("capset", _CAPABILITY_HEADER, _CAPABILITIES.pack(*low, *high))
