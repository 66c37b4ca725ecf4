"""memcached: its threads, clients with checked replies, values of every size, counters."""

from __future__ import annotations

import random
import socket
from typing import Self

import pytest
from tests.servers.serving import (
    LOCAL,
    NATIVE,
    TARGETS,
    Target,
    everyone_s_directory,
    free_port,
    in_parallel,
    is_free,
    need,
    serving,
)

pytestmark = pytest.mark.slow
CLIENTS = 50
ROUNDS = 20


class Memcached:
    """A client of the text protocol."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOCAL, port), 60)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._socket.close()

    def call(self, command: bytes, data: bytes | None = None) -> bytes:
        self._socket.sendall(command + b"\r\n" + (data + b"\r\n" if data is not None else b""))
        return self._file.readline().rstrip(b"\r\n")

    def set(self, key: bytes, value: bytes) -> bytes:
        return self.call(b"set %b 0 0 %d" % (key, len(value)), value)

    def get(self, key: bytes) -> bytes | None:
        first = self.call(b"get " + key)
        if first == b"END":
            return None
        value = self._file.read(int(first.split()[3]) + 2)[:-2]
        assert self._file.readline() == b"END\r\n"
        return value

    def statistics(self) -> dict[bytes, bytes]:
        found = {}
        line = self.call(b"stats")
        while line != b"END":
            _, name, value = line.split(b" ", 2)
            found[name] = value
            line = self._file.readline().rstrip(b"\r\n")
        return found


def converse(memcached: Memcached, number: int, turn: int, draw: random.Random) -> None:
    """5 requests, each of whose replies is known; one of them counts."""
    key, value = b"key-%d-%d" % (number, turn), draw.randbytes(draw.choice((0, 1, 1000, 50_000, 900_000)))
    assert memcached.set(key, value) == b"STORED"
    assert memcached.get(key) == value
    assert memcached.call(b"incr count 1").isdigit()
    assert memcached.call(b"delete " + key) == b"DELETED"
    assert memcached.get(key) is None


def load(port: int) -> None:
    def work(number: int) -> None:
        draw = random.Random(number)
        with Memcached(port) as memcached:
            for turn in range(ROUNDS):
                converse(memcached, number, turn, draw)

    in_parallel(CLIENTS, work)


def memcached(port: int) -> list[str]:
    return ["memcached", "-u", "nobody", "-l", LOCAL, "-p", str(port), "-t", "4", "-m", "256", "-U", str(port)]


def scenario(target: Target) -> list[bytes]:
    port = free_port()
    command = memcached(port)
    with everyone_s_directory() as work, serving(target, work, command, port) as server, Memcached(port) as control:
        assert control.set(b"count", b"0") == b"STORED"
        load(port)
        memory = server.memory()
        load(port)
        assert server.memory() < memory + (64 << 20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(30)
            datagrams.sendto(b"\0\1\0\0\0\1\0\0get count\r\n", (LOCAL, port))
            found = [datagrams.recv(4096), control.get(b"count") or b""]
        numbers = control.statistics()
        found += [numbers[name] for name in (b"cmd_set", b"get_hits", b"get_misses", b"threads", b"curr_items")]
        found.append(b"%d" % server.stop())
        assert is_free(port)
        return found


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_memcached(target: Target) -> None:
    need(target)
    expected = scenario(NATIVE)
    assert expected[1] == b"%d" % (2 * CLIENTS * ROUNDS)
    assert scenario(target) == expected
