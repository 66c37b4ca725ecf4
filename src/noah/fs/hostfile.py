"""Open files that stand on a host descriptor: regular files and directories here, what may wait in noah.vfs.stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import ref

from noah.abi.errno import EAGAIN, EBADF, EINVAL, EISDIR, ENOENT, ENXIO, LinuxError
from noah.abi.fcntl import (
    AT_SYMLINK_NOFOLLOW,
    DT_DIR,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOCTTY,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_WRONLY,
    SEEK_CUR,
    SEEK_SET,
    SETFL_MASK,
    SPLICE_F_NONBLOCK,
)
from noah.abi.ioctl import FIONREAD
from noah.abi.poll import POLLIN
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG
from noah.abi.time import CLOCK_MONOTONIC
from noah.fs.tty import TtyFile
from noah.mm.vma import MappedFile
from noah.vfs.file import sought
from noah.vfs.handle import Handle, HostFile
from noah.vfs.hostioctl import host_ioctl
from noah.vfs.stream import DeviceFile, StreamFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noah.host.api import Files
    from noah.host.values import Stat
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile, Views
    from noah.vfs.handle import HostTree
    from noah.vfs.place import Directory
FIFO_RETRY_NS: Final = 10_000_000
_MAKES: Final = O_CREAT | O_TMPFILE & ~O_DIRECTORY


class RegularFile(HostFile):
    """Regular files and block devices: never wait, so the host reads and writes guest memory directly."""

    __slots__ = ("_mapped",)

    has_positions = True

    def __init__(self, tree: HostTree, handle: Handle, path: bytes, flags: int) -> None:
        super().__init__(tree, handle, path, flags)
        self._mapped: ref[MappedFile] | None = None  # for all mappings of it, with one descriptor

    def can_poll(self) -> bool:
        return False

    def read(self, caller: Caller, views: Views) -> int:
        if self.flags & O_ACCMODE == O_WRONLY:
            raise LinuxError(EBADF)
        return self.files.readv(self.fd, views)

    def write(self, caller: Caller, views: Views) -> int:
        if self.flags & O_ACCMODE == O_RDONLY:
            raise LinuxError(EBADF)
        return self.files.writev(self.fd, views)  # beyond RLIMIT_FSIZE the host sends SIGXFSZ itself

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        if self.flags & O_ACCMODE == O_WRONLY:
            raise LinuxError(EBADF)
        return self.files.preadv(self.fd, views, offset, flags)

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        if self.flags & O_ACCMODE == O_RDONLY:
            raise LinuxError(EBADF)
        return self.files.pwritev(self.fd, views, offset, flags)  # beyond RLIMIT_FSIZE the host sends SIGXFSZ itself

    def seek(self, offset: int, whence: int) -> int:
        return self.files.lseek(self.fd, offset, whence)

    def truncate(self, length: int) -> None:
        if self.flags & O_ACCMODE == O_RDONLY:
            raise LinuxError(EINVAL)
        self.files.ftruncate(self.fd, length)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        self.check_writable()
        self.files.fallocate(self.fd, mode, offset, length)

    def sync(self, *, data_only: bool = False) -> None:
        if data_only:
            self.files.fdatasync(self.fd)
        else:
            self.files.fsync(self.fd)

    def get_flags(self) -> int:
        """O_NONBLOCK means nothing here, so the guest's own word for it is kept (see open_host())."""
        flags = self.files.get_flags(self.fd) & ~(O_NONBLOCK | O_NOFOLLOW)
        return flags | self.flags & (O_NONBLOCK | O_NOFOLLOW | O_LARGEFILE | self.files.hints)

    def set_flags(self, flags: int) -> None:
        self.files.set_flags(self.fd, flags)
        self.flags = self.flags & ~SETFL_MASK | flags

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        if request == FIONREAD:
            left = self.stat().size - self.files.lseek(self.fd, 0, SEEK_CUR)
            caller.mem.write_u32(argument, max(0, left))
            return 0
        return host_ioctl(self, caller, request, argument)

    def is_written(self) -> bool | None:
        return self.files.is_written(self.fd)

    def mapped(self, *, writable: bool) -> MappedFile | None:
        mapped = self._mapped() if self._mapped is not None else None
        if mapped is None or mapped.writable != writable or mapped.path != self.path:
            files = self.files
            fd = files.dup(self.fd)
            stat = files.fstat(fd)
            mapped = MappedFile(files, fd, self.path, stat.dev, stat.ino, writable=writable)
            self._mapped = ref(mapped)
        return mapped


