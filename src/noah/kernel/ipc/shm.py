"""Shared memory segments (shmget(2)): ranges of the store's file, which guests map (ipc/shm.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from noah.abi.errno import EINVAL, ENOMEM, ENOSPC, ENXIO, LinuxError
from noah.abi.fcntl import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, SEEK_DATA, SEEK_HOLE
from noah.abi.ipc import SHM_DEST, SHM_HUGETLB, SHM_NORESERVE, SHMMAX, SHMMIN, SHMMNI
from noah.kernel.ipc.store import SEGMENTS, SHM, Store
from noah.kernel.ipc.table import Object, Table, now
from noah.mm.vma import MappedFile, page_align

if TYPE_CHECKING:
    from noah.host.api import Files
    from noah.kernel.task import Task

_DEVICE: Final = 1


class Segment(Object):
    """One segment. `attached`: how often each process has it."""

    __slots__ = ("atime", "attached", "cpid", "ctime", "dtime", "lpid", "place", "size")

    FIELDS: ClassVar = (*Object.FIELDS, "size", "place", "atime", "dtime", "ctime", "cpid", "lpid", "attached")

    size: int
    place: int  # in the file
    atime: int
    dtime: int
    ctime: int
    cpid: int
    lpid: int
    attached: dict[int, int]

    @property
    def count(self) -> int:
        return sum(self.attached.values())


class Attached(MappedFile):
    """What one shmat(2) has mapped. When the last area of it is gone, it is detached."""

    __slots__ = ("_segments", "_size", "id")

    def __init__(self, files: Files, segments: Segments, segment: Segment, *, writable: bool) -> None:
        fd = segments.store.fd
        path = b"/SYSV%08x (deleted)" % (segment.key & 0xFFFF_FFFF)
        super().__init__(files, fd, path, _DEVICE, segment.id, writable=writable)
        self._segments = segments
        self._size = page_align(segment.size)
        self.base = segments.store.base + segment.place
        self.id = segment.id

    def size(self) -> int:
        return self._size

    def __del__(self) -> None:
        self._segments.detach(self.id)


class Segments(Table[Segment]):
    """All segments of a box."""

    __slots__ = ("_files", "_own")

    def __init__(self, store: Store, files: Files) -> None:
        super().__init__(store, SHM, Segment, SHMMNI)
        self._files = files
        self._own: dict[int, int] = {}  # how often this process has each, by id

    def open(self, task: Task, key: int, size: int, flags: int) -> int:
        """shmget(2)"""

        def fits(found: Segment) -> None:
            if found.size < size:
                raise LinuxError(EINVAL)

        def make(made: Segment) -> None:
            if not SHMMIN <= size <= SHMMAX:
                raise LinuxError(EINVAL)
            if flags & SHM_HUGETLB:
                raise LinuxError(ENOMEM, "no huge pages are reserved")
            length = page_align(size)
            if length < size:
                raise LinuxError(ENOSPC)
            if length > task.space.ram and not flags & SHM_NORESERVE:
                raise LinuxError(ENOMEM, "more than the host's memory")
            made.size = size
            made.place = self._find_room(length)
            made.atime = made.dtime = made.lpid = 0
            made.ctime, made.cpid = now(self.store), task.pid
            made.attached = {}

        with self:
            for each in self.all():
                self.bury(each)
            return self.get(task, key, flags, fits, make).id

    def _find_room(self, length: int) -> int:
        """The lowest free range of the file. Whatever was there is gone: see _destroy()."""
        at = SEGMENTS
        for each in sorted(self.all(), key=lambda segment: segment.place):
            if each.place - at >= length:
                break
            at = each.place + page_align(each.size)
        if self.store.base + at + length > self._files.fstat(self.store.fd).size:
            raise LinuxError(ENOMEM)
        return at

    def current(self, id: int) -> Segment:
        """A segment as it is after the dead were detached."""
        found = self.find(id)
        if self.bury(found):
            raise LinuxError(EINVAL)
        return found

    def bury(self, found: Segment) -> bool:
        """Detach processes that are dead. Whether that was its end."""
        dead = [pid for pid in found.attached if not self.store.lives(pid)]
        for pid in dead:
            del found.attached[pid]
        return self._settle(found) if dead else False

    def _settle(self, found: Segment) -> bool:
        """After a detach: keep the new state, or destroy what nobody may attach any more."""
        if found.mode & SHM_DEST and not found.attached:
            self.remove(found)
            self._destroy(found)
            return True
        self.save(found)
        return False

    def _destroy(self, found: Segment) -> None:
        """Give the memory back: who gets the range next finds zeros."""
        start, length = self.store.base + found.place, page_align(found.size)
        try:
            self._files.fallocate(self.store.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, length)
        except LinuxError:  # not on this host
            self.store.host.mem.clear(self.store.fd, start, length)

    def attach(self, task: Task, found: Segment, *, writable: bool) -> Attached:
        """What shmat(2) maps. With the lock held."""
        self.store.announce()
        self._own[found.id] = self._own.get(found.id, 0) + 1
        found.attached[task.pid] = self._own[found.id]
        found.lpid, found.atime = task.pid, now(self.store)
        self.save(found)
        return Attached(self._files, self, found, writable=writable)

    def detach(self, id: int) -> None:
        """shmdt(2), or munmap(2), or the end of a program."""
        with self:
            count = self._own.pop(id, 0) - 1
            if count > 0:
                self._own[id] = count
            try:
                found = self.find(id)
            except LinuxError:
                return
            pid = self.store.pid
            if count > 0:
                found.attached[pid] = count
            else:
                found.attached.pop(pid, None)
            found.lpid, found.dtime = pid, now(self.store)
            self._settle(found)

    def resident(self, found: Segment) -> int:
        """Bytes that there are pages for, as the host's file system tells; all where it does not tell."""
        end = found.place + page_align(found.size)
        at, total = found.place, 0
        try:
            while at < end:
                start = self._files.lseek(self.store.fd, self.store.base + at, SEEK_DATA) - self.store.base
                if start >= end:
                    break
                at = self._files.lseek(self.store.fd, self.store.base + start, SEEK_HOLE) - self.store.base
                total += min(at, end) - start
        except LinuxError as error:
            return total if error.errno == ENXIO else page_align(found.size)
        return total

    def mark(self, found: Segment) -> None:
        """IPC_RMID: destroy it now, or with its last user (do_shm_rmid())."""
        found.mode |= SHM_DEST
        self.forget_key(found)
        self._settle(found)

    @property
    def is_used(self) -> bool:
        """Whether this process has any."""
        return bool(self._own)

    def after_fork(self) -> None:
        """In the child: it has what its parent has, which waits for this (see kernel.fork)."""
        if not self._own:
            return
        self.store.announce()
        with self:
            for id, count in self._own.items():
                found = self.find(id)
                found.attached[self.store.pid] = count
                self.save(found)

    def end(self) -> None:
        """The process ends."""
        for id in list(self._own):
            self._own[id] = 1
            self.detach(id)
