"""Pipes: pipe(2), splice(2), tee(2), vmsplice(2)."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from noah.abi.arch import ABIS
from noah.abi.errno import EAGAIN, EBADF, EINVAL, EPIPE, LinuxError
from noah.abi.fcntl import (
    O_ACCMODE,
    O_CLOEXEC,
    O_DIRECT,
    O_NONBLOCK,
    O_RDONLY,
    SPLICE_F_GIFT,
    SPLICE_F_MORE,
    SPLICE_F_MOVE,
    SPLICE_F_NONBLOCK,
)
from noah.abi.kinds import Fd, FdPairPtr, IovecPtr, OffPtr, PipeFlags, Size, SpliceFlags, ULong
from noah.abi.limits import IOV_MAX, MAX_RW_COUNT
from noah.abi.poll import POLLIN, POLLOUT
from noah.abi.signal import SIGPIPE
from noah.abi.stat import S_IFIFO, S_IFMT
from noah.fs.pipe import make_pipe
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of
from noah.syscalls.registry import syscall

if TYPE_CHECKING:
    from noah.vfs.file import OpenFile

_LOFF: Final = Struct("<q")
_SPLICE: Final = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT


@syscall
def pipe(task: Task, pipefd: FdPairPtr) -> int:
    """pipe(2): make a pipe."""
    return _pipe(task, pipefd, 0)


@syscall
def pipe2(task: Task, pipefd: FdPairPtr, flags: PipeFlags) -> int:
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


def _offset(task: Task, pointer: int) -> int | None:
    if not pointer:
        return None
    offset = _LOFF.unpack(task.mem.read(pointer, 8))[0]
    if offset < 0:
        raise LinuxError(EINVAL)
    return int(offset)


@syscall
def splice(task: Task, fd_in: Fd, off_in: OffPtr, fd_out: Fd, off_out: OffPtr, length: Size, flags: SpliceFlags) -> int:
    """splice(2): move data from or to a pipe."""
    check_flags(flags, _SPLICE)
    if not length:
        return 0
    source, target = file_of(task, fd_in), file_of(task, fd_out)
    source.check_readable()
    target.check_writable()
    if source.poll_fd < 0 or target.poll_fd < 0:
        raise LinuxError(EINVAL)
    in_offset, out_offset = _offset(task, off_in), _offset(task, off_out)

    def attempt() -> int:
        return task.host.files.splice(
            source.poll_fd, in_offset, target.poll_fd, out_offset, min(length, MAX_RW_COUNT), flags | SPLICE_F_NONBLOCK
        )

    moved = _until_ready(task, source, target, flags, attempt)
    for pointer, offset in ((off_in, in_offset), (off_out, out_offset)):
        if offset is not None:
            task.mem.write_u64(pointer, offset + moved)
    return moved


@syscall
def tee(task: Task, fd_in: Fd, fd_out: Fd, length: Size, flags: SpliceFlags) -> int:
    """tee(2): copy from pipe to pipe without consuming."""
    check_flags(flags, _SPLICE)
    if not length:
        return 0
    source, target = file_of(task, fd_in), file_of(task, fd_out)
    source.check_readable()
    target.check_writable()
    if source.poll_fd < 0 or target.poll_fd < 0:
        raise LinuxError(EINVAL)

    def attempt() -> int:
        return task.host.files.tee(source.poll_fd, target.poll_fd, min(length, MAX_RW_COUNT), flags | SPLICE_F_NONBLOCK)

    return _until_ready(task, source, target, flags, attempt)


def _until_ready(task: Task, source: OpenFile, target: OpenFile, flags: int, attempt: Callable[[], int]) -> int:
    """Try without waiting; if that is not what the caller wants, wait for whichever end is not ready."""
    while True:
        try:
            return attempt()
        except LinuxError as error:
            if error.errno == EPIPE:
                task.send_signal(SIGPIPE)
            if error.errno != EAGAIN or flags & SPLICE_F_NONBLOCK:
                raise
        if not task.host.poller.poll(((source.poll_fd, POLLIN),), 0, signals=False)[0]:
            if source.get_flags() & O_NONBLOCK:
                raise LinuxError(EAGAIN)
            task.wait(((source.poll_fd, POLLIN),))
        else:
            if target.get_flags() & O_NONBLOCK:
                raise LinuxError(EAGAIN)
            task.wait(((target.poll_fd, POLLOUT),))


@syscall
def vmsplice(task: Task, fd: Fd, iov: IovecPtr, nr_segs: ULong, flags: SpliceFlags) -> int:
    """vmsplice(2): between memory and a pipe. Pages are copied, never given away."""
    check_flags(flags, _SPLICE)
    file = file_of(task, fd)
    if nr_segs > IOV_MAX:
        raise LinuxError(EINVAL)
    writes = file.flags & O_ACCMODE != O_RDONLY
    views = task.mem.iovec(iov, nr_segs, write=not writes)
    if not views:
        return 0
    if file.stat().mode & S_IFMT != S_IFIFO:
        raise LinuxError(EBADF)
    if flags & SPLICE_F_NONBLOCK:
        files = task.host.files
        return files.pwritev_nowait(file.poll_fd, views) if writes else files.preadv_nowait(file.poll_fd, views)
    return file.write(task, views) if writes else file.read(task, views)