class DirectoryFile(HostFile):
    """A directory. The host makes the records where it can and has all the names that there are.

    Else its entries are read all at once, when the first is asked for and again after a rewind.
    """

    __slots__ = ("_entries", "_position", "reads_records")

    has_positions = True

    def __init__(self, tree: HostTree, handle: Handle, path: bytes, flags: int, *, reads_records: bool = False) -> None:
        super().__init__(tree, handle, path, flags)
        self.reads_records = reads_records
        self._entries: list[tuple[bytes, int, int]] | None = None
        self._position = 0

    def can_poll(self) -> bool:
        return False

    def directory(self) -> Directory:
        return self.tree.directory_of(self._own(), self._path)

    def read(self, caller: Caller, views: Views) -> int:
        raise LinuxError(EISDIR)

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        raise LinuxError(EISDIR)

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        raise LinuxError(EBADF)

    def read_records(self, caller: Caller, views: Views) -> int:
        self.files.catch_up()
        read = caller.host.dirs.read
        if len(views) == 1:
            return read(self.fd, views[0])
        memory = bytearray(sum(map(len, views)))
        length = read(self.fd, memory)
        done = 0
        for view in views:
            view[:] = memory[done : done + len(view)]
            done += len(view)
        return length

    def entries(self, caller: Caller, limit: int) -> Sequence[tuple[bytes, int, int, int]]:
        if self._entries is None:
            self._entries = self._scan(caller)
        start = self._position
        found = self._entries[start : start + limit]
        return [(name, inode, kind, start + 1 + index) for index, (name, inode, kind) in enumerate(found)]

    def _scan(self, caller: Caller) -> list[tuple[bytes, int, int]]:
        """With the mount points here that the host does not have."""
        self.files.catch_up()
        entries = caller.host.dirs.scan(self.fd)
        if len(entries) == 2 and not self.files.fstat(self.fd).nlink:
            raise LinuxError(ENOENT)  # it was removed
        handle = self._own()
        entries = [entry for entry in entries if self.tree.shows(handle, entry[0])]
        below = caller.fs.mounts.below(self.path) if caller.fs.mounts.leads_to_mount(self._path) else ()
        if below or self._path == b"/":
            names = {name for name, _, _ in entries}
            for name, mount in below or caller.fs.mounts.below(b"/"):
                if name not in names:
                    entries.append((name, mount.id, DT_DIR))
        return entries

    def seek(self, offset: int, whence: int) -> int:
        if self.reads_records:
            return self.files.lseek(self.fd, offset, whence)
        offset = sought(offset, whence, self._position, len(self._entries or ()))
        if offset == 0:
            self.files.lseek(self.fd, 0, SEEK_SET)  # the host's own position means nothing here, but see noah.fs.cow
            self._entries = None
        self._position = offset
        return offset

    def sync(self, *, data_only: bool = False) -> None:
        self.files.fsync(self.fd)

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        return host_ioctl(self, caller, request, argument)

    def set_flags(self, flags: int) -> None:
        self.flags = self.flags & ~SETFL_MASK | flags


class Masked:
    """The guest's umask for one call that makes a file; else there is none, and what Noah makes has the mode it says.

    The host must know it: where the directory has a default access control list, the umask does not count (umask(2)).
    """

    __slots__ = ("_files", "_umask")

    def __init__(self, files: Files, umask: int) -> None:
        self._files = files
        self._umask = umask

    def __enter__(self) -> None:
        self._umask = self._files.umask(self._umask)

    def __exit__(self, *_: object) -> None:
        self._files.umask(self._umask)


