"""Watching files and directories: inotify(7)."""

from __future__ import annotations

from noah.abi.errno import EINVAL, LinuxError
from noah.abi.fcntl import AT_FDCWD, R_OK
from noah.abi.inotify import (
    IN_ALL_EVENTS,
    IN_CLOEXEC,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_NONBLOCK,
    IN_ONESHOT,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
)
from noah.abi.kinds import Fd, InotifyFlags, InotifyMask, Int, Path
from noah.fs.inotify import InotifyFile, make_inotify
from noah.fs.watching import Watching
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of, read_path
from noah.syscalls.registry import syscall

_ALL_BITS = (
    IN_ALL_EVENTS
    | IN_UNMOUNT
    | IN_Q_OVERFLOW
    | IN_IGNORED
    | IN_ONLYDIR
    | IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_MASK_ADD
    | IN_MASK_CREATE
    | IN_ISDIR
    | IN_ONESHOT
)


@syscall
def inotify_init(task: Task) -> int:
    """inotify_init(2): make a file that tells of changes to others."""
    return task.fds.install(make_inotify(task, nonblock=False))


@syscall(partial="host posix: changes are seen by looking again and again; who opens, reads or closes is not")
def inotify_init1(task: Task, flags: InotifyFlags) -> int:
    """inotify_init(2): make a file that tells of changes to others, with flags."""
    check_flags(flags, IN_CLOEXEC | IN_NONBLOCK)
    return task.fds.install(make_inotify(task, nonblock=bool(flags & IN_NONBLOCK)), cloexec=bool(flags & IN_CLOEXEC))


def _inotify(task: Task, fd: int) -> InotifyFile | Watching:
    file = file_of(task, fd)
    if not isinstance(file, InotifyFile | Watching):
        raise LinuxError(EINVAL)
    return file


@syscall
def inotify_add_watch(task: Task, fd: Fd, pathname: Path, mask: InotifyMask) -> int:
    """inotify_add_watch(2): tell of changes to this file, or to the files of this directory."""
    if not mask & _ALL_BITS:
        raise LinuxError(EINVAL)
    file_of(task, fd)
    if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
        raise LinuxError(EINVAL)
    file = _inotify(task, fd)
    place = task.fs.resolve(task, AT_FDCWD, read_path(task, pathname), follow=not mask & IN_DONT_FOLLOW)
    place.access(task, R_OK, 0)
    return file.add_watch(task, place, mask)


@syscall
def inotify_rm_watch(task: Task, fd: Fd, wd: Int) -> int:
    """inotify_rm_watch(2): tell no longer of changes to a file."""
    _inotify(task, fd).rm_watch(wd)
    return 0
