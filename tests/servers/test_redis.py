"""redis-server: all of redis-benchmark, pipelines, many clients with checked replies, saving, being killed."""

from __future__ import annotations

import csv
import random
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.servers.serving import (
    KVM,
    LOCAL,
    NATIVE,
    TARGETS,
    Target,
    client,
    everyone_s_directory,
    free_port,
    in_parallel,
    is_free,
    need,
    nothing_is_left,
    serving,
    shared_objects,
)

pytestmark = pytest.mark.slow
Reply = bytes | int | list["Reply"] | None


class Redis:
    """A client of the protocol RESP that checks what it reads."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOCAL, port), 60)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *words: bytes) -> None:
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%b" % (len(words), parts))

    def reply(self) -> Reply:
        line = self._file.readline()
        assert line.endswith(b"\r\n"), "the connection was lost"
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise AssertionError(rest)

    def call(self, *words: bytes) -> Reply:
        self.send(*words)
        return self.reply()


def redis(work: Path, port: int, *options: str) -> Sequence[str]:
    return ["redis-server", "--port", str(port), "--dir", str(work), "--save", "", *options]


def benchmark(target: Target, work: Path, port: int, *options: str) -> list[str]:
    """The names of the tests that redis-benchmark has run."""
    text = client(target, work, "redis-benchmark", "-p", str(port), "--csv", *options)
    rows = list(csv.reader(text.splitlines()))
    assert all(float(row[1]) > 0 for row in rows[1:])
    return [row[0] for row in rows[1:]]


def converse(redis: Redis, number: int, turn: int, draw: random.Random) -> None:
    """34 requests, each of whose replies is known; 16 of them count."""
    key = b"key-%d-%d" % (number, turn % 7)
    value = draw.randbytes(draw.choice((1, 100, 5000, 70000)))
    assert redis.call(b"SET", key, value) == b"OK"
    assert redis.call(b"GET", key) == value
    for step in range(16):
        redis.send(b"ECHO", b"%d" % step)
        redis.send(b"INCR", b"count")
    for step in range(16):
        assert redis.reply() == b"%d" % step
        assert isinstance(redis.reply(), int)


def check_replies(port: int, clients: int, rounds: int) -> None:
    """Many clients at once, each of whose replies is known."""

    def work(number: int) -> None:
        draw = random.Random(number)
        with Redis(port) as redis:
            for turn in range(rounds):
                converse(redis, number, turn, draw)

    with Redis(port) as control:
        control.call(b"DEL", b"count")
        in_parallel(clients, work)
        assert control.call(b"GET", b"count") == b"%d" % (clients * rounds * 16)


def scenario(target: Target) -> list[str]:
    port = free_port()
    before = shared_objects()
    with everyone_s_directory() as work, serving(target, work, redis(work, port), port) as server:
        names = benchmark(NATIVE, work, port, "-n", "1000", "-c", "50")
        names += benchmark(NATIVE, work, port, "-n", "5000", "-c", "50", "-P", "16", "-t", "set,get,lpush")
        names += benchmark(target, work, port, "-n", "500", "-c", "50", "-t", "set,get")
        check_replies(port, 50, 4)
        memory = server.memory()
        check_replies(port, 50, 4)
        assert server.memory() < memory + (16 << 20)
        with Redis(port) as control:
            assert control.call(b"BGSAVE") == b"Background saving started"
            while "rdb_bgsave_in_progress:1" in str(control.call(b"INFO", b"persistence")):
                time.sleep(0.05)
        assert (work / "dump.rdb").stat().st_size > 1000
        assert server.stop() == 0
        assert is_free(port)
    assert nothing_is_left(before)
    return names


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_redis(target: Target) -> None:
    need(target)
    assert scenario(target) == scenario(NATIVE)


def test_nothing_that_was_acknowledged_is_lost() -> None:
    """Killed in the middle of writing, with every write on disk before its reply."""
    need(KVM)
    port = free_port()
    with everyone_s_directory() as work:
        command = redis(work, port, "--appendonly", "yes", "--appendfsync", "always")
        with serving(KVM, work, command, port) as server, Redis(port) as redis_client:
            counts = [redis_client.call(b"INCR", b"count") for _ in range(200)]
            assert counts == list(range(1, 201))
            for _ in range(1000):
                redis_client.send(b"INCR", b"count")
            server.kill_all()
            assert is_free(port)
        with serving(KVM, work, command, port) as server:
            with Redis(port) as redis_client:
                while "loading:1" in str(redis_client.call(b"INFO", b"persistence")):
                    time.sleep(0.05)
                count = redis_client.call(b"GET", b"count")
                assert isinstance(count, bytes)
                assert 200 <= int(count) <= 1200
            server.interrupt()
            assert server.wait() == 0


def test_stop_from_inside() -> None:
    need(KVM)
    port = free_port()
    with everyone_s_directory() as work, serving(KVM, work, redis(work, port), port) as server:
        assert "PONG" in client(KVM, work, "redis-cli", "-p", str(port), "ping")
        client(KVM, work, "redis-cli", "-p", str(port), "shutdown", "nosave")
        assert server.wait() == 0
