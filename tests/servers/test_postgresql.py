"""PostgreSQL: initdb, pgbench with 8 clients, a crash under load, and recovery from it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.running import SERVERS, debian_root, environment
from tests.servers.serving import (
    KVM,
    NATIVE,
    Server,
    Target,
    as_user,
    client,
    everyone_s_directory,
    free_port,
    is_free,
    need,
    nothing_is_left,
    serving,
    shared_objects,
    skip_unless_root,
)

pytestmark = pytest.mark.slow

SUMS = """
select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches),
       (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches),
       (select sum(delta) from pgbench_history) = (select sum(bbalance) from pgbench_branches),
       (select count(*) from pgbench_accounts)
"""
PARALLEL = """
set max_parallel_workers_per_gather = 2; set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0;
create table numbers as select n, n * 7 % 1013 as m from generate_series(1, 300000) n;
create index on numbers (m); alter table numbers add primary key (n);
select count(*), sum(n), sum(m) from numbers; drop table numbers;
"""


class Cluster:
    """A database cluster in the working directory, and how its clients reach it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.port = free_port()
        self.programs = next((debian_root(SERVERS) / "usr/lib/postgresql").iterdir()).name

    def argv(self, program: str, *argv: str) -> list[str]:
        return as_user("postgres", f"/usr/lib/postgresql/{self.programs}/bin/{program}", *argv)

    def make(self, target: Target) -> None:
        client(target, self.work, "install", "-d", "-o", "postgres", "-m", "700", str(self.work / "data"))
        client(target, self.work, *self.argv("initdb", "-D", str(self.work / "data"), "--no-sync"))

    def server(self) -> list[str]:
        data, sockets = str(self.work / "data"), f"unix_socket_directories={self.work}"
        return self.argv("postgres", "-D", data, "-p", str(self.port), "-c", sockets)

    def program(self, target: Target, name: str, *argv: str, timeout: float = 240) -> str:
        command = self.argv(name, "-h", "127.0.0.1", "-p", str(self.port), *argv)
        return client(target, self.work, *command, timeout=timeout)

    def query(self, target: Target, sql: str) -> str:
        return self.program(target, "psql", "-X", "-q", "-At", "-d", "postgres", "-c", sql)

    def await_it(self) -> None:
        """Waits until it takes queries: its port is there before."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                assert self.query(NATIVE, "select 1") == "1\n"
                return
            except AssertionError:
                time.sleep(0.2)
        raise AssertionError("the database does not come up")

    def bench(self, target: Target, *options: str) -> int:
        text = self.program(target, "pgbench", "-c", "8", "-j", "2", "-n", *options, "postgres")
        assert "number of failed transactions: 0 " in text, text
        found = re.search(r"transactions actually processed: (\d+)", text)
        assert found, text
        return int(found[1])


def crash(cluster: Cluster, server: Server) -> None:
    """SIGKILL for the first process while clients write."""
    busy = subprocess.Popen(
        NATIVE.command(
            cluster.work,
            cluster.argv(
                "pgbench", "-h", "127.0.0.1", "-p", str(cluster.port), "-c", "8", "-n", "-T", "30", "postgres"
            ),
        ),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(3)
        server.kill_all()
        busy.wait(60)
    finally:
        busy.kill()
        busy.wait()


def scenario(target: Target, work: Path) -> list[str]:
    cluster = Cluster(work)
    cluster.make(target)
    found = []
    with serving(target, work, cluster.server(), cluster.port) as server:
        cluster.await_it()
        cluster.program(NATIVE, "pgbench", "-i", "-q", "-s", "2", "postgres")
        found.append(cluster.query(NATIVE, PARALLEL))
        assert cluster.bench(NATIVE, "-T", "4") > 8
        memory = server.memory()
        assert cluster.bench(NATIVE, "-T", "4", "-S") > 8
        assert cluster.bench(target, "-T", "4", "-N") > 8
        assert server.memory() < memory + (64 << 20)
        cluster.query(NATIVE, "truncate pgbench_history; update pgbench_accounts set abalance = 0; ")
        cluster.query(NATIVE, "update pgbench_branches set bbalance = 0; update pgbench_tellers set tbalance = 0")
        cluster.bench(NATIVE, "-T", "3")
        found.append(cluster.query(target, SUMS))
        crash(cluster, server)
        assert is_free(cluster.port)
    with serving(target, work, cluster.server(), cluster.port) as server:
        cluster.await_it()
        assert "redo done" in server.log
        found.append(cluster.query(NATIVE, SUMS))
        found.append(str(server.stop(signal.SIGINT)))
        assert is_free(cluster.port)
    assert not re.search(r"PANIC|terminated by signal", "".join(log.read_text() for log in work.glob("*.log")))
    return found


def test_postgresql() -> None:
    skip_unless_root()
    need(KVM)
    before = shared_objects()
    with everyone_s_directory() as work:
        expected = scenario(NATIVE, work)
    assert expected[1:] == ["t|t|t|200000\n", "t|t|t|200000\n", "0"]
    with everyone_s_directory() as work:
        assert scenario(KVM, work) == expected
    assert nothing_is_left(before)
