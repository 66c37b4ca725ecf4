"""Ports that are others on the host: what a program says, what the host is told, and back."""

from __future__ import annotations

import ipaddress

import pytest

from noah.net.ports import Ports, Published

PORTS = Ports([
    Published(b"", 8080, 80, True),
    Published(b"\x7f\0\0\1", 8443, 443, True),
    Published(b"", 5353, 53, False),
])  # fmt: skip


def sockaddr(host: str, port: int) -> bytes:
    address = ipaddress.ip_address(host)
    if address.version == 4:
        return b"\2\0" + port.to_bytes(2, "big") + address.packed + bytes(8)
    return b"\x0a\0" + port.to_bytes(2, "big") + bytes(4) + address.packed + bytes(4)


@pytest.mark.parametrize(
    ("asked", "stream", "bound"),
    [
        (("0.0.0.0", 80), True, ("0.0.0.0", 8080)),
        (("127.0.0.1", 80), True, ("127.0.0.1", 8080)),
        (("192.0.2.1", 80), True, ("192.0.2.1", 8080)),
        (("::", 80), True, ("::", 8080)),
        (("0.0.0.0", 80), False, ("0.0.0.0", 80)),
        (("0.0.0.0", 53), False, ("0.0.0.0", 5353)),
        (("0.0.0.0", 81), True, ("0.0.0.0", 81)),
        (("0.0.0.0", 443), True, ("127.0.0.1", 8443)),
        (("192.0.2.1", 443), True, ("192.0.2.1", 8443)),
        (("::", 443), True, ("::ffff:127.0.0.1", 8443)),
    ],
)
def test_bind(asked: tuple[str, int], stream: bool, bound: tuple[str, int]) -> None:
    made = PORTS.to_bind(sockaddr(*asked), stream=stream, only_ipv6=lambda: False)
    assert made == sockaddr(*bound)
    assert PORTS.own(made, stream=stream)[2:4] == asked[1].to_bytes(2, "big")


def test_bind_without_ipv4() -> None:
    asked = sockaddr("::", 443)
    assert PORTS.to_bind(asked, stream=True, only_ipv6=lambda: True) == sockaddr("::1", 8443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_own_machine(host: str) -> None:
    assert PORTS.to_reach(sockaddr(host, 80), stream=True) == sockaddr(host, 8080)
    assert PORTS.peer(sockaddr(host, 8080), stream=True) == sockaddr(host, 80)
    assert PORTS.to_reach(sockaddr(host, 80), stream=False) == sockaddr(host, 80)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_other_machines(host: str) -> None:
    assert PORTS.to_reach(sockaddr(host, 80), stream=True) == sockaddr(host, 80)
    assert PORTS.peer(sockaddr(host, 8080), stream=True) == sockaddr(host, 8080)


@pytest.mark.parametrize("address", [b"", b"\2", b"\1\0/tmp/x\0", b"\2\0\0\x50", b"\x10\0\0\x50" + bytes(8)])
def test_other_addresses(address: bytes) -> None:
    assert PORTS.to_bind(address, stream=True, only_ipv6=lambda: False) in (address, b"\2\0\x1f\x90")
    assert PORTS.peer(address, stream=True) == address
    assert Ports().to_reach(address, stream=True) == address
