"""Descriptors for processes: pidfd_open(2) and its family."""

from __future__ import annotations

from noah.abi.errno import EBADF, EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import Fd, Pid, PidfdFlags, SiginfoPtr, SigNum, UInt
from noah.abi.sched import PIDFD_NONBLOCK
from noah.fs.pidfd import PidFile
from noah.kernel.task import Task
from noah.syscalls.registry import syscall
from noah.syscalls.signal import kill, rt_sigqueueinfo


def pid_file(task: Task, fd: int) -> PidFile:
    """The file of a pidfd argument; EBADF for any other file."""
    file = task.fds.get(fd)
    if not isinstance(file, PidFile):
        raise LinuxError(EBADF)
    return file


@syscall
def pidfd_open(task: Task, pid: Pid, flags: PidfdFlags) -> int:
    """pidfd_open(2): a descriptor that refers to a process."""
    if flags & ~PIDFD_NONBLOCK or pid <= 0:
        raise LinuxError(EINVAL)
    if pid != task.pid and not task.process.box.contains(pid):
        raise LinuxError(EINVAL if any(pid == own.tid for own in task.process.tasks) else ESRCH)
    return task.fds.install(PidFile(task.host, pid, flags), cloexec=True)


@syscall
def pidfd_send_signal(task: Task, pidfd: Fd, sig: SigNum, info: SiginfoPtr, flags: UInt) -> int:
    """pidfd_send_signal(2): kill(2), or rt_sigqueueinfo(2) with an info."""
    if flags:
        raise LinuxError(EINVAL)
    target = task.fds.get(pidfd)
    if isinstance(target, PidFile):
        if target.pid != task.pid and target.poll_fd >= 0 and target.has_ended():
            raise LinuxError(ESRCH)
        pid = target.pid
    else:  # a directory of /proc does it, too (tgid_pidfd_to_pid())
        folder, _, name = target.path.rpartition(b"/")
        if target.poll_fd >= 0 or folder != b"/proc" or not name.isdigit():
            raise LinuxError(EBADF)
        pid = int(name)
    return rt_sigqueueinfo(task, pid, sig, info) if info else kill(task, pid, sig)


@syscall(partial="refused: no process looks into another")
def pidfd_getfd(task: Task, pidfd: Fd, targetfd: Fd, flags: UInt) -> int:
    """pidfd_getfd(2): copy a descriptor of another process."""
    if flags:
        raise LinuxError(EINVAL)
    file = pid_file(task, pidfd)
    if file.pid == task.pid:
        return task.fds.install(task.fds.get(targetfd).acquire(), cloexec=True)
    raise LinuxError(EPERM)
