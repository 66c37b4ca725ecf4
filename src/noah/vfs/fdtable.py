"""FdTable: the descriptors of a process. Guest descriptors have nothing to do with the numbers of host descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from noah.abi.errno import EBADF, EINVAL, EMFILE, LinuxError

if TYPE_CHECKING:
    from noah.vfs.file import OpenFile


class FdTable:
    """Descriptors 0 to `limit` - 1 (RLIMIT_NOFILE). Each holds one reference of its OpenFile."""

    __slots__ = ("_cloexec", "_files", "_lowest", "_shown", "limit")

    def __init__(self, limit: int = 1024) -> None:
        self.limit = limit
        self._files: list[OpenFile | None] = []
        self._cloexec: set[int] = set()
        self._lowest = 0  # no descriptor below is free
        self._shown: memoryview | None = None

    def show(self, numbers: memoryview, *, current: bool = False) -> None:
        """Keep the host's number + 1 of each of the first descriptors there, for other processes; 0: not open.

        `current`: they are there already.
        """
        self._shown = numbers
        if current:
            return
        for fd in range(len(numbers)):
            file = self._files[fd] if fd < len(self._files) else None
            numbers[fd] = file.poll_fd + 1 & 0xFFFF_FFFF if file is not None else 0

    def _note(self, fd: int, number: int) -> None:
        shown = self._shown
        if shown is not None and fd < len(shown):
            shown[fd] = number

    def get(self, fd: int) -> OpenFile:
        """EBADF for a descriptor that is not open."""
        if 0 <= fd < len(self._files):
            file = self._files[fd]
            if file is not None:
                return file
        raise LinuxError(EBADF)

    def install(self, file: OpenFile, *, cloexec: bool = False, minimum: int = 0) -> int:
        """Give `file`, with the caller's reference, the lowest free descriptor from minimum on.

        EMFILE at the limit; the reference is dropped then.
        """
        files = self._files
        fd = lowest = self._lowest if minimum <= self._lowest else minimum
        count = len(files)
        while fd < count and files[fd] is not None:
            fd += 1
        if fd >= self.limit:
            file.release()
            raise LinuxError(EMFILE)
        while fd >= len(files):
            files.append(None)
        files[fd] = file
        self._note(fd, file.poll_fd + 1)
        if lowest == self._lowest:
            self._lowest = fd + 1
        if cloexec:
            self._cloexec.add(fd)
        return fd

    def replace(self, fd: int, file: OpenFile, *, cloexec: bool = False) -> int:
        """dup2(2): `file`, with the caller's reference, becomes `fd`; what was there is closed."""
        if not 0 <= fd < self.limit:
            file.release()
            raise LinuxError(EBADF)
        files = self._files
        while fd >= len(files):
            files.append(None)
        old = files[fd]
        files[fd] = file
        self._note(fd, file.poll_fd + 1)
        if cloexec:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)
        if old is not None:
            old.release()
        return fd

    def close(self, fd: int) -> None:
        self._take(fd).release()

    def _take(self, fd: int) -> OpenFile:
        file = self.get(fd)
        self._files[fd] = None
        self._note(fd, 0)
        self._cloexec.discard(fd)
        if fd < self._lowest:
            self._lowest = fd
        return file

    def is_cloexec(self, fd: int) -> bool:
        self.get(fd)
        return fd in self._cloexec

    def set_cloexec(self, fd: int, on: bool) -> None:
        self.get(fd)
        if on:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)

    def set_cloexec_range(self, first: int, last: int) -> None:
        self._cloexec.update(fd for fd, _ in self.items() if first <= fd <= last)

    def check_minimum(self, fd: int) -> None:
        """EINVAL for what F_DUPFD does not take as its lowest descriptor."""
        if not 0 <= fd < self.limit:
            raise LinuxError(EINVAL)

    def items(self) -> Iterator[tuple[int, OpenFile]]:
        """Open descriptors, ascending."""
        for fd, file in enumerate(tuple(self._files)):
            if file is not None:
                yield fd, file

    def number_of(self, host_fd: int) -> int:
        """The first descriptor whose file is this one of the host; the same number where there is none."""
        return next((fd for fd, file in self.items() if file.poll_fd == host_fd), host_fd)

    def close_on_exec(self) -> None:
        self._close(sorted(self._cloexec))

    def close_range(self, first: int, last: int) -> None:
        self._close([fd for fd, _ in self.items() if first <= fd <= last])

    def close_all(self) -> None:
        self._close([fd for fd, _ in self.items()])

    def copy(self) -> FdTable:
        """For a process that is to have its own table (CLOSE_RANGE_UNSHARE, clone(2) without CLONE_FILES)."""
        other = FdTable(self.limit)
        other._files = [file and file.acquire() for file in self._files]
        other._cloexec = set(self._cloexec)
        other._lowest = self._lowest
        return other

    def lead(self, before: FdTable) -> None:
        """Be shown to other processes in another table's place."""
        if before is not self and before._shown is not None:
            self.show(before._shown)
            before._shown = None

    def succeed(self, other: FdTable) -> None:
        """In the process of a vfork child, which used this copy of its parent's table in its parent's place."""
        other._shown = None
        other.close_all()
        if self._shown is not None:
            self.show(self._shown)

    def _close(self, fds: list[int]) -> None:
        """Close many; an error of one (EIO of a network file system) does not keep the others open."""
        for fd in fds:
            try:
                self.close(fd)
            except LinuxError:
                continue
