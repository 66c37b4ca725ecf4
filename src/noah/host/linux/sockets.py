"""Sockets of a Linux host: the kernel's own calls, addresses and options as they are."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import socket as linux
from noah.abi.errno import LinuxError
from noah.abi.signal import SIGEV_THREAD
from noah.host.linux.kernel import syscall
from noah.host.values import Received

if TYPE_CHECKING:
    from noah.host.api import Buffer, Data
    from noah.host.values import Interface


_ADDRESS_SIZE: Final = 128  # struct sockaddr_storage
_MSGHDR: Final = struct.Struct("=QI4xQQQQi4x")  # name, its length, iov, count, control, its length, flags
_IOVEC: Final = struct.Struct("=QQ")
_MQ_ATTR: Final = struct.Struct("=4q32x")  # flags, maxmsg, msgsize, curmsgs
_SIGEVENT: Final = struct.Struct("=Qii48x")  # value, signo, notify
_CMSG: Final = struct.Struct("=Qii")


class LinuxSockets:
    """See noah.host.api.Sockets."""

    __slots__ = ()

    def socket(self, domain: int, type: int, protocol: int = 0) -> int:
        return syscall("socket", domain, type | linux.SOCK_CLOEXEC, protocol)

    def socketpair(self, domain: int, type: int, protocol: int = 0) -> tuple[int, int]:
        pair = (ctypes.c_int * 2)()
        syscall("socketpair", domain, type | linux.SOCK_CLOEXEC, protocol, pair)
        return pair[0], pair[1]

    def bind(self, fd: int, address: bytes) -> None:
        syscall("bind", fd, address, len(address))

    def connect(self, fd: int, address: bytes) -> None:
        syscall("connect", fd, address, len(address))

    def listen(self, fd: int, backlog: int) -> None:
        syscall("listen", fd, backlog)

    def accept(self, fd: int, flags: int = 0) -> tuple[int, bytes]:
        buffer, length = ctypes.create_string_buffer(_ADDRESS_SIZE), ctypes.c_uint32(_ADDRESS_SIZE)
        new = syscall("accept4", fd, buffer, ctypes.byref(length), flags | linux.SOCK_CLOEXEC)
        return new, buffer.raw[: length.value]

    def sendto(self, fd: int, data: Data, flags: int = 0, address: bytes = b"") -> int:
        return self.sendmsg(fd, [data], (), flags, address)

    def recvfrom(self, fd: int, view: Buffer, flags: int = 0) -> tuple[int, bytes]:
        received = self.recvmsg(fd, [view], 0, flags)
        return received.length, received.address

    def sendmsg(
        self,
        fd: int,
        views: Sequence[Data],
        control: Sequence[tuple[int, int, bytes]] = (),
        flags: int = 0,
        address: bytes = b"",
    ) -> int:
        vectors, keep = _vectors(views)
        cmsgs = b"".join(
            _padded(_CMSG.pack(_CMSG.size + len(data), level, kind) + data) for level, kind, data in control
        )
        name = ctypes.create_string_buffer(address, len(address)) if address else None
        ancillary = ctypes.create_string_buffer(cmsgs, len(cmsgs)) if cmsgs else None
        header = _MSGHDR.pack(
            ctypes.addressof(name) if name else 0,
            len(address),
            ctypes.addressof(vectors),
            len(views),
            ctypes.addressof(ancillary) if ancillary else 0,
            len(cmsgs),
            0,
        )
        count = syscall("sendmsg", fd, header, flags)
        del keep
        return count

    def recvmsg(self, fd: int, views: Sequence[Buffer], control_size: int = 0, flags: int = 0) -> Received:
        vectors, keep = _vectors(views)
        name = ctypes.create_string_buffer(_ADDRESS_SIZE)
        ancillary = ctypes.create_string_buffer(control_size) if control_size else None
        header = ctypes.create_string_buffer(
            _MSGHDR.pack(
                ctypes.addressof(name),
                _ADDRESS_SIZE,
                ctypes.addressof(vectors),
                len(views),
                ctypes.addressof(ancillary) if ancillary else 0,
                control_size,
                0,
            ),
            _MSGHDR.size,
        )
        length = syscall("recvmsg", fd, header, flags | linux.MSG_CMSG_CLOEXEC)
        del keep
        _, name_length, _, _, _, control_length, got_flags = _MSGHDR.unpack(header)
        control = _parse(ancillary.raw[:control_length]) if ancillary else []
        return Received(length, control, got_flags & ~linux.MSG_CMSG_CLOEXEC, name.raw[:name_length])

    def getsockopt(self, fd: int, level: int, option: int, size: int) -> bytes:
        buffer, length = ctypes.create_string_buffer(size), ctypes.c_uint32(size)
        syscall("getsockopt", fd, level, option, buffer, ctypes.byref(length))
        return buffer.raw[: length.value]

    def setsockopt(self, fd: int, level: int, option: int, value: bytes) -> None:
        syscall("setsockopt", fd, level, option, value, len(value))

    def getsockname(self, fd: int) -> bytes:
        return _name("getsockname", fd)

    def getpeername(self, fd: int) -> bytes:
        return _name("getpeername", fd)

    def shutdown(self, fd: int, how: int) -> None:
        syscall("shutdown", fd, how)

    def notifier(self, fd: int, cookie: bytes) -> int:
        """By a message queue of the host's, for one message."""
        name = b"noah-" + os.urandom(16).hex().encode()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NONBLOCK
        queue = syscall("mq_open", name, flags, 0o600, _MQ_ATTR.pack(0, 1, 1, 0))
        try:
            syscall("mq_unlink", name)
            data = ctypes.create_string_buffer(cookie, len(cookie))
            syscall("mq_notify", queue, _SIGEVENT.pack(ctypes.addressof(data), fd, SIGEV_THREAD))
        except LinuxError:
            os.close(queue)
            raise
        return queue

    def fire_notifier(self, notifier: int) -> None:
        syscall("mq_timedsend", notifier, b"!", 1, 0, None)

    def interfaces(self) -> list[Interface]:
        from noah.host.posix.interfaces import interfaces  # few programs ask, and it takes Python's own sockets

        return interfaces()


def _name(call: str, fd: int) -> bytes:
    buffer, length = ctypes.create_string_buffer(_ADDRESS_SIZE), ctypes.c_uint32(_ADDRESS_SIZE)
    syscall(call, fd, buffer, ctypes.byref(length))
    return buffer.raw[: length.value]


def _vectors(views: Sequence[Data]) -> tuple[ctypes.Array[ctypes.c_char], list[Any]]:
    """The array of struct iovec, and what must live as long as it is used."""
    keep: list[Any] = []
    packed = bytearray()
    for view in views:
        size = len(view)
        memory: Any
        if size and not memoryview(view).readonly:
            memory = (ctypes.c_char * size).from_buffer(view)
        else:
            memory = ctypes.create_string_buffer(bytes(view), size or 1)
        keep.append(memory)
        packed += _IOVEC.pack(ctypes.addressof(memory), size)
    return ctypes.create_string_buffer(bytes(packed), len(packed) or 1), keep


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _parse(data: bytes) -> list[tuple[int, int, bytes]]:
    """Control messages, the last one cut off where the buffer was too small (MSG_CTRUNC)."""
    result = []
    at = 0
    while at + _CMSG.size <= len(data):
        length, level, kind = _CMSG.unpack_from(data, at)
        if length < _CMSG.size:
            break
        result.append((level, kind, data[at + _CMSG.size : at + length]))
        at += length + -length % 8
    return result
