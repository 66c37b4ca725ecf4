"""Descriptors for processes: pidfd_open(2) and its family."""

from __future__ import annotations

from typing import Final

from noah.abi.capability import CAP_SYS_NICE
from noah.abi.errno import EBADF, EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import Fd, IovecPtr, MadviseAdvice, Pid, PidfdFlags, SiginfoPtr, SigNum, Size, UInt
from noah.abi.limits import IOV_MAX
from noah.abi.mman import MADV_COLD, MADV_COLLAPSE, MADV_PAGEOUT, MADV_WILLNEED
from noah.abi.sched import PIDFD_NONBLOCK
from noah.abi.structs import Iovec
from noah.fs.pidfd import PidFile
from noah.kernel.othermemory import advise, check_traceable
from noah.kernel.task import Task
from noah.mm.advise import madvise
from noah.syscalls.registry import syscall
from noah.syscalls.signal import kill, rt_sigqueueinfo
from noah.syscalls.socket import adopt

_REMOTE_ADVICE: Final = (MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE)


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


@syscall(partial="of another process only what stands on a descriptor of the host, among the first 256: else EPERM")
def pidfd_getfd(task: Task, pidfd: Fd, targetfd: Fd, flags: UInt) -> int:
    """pidfd_getfd(2): copy a descriptor of another process."""
    if flags:
        raise LinuxError(EINVAL)
    pid = pid_file(task, pidfd).pid
    if pid == task.pid:
        return task.fds.install(task.fds.get(targetfd).acquire(), cloexec=True)
    check_traceable(task, pid)
    shown = task.process.box.shown(pid)
    number = shown.fds.get(targetfd) if shown is not None else None
    if number is None:
        raise LinuxError(EBADF)
    if number < 0:
        task.process.missing("pidfd_getfd: a file that is none of the host's")
        raise LinuxError(EPERM)
    return task.fds.install(adopt(task, task.host.procs.pidfd_getfd(pid, number)), cloexec=True)


@syscall(partial="another process advises itself when it is asked: EACCES from one that is stopped; see also madvise")
def process_madvise(task: Task, pidfd: Fd, vec: IovecPtr, vlen: Size, advice: MadviseAdvice, flags: UInt) -> int:
    """process_madvise(2): say how the memory of a process will be used."""
    if flags:
        raise LinuxError(EINVAL)
    if vlen > IOV_MAX:
        raise LinuxError(EINVAL)
    ranges = list(Iovec.struct.iter_unpack(task.mem.read(vec, vlen * Iovec.struct.size)))
    pid = pid_file(task, pidfd).pid
    own = pid == task.pid
    if not own:
        check_traceable(task, pid)
        if advice not in _REMOTE_ADVICE:
            raise LinuxError(EINVAL)
        if not task.creds.capable(CAP_SYS_NICE):
            raise LinuxError(EPERM)
    done = 0
    for address, length in ranges:
        try:
            if own:
                madvise(task.space, address, length, advice)
            else:
                advise(task, pid, address, length, advice)
        except LinuxError:
            if not done:
                raise
            break
        done += length
    return done
