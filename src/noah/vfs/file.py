"""OpenFile: an open file description (open(2)): what descriptors refer to, shared by dup(2) and fork(2).

The defaults answer as Linux does for a file that lacks the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from noah.abi.errno import EBADF, EINVAL, ENODEV, ENOTDIR, ENOTTY, ESPIPE, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_PATH, O_RDONLY, O_WRONLY, SEEK_CUR, SEEK_END, SEEK_SET
from noah.abi.poll import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM

if TYPE_CHECKING:
    from noah.host.values import Stat
    from noah.mm.vma import MappedFile
    from noah.vfs.caller import Caller
    from noah.vfs.place import Directory, Place

Views: TypeAlias = Sequence[memoryview]
"""Pieces of guest memory, in the order in which they are filled or written."""


def sought(offset: int, whence: int, position: int, end: int) -> int:
    """The new position that lseek(2) asks for, in a file without holes. EINVAL."""
    if whence == SEEK_CUR:
        offset += position
    elif whence == SEEK_END:
        offset += end
    elif whence != SEEK_SET:
        raise LinuxError(EINVAL)
    if offset < 0:
        raise LinuxError(EINVAL)
    return offset


class Watcher(Protocol):
    """An epoll(7) set that the file is in."""

    def forget(self, file: OpenFile) -> None:
        """The file is closed for good."""

    def note_used(self, file: OpenFile) -> None:
        """A call is about to read, write, accept or the like."""


class OpenFile:
    """An open file description. Whoever makes one holds a reference: release() it, or give it to a descriptor table.

    `flags` are access mode and status flags as open(2) got them; `poll_fd` is a host descriptor that is ready when the
    file is, or -1: then ready() tells.
    """

    __slots__ = ("flags", "refs", "watchers")

    poll_fd = -1
    has_positions = False
    """Whether pread(2) and pwrite(2) make sense; else they are ESPIPE."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.refs = 1
        self.watchers: tuple[Watcher, ...] = ()

    def acquire(self) -> OpenFile:
        self.refs += 1
        return self

    def release(self) -> None:
        """Drop a reference; the last one closes the file."""
        self.refs -= 1
        if not self.refs:
            for watcher in self.watchers:
                watcher.forget(self)
            self.close()

    def note_use(self) -> None:
        for watcher in self.watchers:
            watcher.note_used(self)

    def close(self) -> None:
        """The last reference is gone."""

    # What it is

    @property
    def path(self) -> bytes:
        """Guest path as /proc/self/fd shows it."""
        return b"/"

    def stat(self) -> Stat:
        raise LinuxError(EBADF)

    def place(self) -> Place:
        """The file as the target of calls that take a path: fchmod(2), and the *at family with AT_EMPTY_PATH."""
        raise LinuxError(EINVAL)

    def directory(self) -> Directory:
        """Where a path relative to this descriptor starts. ENOTDIR for what is no directory."""
        raise LinuxError(ENOTDIR)

    def check_readable(self) -> None:
        flags = self.flags
        if flags & O_ACCMODE == O_WRONLY or flags & O_PATH:
            raise LinuxError(EBADF)

    def check_writable(self) -> None:
        flags = self.flags
        if flags & O_ACCMODE == O_RDONLY or flags & O_PATH:
            raise LinuxError(EBADF)

    # Data: counts of bytes, short as in read(2)

    def read(self, caller: Caller, views: Views) -> int:
        self.check_readable()
        raise LinuxError(EINVAL)

    def write(self, caller: Caller, views: Views) -> int:
        self.check_writable()
        raise LinuxError(EINVAL)

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        """flags: RWF_*."""
        raise LinuxError(ESPIPE)

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        raise LinuxError(ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        raise LinuxError(ESPIPE)

    def truncate(self, length: int) -> None:
        raise LinuxError(EINVAL)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        raise LinuxError(ENODEV)

    def sync(self, *, data_only: bool = False) -> None:
        raise LinuxError(EINVAL)

    # Control

    def get_flags(self) -> int:
        """F_GETFL."""
        return self.flags

    def set_flags(self, flags: int) -> None:
        """F_SETFL: the bits of SETFL_MASK."""
        raise LinuxError(EINVAL)

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        raise LinuxError(ENOTTY)

    def ready(self, events: int) -> int:
        """POLL* bits of `events` that hold now; only for files without a poll_fd."""
        return events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)

    def can_poll(self) -> bool:
        """Whether poll(2) tells anything of such files; else they are always ready, and epoll(7) does not take them."""
        return self.poll_fd >= 0 or self.changes_at() is not None

    def changes_at(self) -> int | None:
        """CLOCK_MONOTONIC ns at which ready() may tell something new and should be asked again; None: never."""
        return None

    def mapped(self, *, writable: bool) -> MappedFile | None:
        """For mmap(2). None: anonymous memory will do (/dev/zero)."""
        raise LinuxError(ENODEV)

    def is_written(self) -> bool | None:
        """Whether somebody has the file open for writing, so that it cannot be executed (ETXTBSY); None: no telling."""
        return False

    def reopen(self, caller: Caller, flags: int) -> OpenFile:
        """A new description of the same file, as opening /proc/self/fd/N gives."""
        return self.place().open(caller, flags, 0)

    # Directories

    reads_records = False
    """Whether there is read_records(); else entries() says what to make records of."""

    def read_records(self, caller: Caller, views: Views) -> int:
        """getdents64(2): records from the position on, as the host makes them."""
        raise LinuxError(ENOTDIR)

    def entries(self, caller: Caller, limit: int) -> Sequence[tuple[bytes, int, int, int]]:
        """Up to `limit` entries from the position on: (name, inode, DT_* type, position behind it)."""
        raise LinuxError(ENOTDIR)
