"""What files show of the IPC objects of a box: /proc/sysvipc (sysvipc(7)) and /dev/mqueue (mq_overview(7))."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.kernel.ipc.process import Ipc, ipc_of

if TYPE_CHECKING:
    from noah.kernel.ipc.table import Object
    from noah.kernel.task import Process, Task

_MSG: Final = (
    "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime"
    "      ctime\n"
)
_SEM: Final = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
_SHM: Final = (
    "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime"
    "      ctime                   rss                  swap\n"
)


def _head(found: Object) -> str:
    return f"{found.key:10d} {found.id:10d}  {found.mode:4o} "


def _ids(found: Object) -> str:
    return " ".join(f"{value:5d}" for value in (found.uid, found.gid, found.cuid, found.cgid))


def _msg(ipc: Ipc) -> Iterable[str]:
    with ipc.queues:
        for each in ipc.queues.all():
            numbers = f"{each.cbytes:10d} {len(each.messages):10d} {each.lspid:5d} {each.lrpid:5d}"
            yield f"{_head(each)} {numbers} {_ids(each)} {each.stime:10d} {each.rtime:10d} {each.ctime:10d}\n"


def _sem(ipc: Ipc) -> Iterable[str]:
    with ipc.semaphores:
        for each in ipc.semaphores.all():
            yield f"{_head(each)}{len(each.values):10d} {_ids(each)} {each.otime:10d} {each.ctime:10d}\n"


def _shm(ipc: Ipc) -> Iterable[str]:
    segments = ipc.segments
    with segments:
        for each in segments.all():
            if segments.bury(each):
                continue
            processes = f"{each.cpid:5d} {each.lpid:5d}  {each.count:5d}"
            times = f"{each.atime:10d} {each.dtime:10d} {each.ctime:10d}"
            resident = segments.resident(each)
            yield f"{_head(each)}{each.size:21d} {processes} {_ids(each)} {times} {resident:21d} {0:21d}\n"


_FILES: Final[dict[bytes, tuple[str, Callable[[Ipc], Iterable[str]]]]] = {
    b"msg": (_MSG, _msg),
    b"sem": (_SEM, _sem),
    b"shm": (_SHM, _shm),
}


def sysvipc(process: Process, name: bytes) -> bytes:
    """A file of /proc/sysvipc."""
    header, lines = _FILES[name]
    return (header + "".join(lines(ipc_of(process)))).encode()


class ShownQueue(NamedTuple):
    """A POSIX message queue as a file in /dev/mqueue."""

    name: bytes
    mode: int
    owner: tuple[int, int]
    content: bytes


def mqueues(process: Process) -> list[ShownQueue]:
    """All that have a name."""
    queues = ipc_of(process).mqueues
    with queues:
        found = [queues.current(each.index) for each in queues.all() if each.name]
    return [ShownQueue(each.name, each.mode, (each.uid, each.gid), each.text()) for each in found]


def unlink(task: Task, name: bytes) -> None:
    """What unlink(2) does there."""
    ipc_of(task.process).mqueues.unlink(task, name)
