"""Each server under load for as long as $NOAH_LOAD_SECONDS says: no reply is lost or wrong, and nothing grows."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.running import environment
from tests.servers import test_asyncio, test_haproxy, test_mariadb, test_memcached, test_nginx, test_redis, test_sqlite
from tests.servers.loading import LOAD_SECONDS, Load, bounded_memory, endure, wrk
from tests.servers.serving import (
    KVM,
    NATIVE,
    Target,
    client,
    everyone_s_directory,
    free_port,
    is_free,
    need,
    serving,
    skip_unless_root,
)
from tests.servers.test_postgresql import SUMS, Cluster
from tests.servers.test_sshd import Ssh, sshd

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900 + 2 * LOAD_SECONDS),
    pytest.mark.parametrize("target", [NATIVE, KVM], ids=str),
]


@pytest.fixture
def work(target: Target) -> Iterator[Path]:
    need(target)
    with everyone_s_directory() as directory:
        yield directory


class Conversation:
    """A program with which one speaks by lines."""

    def __init__(self, work: Path, argv: list[str]) -> None:
        command = NATIVE.command(work, argv)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment(HOME=str(work)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().decode().rstrip("\n")


def test_redis_under_load(target: Target, work: Path) -> None:
    port = free_port()
    with serving(target, work, test_redis.redis(work, port), port) as server:

        def ask(number: int, load: Load) -> None:
            draw = random.Random(number)
            while load.goes_on():
                with test_redis.Redis(port) as redis:
                    for turn in range(20):
                        test_redis.converse(redis, number, turn, draw)
                        load.count(34)
                    assert redis.call(b"INCRBY", b"rounds", b"20")

        endure(f"redis {target}", [server], 20, ask)
        with test_redis.Redis(port) as control:
            rounds = control.call(b"GET", b"rounds")
            assert isinstance(rounds, bytes)
            assert control.call(b"GET", b"count") == b"%d" % (int(rounds) * 16)
        assert server.stop() == 0
        assert is_free(port)


def test_memcached_under_load(target: Target, work: Path) -> None:
    port = free_port()
    with serving(target, work, test_memcached.memcached(port), port) as server:
        with test_memcached.Memcached(port) as control:
            assert control.set(b"count", b"0") == b"STORED"

        def ask(number: int, load: Load) -> None:
            draw = random.Random(number)
            while load.goes_on():
                with test_memcached.Memcached(port) as memcached:
                    for turn in range(20):
                        test_memcached.converse(memcached, number, turn, draw)
                        load.count(5)

        # It keeps the memory of what was deleted, up to what it was allowed.
        endure(f"memcached {target}", [server], 20, ask, room=64 << 20)
        with test_memcached.Memcached(port) as control:
            numbers = control.statistics()
            assert control.get(b"count") == numbers[b"delete_hits"]
        assert server.stop() == 0
        assert is_free(port)


def test_asyncio_under_load(target: Target, work: Path) -> None:
    test_asyncio.room_for_connections()
    port = free_port()
    with serving(target, work, ["python3", "-c", test_asyncio.SERVER, str(port)], port) as server:

        def ask(number: int, load: Load) -> None:
            while load.goes_on():
                load.count(test_asyncio.talk(port))

        endure(f"asyncio {target}", [server], 1, ask)
        server.interrupt()
        server.wait()
        assert is_free(port)


def test_nginx_under_load(target: Target, work: Path) -> None:
    port = free_port()
    with serving(target, work, test_nginx.prepare(work, port), port) as server:
        contents = {size: hashlib.sha256(b"%d" % size).digest() * (size // 32) for size in (0, 4096, 65536, 3_200_000)}
        for size, content in contents.items():
            (work / "files" / f"file{size}").write_bytes(content)

        def ask(number: int, load: Load) -> None:
            while load.goes_on():
                if number < 2:
                    wrk(work, port, load, r'body == "hello\n"', *(["-H", "Connection: close"] if number else []))
                    continue
                for size, content in contents.items():
                    assert test_nginx.get(port, f"/file{size}") == content
                    assert test_nginx.get(port, f"/copied/file{size}") == content
                    load.count(2)

        endure(f"nginx {target}", [server], 4, ask)
        assert server.stop(signal.SIGQUIT) == 0
        assert (work / "error.log").read_text() == ""
        assert is_free(port)


def test_haproxy_under_load(target: Target, work: Path) -> None:
    port, one, two = free_port(), free_port(), free_port()
    proxy = test_haproxy.haproxy(work, port, one, two)
    with (
        serving(NATIVE, work, test_haproxy.nginx(work, "one", one), one) as behind,
        serving(target, work, test_haproxy.nginx(work, "two", two), two) as other,
        serving(target, work, proxy, port) as server,
    ):

        def ask(number: int, load: Load) -> None:
            while load.goes_on():
                if number == 0:
                    wrk(work, port, load, r'body == "one\n" or body == "two\n"')
                assert test_haproxy.get(port) in (b"one\n", b"two\n")
                load.count()

        endure(f"haproxy {target}", [server, other], 4, ask, room=32 << 20)
        assert server.stop(signal.SIGUSR1) == 0
        assert other.stop(signal.SIGQUIT) == 0
        assert behind.stop(signal.SIGQUIT) == 0
        assert is_free(port)


def test_apache_under_load(target: Target, work: Path) -> None:
    skip_unless_root()
    port = free_port()
    with serving(target, work, test_haproxy.apache(work, port), port) as server:

        def ask(number: int, load: Load) -> None:
            turn = 0
            while load.goes_on():
                if number == 0:
                    wrk(work, port, load, r'body == "hello\n"')
                word = f"{number}x{turn}"
                assert test_haproxy.get(port, f"/cgi/turn?{word}") == f"{word} {word[::-1]}\n".encode()
                assert test_haproxy.get(port) == b"hello\n"
                load.count(2)
                turn += 1

        endure(f"apache2 {target}", [server], 3, ask, room=32 << 20)
        assert server.stop() == 0
        assert is_free(port)


PGBENCH = r"""
\set a random(1, 1000000)
\set n random(0, 20000)
select :a + 1 as b, repeat('x', :n) as text, :n * 2 as m \gset
\if :b <> :a + 1 or :m <> :n * 2
select the_reply_is_wrong;
\endif
"""


def test_postgresql_under_load(target: Target, work: Path) -> None:
    skip_unless_root()
    cluster = Cluster(work)
    cluster.make(target)
    (work / "check.sql").write_text(PGBENCH)
    with serving(target, work, [*cluster.server(), "-c", "autovacuum=off"], cluster.port) as server:
        cluster.await_it()
        cluster.program(NATIVE, "pgbench", "-i", "-q", "-s", "2", "postgres")
        written = []

        def bench(load: Load) -> None:
            options = ["-c", "8", "-n", "-T", f"{load.seconds:.0f}", "-b", "tpcb-like", "-f", f"{work}/check.sql"]
            text = cluster.program(NATIVE, "pgbench", *options, "postgres", timeout=load.seconds + 120)
            assert "number of failed transactions: 0 " in text, text
            counts = re.findall(r"actually processed: (\d+)|<builtin: TPC-B.*?\n.*?\n - (\d+) transactions", text)
            load.count(int(counts[0][0]))
            written.append(int(counts[1][1]))

        def ask(number: int, load: Load) -> None:
            while load.goes_on():
                if number == 0:
                    bench(load)
                    continue
                first = random.randrange(1000)
                sql = f"select n, md5(n::text), repeat('x', n % 200) from generate_series({first}, {first + 500}) n"
                lines = [f"{n}|{md5_of(n)}|{'x' * (n % 200)}\n" for n in range(first, first + 501)]
                assert cluster.query(NATIVE, sql) == "".join(lines)
                load.count()

        endure(f"postgresql {target}", [server], 2, ask, room=64 << 20)
        assert cluster.query(NATIVE, SUMS) == "t|t|t|200000\n"
        assert cluster.query(NATIVE, "select count(*) from pgbench_history") == f"{sum(written)}\n"
        assert server.stop(signal.SIGINT) == 0
        assert is_free(cluster.port)


def test_mariadb_under_load(target: Target, work: Path) -> None:
    skip_unless_root()
    database = test_mariadb.Database(work)
    database.make(target)
    with serving(target, work, database.server(), database.port) as server:
        client(NATIVE, work, *database.program("mariadb", "-e", "create database bank"))
        database.run(NATIVE, test_mariadb.SCHEMA)
        moved = [0] * 8

        def ask(number: int, load: Load) -> None:
            while load.goes_on():
                with Conversation(work, database.program("mariadb", "-N", "--unbuffered", "bank")) as talk:
                    for turn in range(50):
                        low, high = (number * 7 + turn) % 50 + 1, (number + turn * 3) % 50 + 51
                        text = f"{number}-{turn}-" + "x" * (turn * 91 % 3000)
                        answer = talk.ask(f"call move({low}, {high}); select {turn} * 3, '{text}';")
                        assert answer == f"{turn * 3}\t{text}"
                        moved[number] += 1
                        load.count()

        endure(f"mariadb {target}", [server], len(moved), ask, room=64 << 20)
        sums = database.run(NATIVE, "select sum(balance), count(*) from account; select count(*) from transfer")
        assert sums == f"10000\t100\n{sum(moved)}\n"
        assert server.stop() == 0
        assert is_free(database.port)


def test_sshd_under_load(target: Target, work: Path) -> None:
    skip_unless_root()
    port = free_port()
    (work / "big").write_bytes(bytes(range(256)) * 8000)
    with serving(target, work, sshd(work, port, "internal-sftp", "no"), port) as server:
        ssh = Ssh(work, port)

        def ask(number: int, load: Load) -> None:
            turn = 0
            if number == 0:
                with Conversation(work, ["ssh", *ssh.options, "root@127.0.0.1", "cat"]) as talk:
                    while load.goes_on():
                        text = f"{turn} " + "x" * (turn * 91 % 3000)
                        assert talk.ask(text) == text
                        load.count()
                        turn += 1
            while load.goes_on():
                turn += 1
                if number == 1:
                    client(NATIVE, work, "scp", *ssh.options, f"{work}/big", f"root@127.0.0.1:{work}/copy")
                    assert (work / "copy").read_bytes() == (work / "big").read_bytes()
                elif number == 2:
                    assert ssh.ssh(NATIVE, "-tt", f"echo {turn}; test -t 0") == f"{turn}\r\n"
                else:
                    assert ssh.ssh(NATIVE, f"seq {turn} 5000 | sha1sum") == sha1_of_numbers(turn, 5000)
                load.count()

        endure(f"sshd {target}", [server], 4, ask)
        server.stop()
        assert is_free(port)


def md5_of(number: int) -> str:
    return hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()


def sha1_of_numbers(first: int, last: int) -> str:
    lines = "".join(f"{n}\n" for n in range(first, last + 1))
    return hashlib.sha1(lines.encode(), usedforsecurity=False).hexdigest() + "  -\n"


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_sqlite_under_load(target: Target, work: Path, journal: str) -> None:
    client(NATIVE, work, "sqlite3", "shared.db", f"pragma journal_mode={journal}; {test_sqlite.SCHEMA}")
    writer = ["python3", "-c", test_sqlite.WRITER]
    with contextlib.ExitStack() as running:
        writers = [
            running.enter_context(serving(target, work, [*writer, str(number), "1", f"{LOAD_SECONDS:.0f}"], None))
            for number in range(4)
        ]
        with bounded_memory(writers, LOAD_SECONDS) as samples:
            assert [server.wait(LOAD_SECONDS + 120) for server in writers] == [0] * len(writers)
        rows = sum(int(server.log) for server in writers)
    print(f"sqlite {journal} {target}: {rows} rows in {LOAD_SECONDS:g} s; MiB {[size >> 20 for size in samples]}")
    question = "pragma integrity_check; select value from counter; select count(*) from line"
    assert client(NATIVE, work, "sqlite3", "shared.db", question) == f"ok\n{rows}\n{rows}\n"
