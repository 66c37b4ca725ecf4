"""nginx: load by wrk, a file of 1 GiB, new workers under load, nothing left of it when it is killed."""

from __future__ import annotations

import hashlib
import re
import signal
import threading
import urllib.request
from pathlib import Path

import pytest
from tests.servers.serving import (
    KVM,
    LOCAL,
    NATIVE,
    TARGETS,
    Target,
    await_true,
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

CONFIGURATION = """
daemon off;
worker_processes 2;
user www-data;
pid {work}/nginx.pid;
error_log {work}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {work}/access.log;
    sendfile on;
    gzip on;
    gzip_min_length 0;
    limit_req_zone $binary_remote_addr zone=memory:1m rate=100000r/s;
    server {{
        listen 127.0.0.1:{port} backlog=512;
        root {work}/files;
        location /copied {{ alias {work}/files; sendfile off; }}
    }}
}}
"""


def prepare(work: Path, port: int) -> list[str]:
    files = work / "files"
    files.mkdir(exist_ok=True)
    (files / "index.html").write_text("hello\n")
    (work / "nginx.conf").write_text(CONFIGURATION.format(work=work, port=port))
    return ["nginx", "-c", str(work / "nginx.conf")]


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{LOCAL}:{port}{path}", timeout=60) as answer:
        return bytes(answer.read())


def load(target: Target, work: Path, port: int, *options: str) -> int:
    """Requests that wrk made; none may have failed."""
    text = client(target, work, "wrk", "-t", "1", "-c", "50", "-d", "3s", *options, f"http://{LOCAL}:{port}/")
    assert "Socket errors" not in text, text
    assert "Non-2xx" not in text, text
    found = re.search(r"(\d+) requests in", text)
    assert found, text
    return int(found[1])


def files_of_every_size(port: int, work: Path) -> None:
    for size in (0, 1, 4095, 4096, 65537, 3_000_000):
        content = hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1)
        (work / "files" / f"file{size}").write_bytes(content[:size])

    def fetch(number: int) -> None:
        for size in (0, 1, 4095, 4096, 65537, 3_000_000):
            expected = (work / "files" / f"file{size}").read_bytes()
            assert get(port, f"/file{size}") == expected
            assert get(port, f"/copied/file{size}") == expected

    in_parallel(8, fetch)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_nginx(target: Target) -> None:
    need(target)
    port = free_port()
    before = shared_objects()
    with everyone_s_directory() as work, serving(target, work, prepare(work, port), port) as server:
        served = load(NATIVE, work, port)
        memory = server.memory()
        served += load(NATIVE, work, port)
        assert server.memory() < memory + (16 << 20)
        served += load(NATIVE, work, port, "-H", "Connection: close")
        served += load(target, work, port)
        assert served > 100
        files_of_every_size(port, work)
        assert server.stop(signal.SIGQUIT) == 0
        logged = (work / "access.log").read_text().splitlines()
        # wrk does not count the requests that are under way when its time is over.
        assert served + 96 <= len(logged) <= served + 96 + 4 * 50
        assert (work / "error.log").read_text() == ""
        assert is_free(port)
    assert nothing_is_left(before)


def test_a_file_of_one_gib() -> None:
    need(KVM)
    port = free_port()
    with everyone_s_directory() as work, serving(KVM, work, prepare(work, port), port) as server:
        client(NATIVE, work, "sh", "-c", "head -c 1073741824 /dev/urandom > files/big; chmod a+r files/big")
        fetch = f"curl -sS http://{LOCAL}:{port}/%s | sha256sum"
        expected = client(NATIVE, work, "sh", "-c", "sha256sum < files/big")
        assert client(NATIVE, work, "sh", "-c", fetch % "copied/big") == expected
        memory = server.memory()
        assert client(NATIVE, work, "sh", "-c", fetch % "big") == expected
        assert client(KVM, work, "sh", "-c", fetch % "big") == expected
        assert server.memory() < memory + (16 << 20)
        server.interrupt()
        assert server.wait() == 0
        assert is_free(port)


def test_new_workers_under_load() -> None:
    """SIGHUP: workers end when they have served what they had begun, and no request is refused."""
    need(KVM)
    port = free_port()
    with everyone_s_directory() as work, serving(KVM, work, prepare(work, port), port) as server:
        over = threading.Event()

        def ask(number: int) -> None:
            if number:
                while not over.is_set():
                    assert get(port, "/") == b"hello\n"
                return
            try:
                for _ in range(5):
                    server.send(signal.SIGHUP)
                    over.wait(0.7)
            finally:
                over.set()

        in_parallel(9, ask)
        # All processes of a killed server end, and its shared memory with them.
        server.kill_all()
        await_true(lambda: is_free(port))
