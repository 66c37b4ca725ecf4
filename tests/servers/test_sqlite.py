"""SQLite: several writers of one file, in Noah and natively at the same time, with both kinds of journal."""

from __future__ import annotations

import pytest
from tests.servers.serving import KVM, NATIVE, TARGETS, Target, client, everyone_s_directory, in_parallel, need

pytestmark = pytest.mark.slow
WRITERS = 6
ROWS = 40

WRITER = """
import sqlite3, sys, time
number, rows, seconds = map(int, sys.argv[1:])
end = time.monotonic() + seconds
database = sqlite3.connect("shared.db", timeout=120, isolation_level=None)
row = 0
while row < rows or time.monotonic() < end:
    database.execute("begin immediate")
    (count,) = database.execute("select value from counter").fetchone()
    database.execute("update counter set value = ?", (count + 1,))
    database.execute("insert into line values (?, ?, ?)", (number, row, "x" * (row * 97 % 5000)))
    database.execute("commit")
    row += 1
print(row)
"""
SCHEMA = "create table counter (value); insert into counter values (0); create table line (writer, row, text);"


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_writers(target: Target, journal: str) -> None:
    need(target)
    with everyone_s_directory() as work:
        client(NATIVE, work, "sqlite3", "shared.db", f"pragma journal_mode={journal}; {SCHEMA}")

        def write(number: int) -> None:
            side = NATIVE if number % 3 == 0 else target
            client(side, work, "python3", "-c", WRITER, str(number), str(ROWS), "0")

        in_parallel(WRITERS, write)
        question = "pragma integrity_check; select value from counter; select count(*), sum(length(text)) from line"
        answer = client(KVM, work, "sqlite3", "shared.db", question)
        length = WRITERS * sum(row * 97 % 5000 for row in range(ROWS))
        assert answer == f"ok\n{WRITERS * ROWS}\n{WRITERS * ROWS}|{length}\n"
        assert client(NATIVE, work, "sqlite3", "shared.db", question) == answer
