"""Sockets: addresses are Linux' bytes, whatever the host."""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from noah.abi import socket as s
from noah.abi.errno import (
    EADDRINUSE,
    EAFNOSUPPORT,
    EAGAIN,
    ECONNREFUSED,
    EINVAL,
    ENOTCONN,
    ENOTSOCK,
    LinuxError,
)

from .conftest import closing
from .test_files import fails

if TYPE_CHECKING:
    from pathlib import Path

    from noah.host.api import Host

LOOPBACK = struct.pack("<H", s.AF_INET) + bytes(2) + bytes((127, 0, 0, 1)) + bytes(8)


def test_socketpair_sends_data_and_descriptors(host: Host, tmp_path: Path) -> None:
    sockets = host.sockets
    a, b = sockets.socketpair(s.AF_UNIX, s.SOCK_STREAM | s.SOCK_NONBLOCK)
    with closing(host, a, b):
        assert not os.get_inheritable(a)
        fails(EAGAIN, sockets.recvfrom, a, bytearray(1))
        (tmp_path / "f").write_bytes(b"content")
        with (tmp_path / "f").open("rb") as file:
            rights = (s.SOL_SOCKET, s.SCM_RIGHTS, array.array("i", [file.fileno()]).tobytes())
            assert sockets.sendmsg(a, [b"he", memoryview(b"llo")], [rights]) == 5
        first, rest = bytearray(2), bytearray(10)
        got = sockets.recvmsg(b, [first, rest], 64)
        assert (got.length, bytes(first), bytes(rest[:3])) == (5, b"he", b"llo")
        ((level, kind, data),) = got.control
        assert (level, kind) == (s.SOL_SOCKET, s.SCM_RIGHTS)
        (fd,) = struct.unpack("i", data)
        assert not os.get_inheritable(fd)
        assert os.read(fd, 10) == b"content"
        os.close(fd)
        sockets.shutdown(a, 1)
        assert sockets.recvmsg(b, [rest]).length == 0


def test_datagrams_are_cut_off_with_msg_trunc(host: Host) -> None:
    a, b = host.sockets.socketpair(s.AF_UNIX, s.SOCK_DGRAM)
    with closing(host, a, b):
        assert host.sockets.sendto(a, b"12345") == 5
        got = host.sockets.recvmsg(b, [bytearray(2)], 0, s.MSG_PEEK)
        assert (got.length, got.flags & s.MSG_TRUNC) == (2, s.MSG_TRUNC)
        assert host.sockets.recvfrom(b, bytearray(10), s.MSG_DONTWAIT)[0] == 5
        fails(EAGAIN, host.sockets.recvfrom, b, bytearray(10), s.MSG_DONTWAIT)


def test_tcp_on_the_loopback(host: Host) -> None:
    sockets = host.sockets
    listener = sockets.socket(s.AF_INET, s.SOCK_STREAM)
    client = sockets.socket(s.AF_INET, s.SOCK_STREAM)
    with closing(host, listener, client):
        sockets.setsockopt(listener, s.SOL_SOCKET, s.SO_REUSEADDR, struct.pack("i", 1))
        assert sockets.getsockopt(listener, s.SOL_SOCKET, s.SO_REUSEADDR, 4) == struct.pack("i", 1)
        assert sockets.getsockopt(listener, s.SOL_SOCKET, s.SO_TYPE, 4) == struct.pack("i", s.SOCK_STREAM)
        sockets.bind(listener, LOOPBACK)
        sockets.listen(listener, 5)
        address = sockets.getsockname(listener)
        assert address[:2] == LOOPBACK[:2]
        assert len(address) == 16
        fails(EADDRINUSE, sockets.bind, client, address)
        fails(ENOTCONN, sockets.getpeername, client)
        sockets.connect(client, address)
        assert sockets.getpeername(client) == address
        accepted, peer = sockets.accept(listener, s.SOCK_NONBLOCK)
        with closing(host, accepted):
            assert peer == sockets.getsockname(client)
            fails(EAGAIN, host.files.read, accepted, 1)
            sockets.setsockopt(client, s.IPPROTO_TCP, s.TCP_NODELAY, struct.pack("i", 1))
            assert host.files.write(client, b"x") == 1
            assert host.poller.poll([(accepted, 1)], 10**9, signals=False)[0]
            assert host.files.readv(accepted, [bytearray(4)]) == 1


def test_udp_tells_the_sender(host: Host) -> None:
    sockets = host.sockets
    a, b = (sockets.socket(s.AF_INET, s.SOCK_DGRAM) for _ in range(2))
    with closing(host, a, b):
        sockets.bind(a, LOOPBACK)
        sockets.bind(b, LOOPBACK)
        assert sockets.sendto(a, b"hi", 0, sockets.getsockname(b)) == 2
        assert sockets.recvfrom(b, bytearray(5)) == (2, sockets.getsockname(a))


def test_ipv6_addresses(host: Host) -> None:
    if not socket.has_ipv6:
        pytest.skip("the host has no IPv6")
    sockets = host.sockets
    fd = sockets.socket(s.AF_INET6, s.SOCK_DGRAM)
    address = struct.pack("<H", s.AF_INET6) + struct.pack(">HI", 0, 0) + bytes(15) + b"\1" + bytes(4)
    with closing(host, fd):
        try:
            sockets.bind(fd, address)
        except LinuxError:
            pytest.skip("the host has no IPv6 loopback")
        name = sockets.getsockname(fd)
        assert (len(name), name[:2], name[8:24]) == (28, address[:2], address[8:24])


def test_unix_names(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sockets = host.sockets
    server, client = (sockets.socket(s.AF_UNIX, s.SOCK_STREAM) for _ in range(2))
    address = struct.pack("<H", s.AF_UNIX) + b"name\0"
    with closing(host, server, client):
        fails(ECONNREFUSED if (tmp_path / "name").exists() else 2, sockets.connect, client, address)
        sockets.bind(server, address)
        fails(ECONNREFUSED, sockets.connect, client, address)
        sockets.listen(server, 1)
        sockets.connect(client, address)
        assert sockets.getpeername(client) == address
        assert sockets.getsockname(client) == struct.pack("<H", s.AF_UNIX)
    assert (tmp_path / "name").is_socket()


def test_failures(host: Host, dirfd: int) -> None:
    sockets = host.sockets
    fails(ENOTSOCK, sockets.listen, dirfd, 1)
    fails(ENOTSOCK, sockets.getsockname, dirfd)
    fails(EAFNOSUPPORT, sockets.socket, 99, s.SOCK_STREAM)
    a, b = sockets.socketpair(s.AF_UNIX, s.SOCK_STREAM)
    with closing(host, a, b):
        fails(EINVAL, sockets.shutdown, a, 5)
        with pytest.raises(LinuxError):
            sockets.getsockopt(a, s.SOL_SOCKET, 9999, 4)


def test_pending_error_of_a_socket_is_a_linux_number(host: Host) -> None:
    sockets = host.sockets
    unused = sockets.socket(s.AF_INET, s.SOCK_DGRAM)
    fd = sockets.socket(s.AF_INET, s.SOCK_DGRAM)
    with closing(host, fd, unused):
        sockets.bind(unused, LOOPBACK)
        address = sockets.getsockname(unused)
        host.files.close(unused)
        sockets.connect(fd, address)
        host.files.write(fd, b"x")
        host.poller.poll([(fd, 1)], 10**9, signals=False)
        error = sockets.getsockopt(fd, s.SOL_SOCKET, s.SO_ERROR, 4)
        assert struct.unpack("i", error) == (ECONNREFUSED,)
