"""A server of Python's asyncio with 1,000 connections at once."""

from __future__ import annotations

import asyncio
import resource
import signal
from pathlib import Path

import pytest
from tests.servers.serving import (
    NATIVE,
    TARGETS,
    Target,
    client,
    everyone_s_directory,
    free_port,
    is_free,
    need,
    serving,
)

pytestmark = pytest.mark.slow
CONNECTIONS = 1000
ROUNDS = 5

SERVER = """
import asyncio, sys

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()

asyncio.run(main())
"""
CLIENT = """
import asyncio, sys

async def talk(port, connections, rounds):
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    async def one(number, reader, writer):
        for turn in range(rounds):
            text = b"%d %d %s\\n" % (number, turn, b"x" * (number % 3000))
            writer.write(text)
            got = await reader.readline()
            assert got == text, (number, turn, got[:50])
        writer.close()
        await writer.wait_closed()
        return rounds
    return sum(await asyncio.gather(*(one(number, *pair) for number, pair in enumerate(streams))))
"""


def room_for_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4 * CONNECTIONS:
        pytest.skip("this user may not have so many files open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CONNECTIONS), hard))


def talk(port: int) -> int:
    scope: dict[str, object] = {}
    exec(CLIENT, scope)  # noqa: S102 the very client that also runs inside
    return int(asyncio.run(scope["talk"](port, CONNECTIONS, ROUNDS)))  # type: ignore[operator]


def scenario(target: Target, work: Path) -> list[int]:
    port = free_port()
    with serving(target, work, ["python3", "-c", SERVER, str(port)], port) as server:
        counts = [talk(port)]
        memory = server.memory()
        counts += [talk(port) for _ in range(3)]
        assert server.memory() < memory + (32 << 20)
        main = f"{CLIENT}\nprint(asyncio.run(talk(*map(int, sys.argv[1:]))))"
        inside = client(target, work, "python3", "-c", main, str(port), str(CONNECTIONS), str(ROUNDS))
        server.interrupt()
        status = server.wait()
        assert is_free(port)
        return [*counts, int(inside), status]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_thousand_connections(target: Target) -> None:
    need(target)
    room_for_connections()
    with everyone_s_directory() as work:
        expected = scenario(NATIVE, work)
        assert expected == [CONNECTIONS * ROUNDS] * 5 + [-signal.SIGINT]
        assert scenario(target, work) == expected
