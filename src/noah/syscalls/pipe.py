"""Pipes: pipe(2), splice(2), tee(2), vmsplice(2)."""

from __future__ import annotations

from noah.abi.arch import ABIS
from noah.abi.fcntl import O_CLOEXEC, O_DIRECT, O_NONBLOCK
from noah.abi.kinds import FdPairPtr, OpenFlags
from noah.fs.pipe import make_pipe
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags
from noah.syscalls.registry import syscall


@syscall
def pipe(task: Task, pipefd: FdPairPtr) -> int:
    """pipe(2): make a pipe."""
    return _pipe(task, pipefd, 0)


@syscall
def pipe2(task: Task, pipefd: FdPairPtr, flags: OpenFlags) -> int:
    """pipe(2): make a pipe, with flags."""
    flags = ABIS[task.process.arch.name].open_flags(flags)
    check_flags(flags, O_CLOEXEC | O_DIRECT | O_NONBLOCK)
    return _pipe(task, pipefd, flags)


def _pipe(task: Task, pipefd: int, flags: int) -> int:
    reader, writer = make_pipe(task, flags & ~O_CLOEXEC)
    cloexec = bool(flags & O_CLOEXEC)
    try:
        read_fd = task.fds.install(reader, cloexec=cloexec)
    except BaseException:
        writer.release()
        raise
    write_fd = -1
    try:
        write_fd = task.fds.install(writer, cloexec=cloexec)
        task.mem.write(pipefd, read_fd.to_bytes(4, "little") + write_fd.to_bytes(4, "little"))
    except BaseException:
        task.fds.close(read_fd)
        if write_fd >= 0:
            task.fds.close(write_fd)
        raise
    return 0
