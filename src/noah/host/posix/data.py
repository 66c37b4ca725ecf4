"""Reading, writing, storage: the data of open files."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi import fcntl as linux
from noah.abi.errno import EAGAIN, EBADF, EINVAL, EOPNOTSUPP, LinuxError
from noah.host.errnos import from_host
from noah.host.posix.splice import splice
from noah.host.tables import Numbers, named

if TYPE_CHECKING:
    from noah.host.api import Buffer, Data

WHENCE: Final = Numbers(named(linux, "SEEK_"), named(os, "SEEK_")).host  # macOS swaps SEEK_DATA and SEEK_HOLE
_CHUNK: Final = 1 << 16


class PosixData:
    """See noah.host.api.Files."""

    __slots__ = ()

    def read(self, fd: int, count: int) -> bytes:
        try:
            return os.read(fd, count)
        except OSError as error:
            raise from_host(error) from None

    def readv(self, fd: int, views: Sequence[Buffer]) -> int:
        try:
            return os.readv(fd, views)
        except OSError as error:
            raise from_host(error) from None

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        try:
            return os.pread(fd, count, offset)
        except OSError as error:
            raise from_host(error) from None

    def preadv(self, fd: int, views: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        if flags & ~linux.RWF_HIPRI:
            raise LinuxError(EOPNOTSUPP, "no RWF flags on this host")
        try:
            return os.readv(fd, views) if offset == -1 else os.preadv(fd, views, offset)
        except OSError as error:
            raise from_host(error) from None

    def preadv_nowait(self, fd: int, views: Sequence[Buffer]) -> int:
        """Between the poll and the read another process may take the data: then the read waits. POSIX has no better
        way that leaves the open file description, which other processes share, as it is."""
        _ready(fd, select.POLLIN)
        return self.readv(fd, views)

    def write(self, fd: int, data: Data) -> int:
        try:
            return os.write(fd, data)
        except OSError as error:
            raise from_host(error) from None

    def writev(self, fd: int, views: Sequence[Data]) -> int:
        try:
            return os.writev(fd, views)
        except OSError as error:
            raise from_host(error) from None

    def pwrite(self, fd: int, data: Data, offset: int) -> int:
        try:
            return os.pwrite(fd, data, offset)
        except OSError as error:
            raise from_host(error) from None

    def pwritev(self, fd: int, views: Sequence[Data], offset: int, flags: int = 0) -> int:
        sync = flags & (linux.RWF_DSYNC | linux.RWF_SYNC)
        if flags & ~(linux.RWF_HIPRI | linux.RWF_DSYNC | linux.RWF_SYNC):
            raise LinuxError(EOPNOTSUPP, "no RWF flags on this host")
        try:
            count = os.writev(fd, views) if offset == -1 else os.pwritev(fd, views, offset)
            if sync:
                os.fsync(fd)
            return count
        except OSError as error:
            raise from_host(error) from None

    def pwritev_nowait(self, fd: int, views: Sequence[Data]) -> int:
        mode = _ready(fd, select.POLLOUT)
        if not stat.S_ISREG(mode):
            # A pipe polls writable when PIPE_BUF bytes fit: a longer write could wait in its middle.
            views = _first(views, select.PIPE_BUF)
        return self.writev(fd, views)

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        try:
            return os.lseek(fd, offset, WHENCE[whence])
        except KeyError:
            raise LinuxError(EINVAL, f"whence {whence}") from None
        except OSError as error:
            raise from_host(error) from None

    def copy_file_range(self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int) -> int:
        self._check_apart(fd_in, off_in, fd_out, off_out, count)
        data = self.read(fd_in, min(count, _CHUNK)) if off_in is None else self.pread(fd_in, min(count, _CHUNK), off_in)
        done = self.write(fd_out, data) if off_out is None else self.pwrite(fd_out, data, off_out)
        if off_in is None and done < len(data):
            self.lseek(fd_in, done - len(data), linux.SEEK_CUR)
        return done

    def _check_apart(self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int) -> None:
        """EINVAL for parts of one file that overlap: generic_copy_file_checks()."""
        try:
            if not os.path.sameopenfile(fd_in, fd_out):
                return
            start = os.lseek(fd_in, 0, os.SEEK_CUR) if off_in is None else off_in
            target = os.lseek(fd_out, 0, os.SEEK_CUR) if off_out is None else off_out
            count = min(count, os.fstat(fd_in).st_size - start)
        except OSError as error:
            raise from_host(error) from None
        if count > 0 and target < start + count and start < target + count:
            raise LinuxError(EINVAL)

    def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        raise LinuxError(EINVAL, "no sendfile that all hosts have alike")

    def splice(
        self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int, flags: int = 0
    ) -> int:
        return splice(fd_in, off_in, fd_out, off_out, count)

    def tee(self, fd_in: int, fd_out: int, count: int, flags: int = 0) -> int:
        raise LinuxError(EINVAL, "no tee on this host")

    def ftruncate(self, fd: int, length: int) -> None:
        try:
            os.ftruncate(fd, length)
        except OSError as error:
            raise from_host(error) from None

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """Python's posix_fallocate is not on every POSIX host; C libraries take its place by writing."""
        raise LinuxError(EOPNOTSUPP, "no fallocate on this host")

    def fsync(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as error:
            raise from_host(error) from None

    def fdatasync(self, fd: int) -> None:
        self.fsync(fd)

    def sync(self) -> None:
        os.sync()

    def syncfs(self, fd: int) -> None:
        self._check(fd)
        os.sync()

    def sync_file_range(self, fd: int, offset: int, count: int, flags: int) -> None:
        self.fsync(fd)

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        self._check(fd)

    def _check(self, fd: int) -> None:
        try:
            os.fstat(fd)
        except OSError as error:
            raise from_host(error) from None


def _ready(fd: int, event: int) -> int:
    """The file's mode, once the event is there. LinuxError EAGAIN if it is not."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise from_host(error) from None
    if stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and event == select.POLLOUT and not os.isatty(fd)):
        return mode  # Linux' /dev/random, which takes everything, never polls writable
    poll = select.poll()
    poll.register(fd, event)
    found = poll.poll(0)
    if not found:
        raise LinuxError(EAGAIN)
    if found[0][1] & select.POLLNVAL:
        raise LinuxError(EBADF)
    return mode


def _first(views: Sequence[Data], limit: int) -> list[Data]:
    """The first limit bytes of the views."""
    result: list[Data] = []
    for view in views:
        if limit <= 0:
            break
        result.append(memoryview(view)[:limit])
        limit -= len(view)
    return result