def open_host(caller: Caller, files: Files, dirfd: int, name: bytes, flags: int, mode: int) -> int:
    """Open on the host without waiting, whatever the file is: make_file() does the waiting that the guest wants."""
    try:
        return _open(caller, files, dirfd, name, flags, mode)
    except LinuxError as error:
        if error.errno != ENXIO or flags & (O_NONBLOCK | O_PATH):
            raise
    while True:  # a FIFO to write to, which nobody reads yet (fifo(7)); or a socket
        if files.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW if flags & O_NOFOLLOW else 0).mode & S_IFMT != S_IFIFO:
            raise LinuxError(ENXIO)
        caller.wait((), caller.host.clock.clock_gettime(CLOCK_MONOTONIC) + FIFO_RETRY_NS)
        try:
            return _open(caller, files, dirfd, name, flags, mode)
        except LinuxError as error:
            if error.errno != ENXIO:
                raise


def _open(caller: Caller, files: Files, dirfd: int, name: bytes, flags: int, mode: int) -> int:
    if not flags & _MAKES:
        return files.openat(dirfd, name, flags | O_NONBLOCK)
    with Masked(files, caller.fs.umask):
        return files.openat(dirfd, name, flags | O_NONBLOCK, mode)


def make_file(caller: Caller, tree: HostTree, handle: Handle, path: bytes, flags: int, stat: Stat) -> OpenFile:
    """The OpenFile for a host descriptor that open_host() has opened with the guest's flags."""
    if flags & O_PATH:
        return HostFile(tree, handle, path, flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW))
    kind = stat.mode & S_IFMT
    if kind in (S_IFREG, S_IFBLK):
        return RegularFile(tree, handle, path, flags)
    if kind == S_IFDIR:
        has_all = not tree.filters and path != b"/" and not caller.fs.mounts.leads_to_mount(path)
        return DirectoryFile(tree, handle, path, flags, reads_records=has_all and caller.host.dirs.reads_records)
    return open_stream(caller, tree, handle, path, flags, stat)


def open_stream(caller: Caller, tree: HostTree, handle: Handle, path: bytes, flags: int, stat: Stat) -> OpenFile:
    """For a descriptor that was opened with O_NONBLOCK: wait as the guest's open(2) would, then clear it."""
    files = tree.files
    file = make_stream(tree, handle, path, flags, stat.mode & S_IFMT)
    if not flags & O_NONBLOCK:
        if stat.mode & S_IFMT == S_IFIFO and flags & O_ACCMODE == O_RDONLY:
            file.pushed_back = _wait_for_writer(caller, handle.number)
        files.set_flags(handle.number, files.get_flags(handle.number) & ~O_NONBLOCK & SETFL_MASK)
    if isinstance(file, TtyFile) and not flags & O_NOCTTY and flags & O_ACCMODE != O_WRONLY:
        file.become_controlling(caller)
    return file


def make_stream(tree: HostTree, handle: Handle, path: bytes, flags: int, kind: int) -> StreamFile:
    if kind == S_IFCHR:
        if tree.files.isatty(handle.number):
            return TtyFile(tree, handle, path, flags)
        return DeviceFile(tree, handle, path, flags)
    return StreamFile(tree, handle, path, flags)


def _wait_for_writer(caller: Caller, fd: int) -> bytes:
    """A FIFO was opened to read (fifo(7)): a writer is there if copying out of it fails for want of data only.

    A host that cannot copy has to read; if a byte should have come just then, it is returned.
    """
    files = caller.host.files
    clock = caller.host.clock
    ends = files.pipe()
    try:
        while True:
            try:
                if files.ioctl_fionread(fd) or files.tee(fd, ends[1], 1, SPLICE_F_NONBLOCK):
                    return b""
            except LinuxError as error:
                if error.errno == EAGAIN:
                    return b""
                if error.errno != EINVAL:
                    raise
                try:
                    if byte := files.read(fd, 1):
                        return byte
                except LinuxError:
                    return b""  # EAGAIN
            if caller.wait(((fd, POLLIN),), clock.clock_gettime(CLOCK_MONOTONIC) + FIFO_RETRY_NS):
                return b""
    finally:
        files.close_quietly(ends[0])
        files.close_quietly(ends[1])


def make_inherited(tree: HostTree, handle: Handle, flags: int, kind: int, path: bytes = b"") -> OpenFile:
    """A description that is not Noah's own: one that it was started with, or that has no way to be opened again."""
    if kind in (S_IFREG, S_IFBLK):
        return RegularFile(tree, handle, path, flags)
    if kind == S_IFDIR:
        return DirectoryFile(tree, handle, path, flags)
    return make_stream(tree, handle, path, flags, kind)
