"""POSIX has no descriptors for events: noah.fs makes them up out of what there is."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import ENOSYS, LinuxError
from noah.host.values import TimerState

_WHY: Final = "no such descriptors on this host"


class PosixEvents:
    """See noah.host.api.Events."""

    __slots__ = ()

    def eventfd(self, value: int, *, semaphore: bool) -> int:
        raise LinuxError(ENOSYS, _WHY)

    def timerfd_create(self, clock: int) -> int:
        raise LinuxError(ENOSYS, _WHY)

    def timerfd_settime(self, fd: int, flags: int, value_ns: int, interval_ns: int) -> TimerState:
        raise LinuxError(ENOSYS, _WHY)

    def timerfd_gettime(self, fd: int) -> TimerState:
        raise LinuxError(ENOSYS, _WHY)

    def epoll_create(self) -> int:
        raise LinuxError(ENOSYS, _WHY)

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int, data: int) -> None:
        raise LinuxError(ENOSYS, _WHY)

    def epoll_wait(self, epfd: int, limit: int) -> list[tuple[int, int]]:
        raise LinuxError(ENOSYS, _WHY)

    def inotify_init(self) -> int:
        raise LinuxError(ENOSYS, _WHY)

    def inotify_add_watch(self, fd: int, target: int, mask: int) -> int:
        raise LinuxError(ENOSYS, _WHY)

    def inotify_rm_watch(self, fd: int, watch: int) -> None:
        raise LinuxError(ENOSYS, _WHY)
