"""eventfd(2), timerfd_create(2), epoll(7) and inotify(7) of a Linux host. See noah.host.api.Events."""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import inotify, poll
from noah.abi import time as linux_time
from noah.abi.time import NSEC_PER_SEC
from noah.host.linux.kernel import NUMBERS, syscall
from noah.host.posix.libc import LIBC, last_error
from noah.host.values import TimerState

_ITIMERSPEC: Final = struct.Struct("=qqqq")
_EVENT: Final = struct.Struct("=IQ" if "epoll_wait" in NUMBERS else "=I4xQ")  # packed on x86-64 alone
_FEW: Final = 1024  # events for which there is always room
_MOST: Final = 1 << 16  # events taken at once
_epoll_wait: Final = LIBC.epoll_wait
_epoll_wait.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
_epoll_ctl: Final = LIBC.epoll_ctl
_epoll_ctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_char_p]


class LinuxEvents:
    """See noah.host.api.Events."""

    __slots__ = ("_buffer", "_room")

    def __init__(self) -> None:
        self._room = _FEW
        self._buffer = ctypes.create_string_buffer(_EVENT.size * self._room)

    def eventfd(self, value: int, *, semaphore: bool) -> int:
        flags = poll.EFD_CLOEXEC | poll.EFD_NONBLOCK | (poll.EFD_SEMAPHORE if semaphore else 0)
        return syscall("eventfd2", value, flags)

    def timerfd_create(self, clock: int) -> int:
        return syscall("timerfd_create", clock, linux_time.TFD_CLOEXEC | linux_time.TFD_NONBLOCK)

    def timerfd_settime(self, fd: int, flags: int, value_ns: int, interval_ns: int) -> TimerState:
        old = ctypes.create_string_buffer(_ITIMERSPEC.size)
        new = _ITIMERSPEC.pack(*divmod(interval_ns, NSEC_PER_SEC), *divmod(value_ns, NSEC_PER_SEC))
        syscall("timerfd_settime", fd, flags, new, old)
        return _timer_state(old.raw)

    def timerfd_gettime(self, fd: int) -> TimerState:
        now = ctypes.create_string_buffer(_ITIMERSPEC.size)
        syscall("timerfd_gettime", fd, now)
        return _timer_state(now.raw)

    def epoll_create(self) -> int:
        return syscall("epoll_create1", poll.EPOLL_CLOEXEC)

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int, data: int) -> None:
        if _epoll_ctl(epfd, op, fd, _EVENT.pack(events, data)):
            raise last_error()

    def epoll_wait(self, epfd: int, limit: int) -> list[tuple[int, int]]:
        limit = min(limit, _MOST)
        if limit > self._room:
            self._room = limit
            self._buffer = ctypes.create_string_buffer(_EVENT.size * limit)
        count = _epoll_wait(epfd, self._buffer, limit, 0)
        if count < 0:
            raise last_error()
        if not count:
            return []
        return list(_EVENT.iter_unpack(memoryview(self._buffer)[: count * _EVENT.size]))

    def inotify_init(self) -> int:
        return syscall("inotify_init1", inotify.IN_CLOEXEC | inotify.IN_NONBLOCK)

    def inotify_add_watch(self, fd: int, target: int, mask: int) -> int:
        path = b"/proc/self/fd/%d" % target
        return syscall("inotify_add_watch", fd, path, mask & ~inotify.IN_DONT_FOLLOW)

    def inotify_rm_watch(self, fd: int, watch: int) -> None:
        syscall("inotify_rm_watch", fd, watch)


def _timer_state(raw: bytes) -> TimerState:
    interval, interval_ns, value, value_ns = _ITIMERSPEC.unpack(raw)
    return TimerState(value * NSEC_PER_SEC + value_ns, interval * NSEC_PER_SEC + interval_ns)
