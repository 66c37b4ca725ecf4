"""Name spaces: unshare(2) and setns(2), as in a container that may not make any."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EINVAL, EPERM, LinuxError
from noah.abi.kinds import CloneFlags, Fd, UnshareFlags
from noah.abi.sched import (
    CLONE_FILES,
    CLONE_FS,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_SIGHAND,
    CLONE_SYSVSEM,
    CLONE_THREAD,
    CLONE_VM,
)
from noah.fs.pidfd import PidFile
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_NAMESPACES: Final = (
    CLONE_NEWNS
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWCGROUP
    | CLONE_NEWTIME
)
_OF_THREADS: Final = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM
_OWN: Final = CLONE_FS | CLONE_FILES
_NAMES: Final = (b"mnt", b"uts", b"ipc", b"user", b"pid", b"pid_for_children", b"net", b"cgroup", b"time")


@syscall(partial="no name spaces: EPERM; the threads of a process undo semaphores together: EINVAL")
def unshare(task: Task, flags: UnshareFlags) -> int:
    """unshare(2): stop sharing with others."""
    if flags & ~(_NAMESPACES | _OF_THREADS | _OWN | CLONE_SYSVSEM):
        raise LinuxError(EINVAL)
    alone = len(task.process.tasks) == 1
    if flags & (_OF_THREADS | CLONE_NEWUSER) and not alone:
        raise LinuxError(EINVAL)
    if flags & _NAMESPACES:
        raise LinuxError(EPERM)
    if flags & CLONE_SYSVSEM:
        if not alone:
            task.process.missing("unshare: CLONE_SYSVSEM of one thread")
            raise LinuxError(EINVAL)
        if task.process.ipc is not None:
            task.process.ipc.semaphores.end(task.pid)  # exit_sem(): what it owes is undone
    if flags & CLONE_FS and not alone:
        task.unshare_fs()
    if flags & CLONE_FILES:
        task.unshare_fds()
    return 0


@syscall(partial="no name spaces: EPERM")
def setns(task: Task, fd: Fd, nstype: CloneFlags) -> int:
    """setns(2): join a name space."""
    file = task.fds.get(fd)
    if isinstance(file, PidFile):
        wanted = nstype & 0xFFFF_FFFF
        if not wanted or wanted & ~_NAMESPACES:
            raise LinuxError(EINVAL)
        raise LinuxError(EPERM)
    folder, _, name = file.path.rpartition(b"/")
    if not (folder.startswith(b"/proc/") and folder.endswith(b"/ns") and name in _NAMES):
        raise LinuxError(EINVAL)
    raise LinuxError(EPERM)
