"""MariaDB: transfers between accounts by many clients, a crash under load, recovery, a dump and its restoration."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from tests.servers.serving import (
    KVM,
    NATIVE,
    Server,
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
    skip_unless_root,
)

pytestmark = pytest.mark.slow
CLIENTS = 8
TRANSFERS = 20

SCHEMA = """
create table account (id int primary key, balance int not null) engine=innodb;
insert into account select seq, 100 from seq_1_to_100;
create table transfer (id int auto_increment primary key, source int, target int) engine=innodb;
delimiter //
create procedure move(low int, high int) begin
    declare exit handler for sqlexception begin rollback; end;
    start transaction;
    update account set balance = balance - 1 where id = low;
    update account set balance = balance + 1 where id = high;
    insert into transfer (source, target) values (low, high);
    commit;
end//
delimiter ;
"""
CHECK = "select sum(balance), count(*) from account; select count(*) >= {least} from transfer; check table account"


class Database:
    """A data directory in the working directory, and how its clients reach it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.port = free_port()
        self.data = work / "data"

    def make(self, target: Target) -> None:
        options = [
            "--no-defaults",
            f"--datadir={self.data}",
            "--user=mysql",
            "--auth-root-authentication-method=normal",
        ]
        client(target, self.work, "mariadb-install-db", *options, "--skip-test-db")

    def server(self) -> list[str]:
        options = ["--no-defaults", f"--datadir={self.data}", "--user=mysql", "--bind-address=127.0.0.1"]
        options += [f"--port={self.port}", f"--socket={self.work}/socket", f"--pid-file={self.work}/pid"]
        return ["mariadbd", *options, "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=1"]

    def program(self, name: str, *argv: str) -> list[str]:
        return [name, "--no-defaults", "-uroot", "-h127.0.0.1", f"-P{self.port}", *argv]

    def run(self, target: Target, sql: str, database: str = "bank") -> str:
        return client(target, self.work, *self.program("mariadb", "-N", database), stdin=sql.encode())


def transfers(seed: int, count: int) -> str:
    """Statements that move money, always from the lower to the higher account and back: no deadlocks."""
    return "".join(
        f"call move({(seed * 7 + turn) % 50 + 1}, {(seed + turn * 3) % 50 + 51});\n" for turn in range(count)
    )


def crash(database: Database, server: Server) -> None:
    """SIGKILL while clients write."""
    busy = [
        subprocess.Popen(
            NATIVE.command(database.work, database.program("mariadb", "bank")),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    try:
        for number, process in enumerate(busy):
            assert process.stdin is not None
            process.stdin.write(transfers(number, 1000).encode())
            process.stdin.flush()
        time.sleep(1.5)
        server.kill_all()
    finally:
        for process in busy:
            process.kill()
            process.wait()
            assert process.stdin is not None
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass


def scenario(target: Target, work: Path) -> list[str]:
    database = Database(work)
    database.make(target)
    check = CHECK.format(least=2 * CLIENTS * TRANSFERS)
    with serving(target, work, database.server(), database.port) as server:
        client(NATIVE, work, *database.program("mariadb", "-e", "create database bank"))
        database.run(NATIVE, SCHEMA)
        in_parallel(CLIENTS, lambda number: print(database.run(NATIVE, transfers(number, TRANSFERS))))
        memory = server.memory()
        in_parallel(CLIENTS, lambda number: print(database.run(NATIVE, transfers(number, TRANSFERS))))
        assert server.memory() < memory + (64 << 20)
        found = [database.run(target, check)]
        crash(database, server)
        assert is_free(database.port)
    with serving(target, work, database.server(), database.port) as server:
        found.append(database.run(NATIVE, check))
        dump = client(target, work, *database.program("mariadb-dump", "bank", "account"))
        client(NATIVE, work, *database.program("mariadb", "-e", "create database copy"))
        database.run(target, dump, "copy")
        found.append(database.run(NATIVE, "select sum(balance), count(*) from account", "copy"))
        found.append(str(server.stop()))
        assert is_free(database.port)
    return found


def test_mariadb() -> None:
    skip_unless_root()
    need(KVM)
    before = shared_objects()
    found = []
    for target in (NATIVE, KVM):
        with everyone_s_directory() as work:
            found.append(scenario(target, work))
    assert found[0][0].startswith("10000\t100\n1\n")
    assert found[1] == found[0]
    assert nothing_is_left(before)
