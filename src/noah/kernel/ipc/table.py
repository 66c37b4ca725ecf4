"""Tables of System V IPC objects: keys, ids and permissions (ipc/util.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

from noah.abi.capability import CAP_IPC_OWNER, CAP_SYS_ADMIN
from noah.abi.errno import EACCES, EEXIST, EIDRM, EINVAL, ENOENT, ENOSPC, EPERM, LinuxError
from noah.abi.ipc import IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IPCMNI_SHIFT
from noah.abi.ipcstructs import IpcPerm
from noah.abi.time import CLOCK_REALTIME, NSEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noah.kernel.ipc.store import Kind, Store
    from noah.kernel.task import Task
    from noah.vfs.credentials import Credentials

_INDEX: Final = (1 << IPCMNI_SHIFT) - 1
_SEQ: Final = (1 << 16) - 1
_MODE: Final = 0o777


class Object:
    """What all kinds have (struct kern_ipc_perm). `FIELDS` are kept, in this order."""

    __slots__ = ("cgid", "cuid", "gid", "index", "key", "mode", "seq", "uid")

    FIELDS: ClassVar[tuple[str, ...]] = ("key", "uid", "gid", "cuid", "cgid", "mode", "seq")

    key: int
    uid: int
    gid: int
    cuid: int
    cgid: int
    mode: int
    seq: int

    def __init__(self, index: int) -> None:
        self.index = index

    @property
    def id(self) -> int:
        return self.seq << IPCMNI_SHIFT | self.index

    @classmethod
    def from_state(cls, index: int, state: list[Any]) -> Self:
        made = cls(index)
        for name, value in zip(cls.FIELDS, state, strict=True):
            setattr(made, name, value)
        return made

    def state(self) -> list[Any]:
        return [getattr(self, name) for name in self.FIELDS]

    def check(self, creds: Credentials, wanted: int) -> None:
        """EACCES unless the caller has these permission bits, in any of the three places (ipcperms())."""
        wanted = (wanted >> 6 | wanted >> 3 | wanted) & 7
        granted = self.mode
        if creds.euid in (self.uid, self.cuid):
            granted >>= 6
        elif creds.in_group(self.gid) or creds.in_group(self.cgid):
            granted >>= 3
        if wanted & ~granted and not creds.capable(CAP_IPC_OWNER):
            raise LinuxError(EACCES)

    def check_owner(self, creds: Credentials) -> None:
        """For IPC_SET and IPC_RMID (ipcctl_obtain_check())."""
        if creds.euid not in (self.uid, self.cuid) and not creds.capable(CAP_SYS_ADMIN):
            raise LinuxError(EPERM)

    def set_owner(self, perm: IpcPerm) -> None:
        """IPC_SET (ipc_update_perm())."""
        if 0xFFFF_FFFF in (perm.uid, perm.gid):
            raise LinuxError(EINVAL)
        self.uid, self.gid = perm.uid, perm.gid
        self.mode = self.mode & ~_MODE | perm.mode & _MODE

    def perm(self) -> bytes:
        """struct ipc64_perm"""
        return IpcPerm.struct.pack(self.key, self.uid, self.gid, self.cuid, self.cgid, self.mode, self.seq)


_T = TypeVar("_T", bound=Object)


class Table(Generic[_T]):
    """All objects of a kind. Everything here is to be done with the store's lock on that kind: `with table:`."""

    __slots__ = ("_limit", "_type", "kind", "store")

    def __init__(self, store: Store, kind: Kind, type: type[_T], limit: int) -> None:
        self.store = store
        self.kind = kind
        self._type = type
        self._limit = limit

    def __enter__(self) -> None:
        self.store.acquire(self.kind)

    def __exit__(self, *error: object) -> None:
        self.store.release(self.kind)

    def _directory(self) -> tuple[int, int, dict[int, int]]:
        """The last index given, the sequence number, and the keys by index."""
        return self.store.load(self.kind) or (-1, 0, {})

    def indices(self) -> list[int]:
        return sorted(self._directory()[2])

    def all(self) -> Iterator[_T]:
        for index in self.indices():
            yield self._load(index)

    def _load(self, index: int) -> _T:
        return self._type.from_state(index, self.store.load(self.kind, index))

    def save(self, found: _T, *, wake: bool = False) -> None:
        self.store.save(self.kind, found.state(), found.index)
        if wake:
            self.store.note_change(self.kind, found.index)

    def find(self, id: int, missing: int = EINVAL) -> _T:
        """By id. EINVAL for one that there never was, EIDRM for one that is gone (ipc_obtain_object_check())."""
        if id < 0 or id & _INDEX not in self._directory()[2]:
            raise LinuxError(missing)
        found = self._load(id & _INDEX)
        if found.id != id:
            raise LinuxError(EIDRM)
        return found

    def at(self, index: int) -> _T:
        """By index in the table, for the *_STAT commands."""
        if index & _INDEX not in self._directory()[2]:
            raise LinuxError(EINVAL)
        return self._load(index & _INDEX)

    def get(self, task: Task, key: int, flags: int, fits: Callable[[_T], None], make: Callable[[_T], None]) -> _T:
        """The object of a key, or a new one (ipcget()). fits: raises for one that is not as wanted; make: fills a new
        one."""
        if key == IPC_PRIVATE:
            return self.make(task, key, flags, make)
        index = next((index for index, other in self._directory()[2].items() if other == key), None)
        if index is None:
            if not flags & IPC_CREAT:
                raise LinuxError(ENOENT)
            return self.make(task, key, flags, make)
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise LinuxError(EEXIST)
        found = self._load(index)
        fits(found)
        found.check(task.creds, flags)
        return found

    def make(self, task: Task, key: int, flags: int, make: Callable[[_T], None]) -> _T:
        """A new object, which `make` fills. ENOSPC."""
        last, seq, keys = self._directory()
        if len(keys) >= self._limit:
            raise LinuxError(ENOSPC)
        index = next(index for index in range(self._limit) if index not in keys)
        if index <= last:  # ipc_idr_alloc()
            seq = seq + 1 & _SEQ
        made = self._type(index)
        creds = task.creds
        made.key, made.mode, made.seq = key, flags & _MODE, seq
        made.uid = made.cuid = creds.euid
        made.gid = made.cgid = creds.egid
        make(made)
        self.save(made)
        self.store.save(self.kind, (index, seq, {**keys, index: key}))
        return made

    def forget_key(self, found: _T) -> None:
        """The object stays, and nobody finds it by its key any more."""
        last, seq, keys = self._directory()
        self.store.save(self.kind, (last, seq, {**keys, found.index: IPC_PRIVATE}))
        found.key = IPC_PRIVATE

    def remove(self, found: _T) -> None:
        last, seq, keys = self._directory()
        del keys[found.index]
        self.store.save(self.kind, (last, seq, keys))
        self.store.note_change(self.kind, found.index)


def now(store: Store) -> int:
    """ktime_get_real_seconds()"""
    return store.host.clock.clock_gettime(CLOCK_REALTIME) // NSEC_PER_SEC
