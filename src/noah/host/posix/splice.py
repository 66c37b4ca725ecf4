"""splice(2) by reading and writing. Nothing waits, and nothing is read that has no room where it goes."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import sys
import termios
from typing import Final

from noah.abi.errno import EAGAIN, EBADF, EINVAL, EPIPE, ESPIPE, LinuxError
from noah.host.errnos import from_host

_CHUNK: Final = select.PIPE_BUF
"""What a pipe takes without waiting once it polls writable."""


def splice(fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int) -> int:
    """At least one byte, or 0 at the end, or EAGAIN. What then cannot be written (a full disk) is lost."""
    try:
        _check(fd_in, off_in, fd_out, off_out)
        done = 0
        while done < count:
            try:
                moved = _move(fd_in, off_in, fd_out, off_out, done, min(count - done, _CHUNK))
            except LinuxError:
                if done:
                    break
                raise
            if not moved:
                break
            done += moved
        return done
    except OSError as error:
        raise from_host(error) from None


def _check(fd_in: int, off_in: int | None, fd_out: int, off_out: int | None) -> None:
    """fs/splice.c: do_splice()"""
    source, target = os.fstat(fd_in), os.fstat(fd_out)
    from_pipe, to_pipe = stat.S_ISFIFO(source.st_mode), stat.S_ISFIFO(target.st_mode)
    if not from_pipe and not to_pipe:
        raise LinuxError(EINVAL)
    if (from_pipe and off_in is not None) or (to_pipe and off_out is not None):
        raise LinuxError(ESPIPE)
    if from_pipe and to_pipe and os.path.samestat(source, target):
        raise LinuxError(EINVAL)
    if not to_pipe and fcntl.fcntl(fd_out, fcntl.F_GETFL) & os.O_APPEND:
        raise LinuxError(EINVAL)


def _move(fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, done: int, limit: int) -> int:
    if not _polls(fd_out, select.POLLOUT):
        raise LinuxError(EAGAIN)
    if stat.S_ISREG(os.fstat(fd_in).st_mode):
        start = os.lseek(fd_in, 0, os.SEEK_CUR) if off_in is None else off_in + done
        data = os.pread(fd_in, limit, start)
        moved = os.write(fd_out, data) if data else 0
        if off_in is None:
            os.lseek(fd_in, start + moved, os.SEEK_SET)
        return moved
    ready = _polls(fd_in, select.POLLIN)
    waiting = _waiting(fd_in)
    if not waiting and not ready & select.POLLHUP:
        raise LinuxError(EAGAIN)
    data = os.read(fd_in, min(limit, waiting or 1))
    moved = 0
    while moved < len(data):
        rest = memoryview(data)[moved:]
        moved += os.write(fd_out, rest) if off_out is None else os.pwrite(fd_out, rest, off_out + done + moved)
    return moved


def _polls(fd: int, event: int) -> int:
    """The events of a descriptor, 0 for none."""
    poll = select.poll()
    poll.register(fd, event)
    found = dict(poll.poll(0)).get(fd, 0)
    if found & select.POLLNVAL:
        raise LinuxError(EBADF)
    if event == select.POLLOUT and found & select.POLLERR:
        raise LinuxError(EPIPE)
    return found


def _waiting(fd: int) -> int:
    count = bytearray(4)
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)
