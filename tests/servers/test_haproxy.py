"""haproxy before two servers, and apache2 with threads: load by wrk, replies that are known, a graceful end."""

from __future__ import annotations

import re
import signal
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
    skip_unless_root,
)

pytestmark = pytest.mark.slow

HAPROXY = """
global
    maxconn 500
    nbthread 2
    stats socket {work}/control level admin
defaults
    mode http
    timeout connect 30s
    timeout client 60s
    timeout server 60s
listen front
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk GET /
    option redispatch 1
    server one 127.0.0.1:{one} check inter 500ms
    server two 127.0.0.1:{two} check inter 500ms
"""
APACHE = """
ServerRoot /usr/lib/apache2
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {work}/apache.pid
ErrorLog {work}/error.log
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule dir_module modules/mod_dir.so
LoadModule cgid_module modules/mod_cgid.so
LoadModule alias_module modules/mod_alias.so
ScriptSock {work}/cgi.sock
User www-data
Group www-data
StartServers 2
MinSpareThreads 25
MaxSpareThreads 100
ThreadsPerChild 50
MaxRequestWorkers 100
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DocumentRoot {work}/files
DirectoryIndex index.html
ScriptAlias /cgi/ {work}/cgi/
<Directory />
    Require all granted
</Directory>
"""
"""More threads in each process than there are clients: one whose threads are all busy closes kept connections, and
requests that are on their way get lost, natively as well."""
CGI = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n%s %s\\n' "$QUERY_STRING" "$(echo $QUERY_STRING | rev)"
"""


def load(target: Target, work: Path, port: int) -> int:
    """Requests that wrk made; none may have failed.

    It waits two seconds for a reply. A port that takes connections is not yet answered: apache2 listens first, and
    makes its processes and their threads then.
    """
    get(port)
    text = client(target, work, "wrk", "-t", "1", "-c", "30", "-d", "3s", f"http://{LOCAL}:{port}/")
    assert "Socket errors" not in text, text
    assert "Non-2xx" not in text, text
    found = re.search(r"(\d+) requests in", text)
    assert found, text
    return int(found[1])


def get(port: int, path: str = "/") -> bytes:
    with urllib.request.urlopen(f"http://{LOCAL}:{port}{path}", timeout=60) as answer:
        return bytes(answer.read())


def many(port: int) -> None:
    def ask(number: int) -> None:
        for _ in range(10):
            assert get(port) in (b"one\n", b"two\n", b"hello\n")

    in_parallel(20, ask)


def nginx(work: Path, name: str, port: int) -> list[str]:
    folder = work / name
    folder.mkdir()
    (folder / "index.html").write_text(f"{name}\n")
    configuration = f"daemon off; pid {folder}/pid; error_log {folder}/errors; events {{}} "
    configuration += f"http {{ access_log off; server {{ listen {LOCAL}:{port}; root {folder}; }} }}"
    (folder / "conf").write_text(configuration)
    return ["nginx", "-c", str(folder / "conf")]


def haproxy(work: Path, port: int, one: int, two: int) -> list[str]:
    (work / "haproxy.cfg").write_text(HAPROXY.format(work=work, port=port, one=one, two=two))
    return ["haproxy", "-f", str(work / "haproxy.cfg")]


def apache(work: Path, port: int) -> list[str]:
    for name in ("files", "cgi"):
        (work / name).mkdir()
    (work / "files/index.html").write_text("hello\n")
    (work / "cgi/turn").write_text(CGI)
    (work / "cgi/turn").chmod(0o755)
    (work / "apache.conf").write_text(APACHE.format(work=work, port=port))
    return ["apache2", "-f", str(work / "apache.conf"), "-DFOREGROUND"]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_haproxy(target: Target) -> None:
    need(target)
    port, one, two = free_port(), free_port(), free_port()
    with everyone_s_directory() as work:
        proxy = haproxy(work, port, one, two)
        with (
            serving(NATIVE, work, nginx(work, "one", one), one) as behind,
            serving(target, work, nginx(work, "two", two), two) as other,
            serving(target, work, proxy, port) as server,
        ):
            assert {get(port) for _ in range(6)} == {b"one\n", b"two\n"}
            assert load(NATIVE, work, port) > 30
            memory = server.memory()
            assert load(NATIVE, work, port) > 30
            assert load(target, work, port) > 30
            assert server.memory() < memory + (32 << 20)
            many(port)
            assert other.stop(signal.SIGQUIT) == 0
            assert {get(port) for _ in range(6)} == {b"one\n"}
            assert server.stop(signal.SIGUSR1) == 0
            assert is_free(port)
            assert behind.stop(signal.SIGQUIT) == 0


def test_apache() -> None:
    skip_unless_root()
    need(KVM)
    before = shared_objects()
    found = []
    for target in (NATIVE, KVM):
        port = free_port()
        with everyone_s_directory() as work, serving(target, work, apache(work, port), port) as server:
            assert load(NATIVE, work, port) > 30
            memory = server.memory()
            assert load(NATIVE, work, port) > 30
            assert load(target, work, port) > 30
            assert server.memory() < memory + (64 << 20)
            found.append([get(port, f"/cgi/turn?abc{number}") for number in range(3)])
            many(port)
            server.send(signal.SIGUSR1)  # new children, once the old ones are idle
            assert get(port) == b"hello\n"
            # It forgets a SIGTERM that comes before it has begun anew.
            await_true(lambda: (work / "error.log").read_text().count("resuming normal operations") == 2)
            found[-1].append(b"%d" % server.stop())
            assert is_free(port)
    assert found[0][:3] == [b"abc0 0cba\n", b"abc1 1cba\n", b"abc2 2cba\n"]
    assert found[1] == found[0]
    assert nothing_is_left(before)
