"""Servers under load, natively and in Noah, side by side.

    bench/servers.py [--rows redis_set,nginx] [--engine kvm] [--rounds 3] [--seconds 4] [--root DIR] [--json FILE]

Both servers run all the time, on ports of their own; in each round a client, always native, loads one and then the
other. A figure is the time that a request takes on average: one divided by the requests per second of all clients.
Servers that become another user take root's rights to be measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from report import Result, table
from run import Failure

LOCAL: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
NGINX: Final = """
daemon off; worker_processes 2; user {user}; pid {work}/pid; error_log {work}/errors;
events {{ worker_connections 512; }}
http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {work}; }} }}
"""


@dataclass(frozen=True)
class Site:
    """Where one of two servers lives: a folder as it is on the host and in the root, and a port."""

    folder: Path
    work: str
    port: int
    root: Path

    def postgres(self, name: str) -> str:
        found = next((self.root / "usr/lib/postgresql").glob(f"*/bin/{name}"), None)
        if found is None:
            raise Failure(f"{name} is not installed")
        return "/" + str(found.relative_to(self.root))


Prepare = Callable[[Site, Callable[[list[str]], str]], list[str]]
"""Makes what a server needs, with a function that runs native commands; the server's command."""


def prepare_redis(site: Site, native: Callable[[list[str]], str]) -> list[str]:
    return ["redis-server", "--port", str(site.port), "--save", "", "--dir", site.work]


def prepare_nginx(site: Site, native: Callable[[list[str]], str]) -> list[str]:
    (site.folder / "index.html").write_text("hello\n" * 100)
    (site.folder / "conf").write_text(NGINX.format(user="www-data", work=site.work, port=site.port))
    return ["nginx", "-c", f"{site.work}/conf"]


def as_postgres(*argv: str) -> list[str]:
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--", *argv]


def prepare_postgres(site: Site, native: Callable[[list[str]], str]) -> list[str]:
    data = f"{site.work}/data"
    native(["install", "-d", "-o", "postgres", "-m", "700", data])
    native(as_postgres(site.postgres("initdb"), "-D", data, "--no-sync"))
    options = ["-p", str(site.port), "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
    return as_postgres(site.postgres("postgres"), "-D", data, *options)


def after_postgres(site: Site, native: Callable[[list[str]], str]) -> None:
    native(pgbench(site, "-i", "-q", "-s", "2"))


def pgbench(site: Site, *options: str) -> list[str]:
    return as_postgres(site.postgres("pgbench"), "-h", LOCAL, "-p", str(site.port), "-n", *options, "postgres")


def pgbench_rate(text: str) -> float:
    return float(re.search(r"^tps = ([0-9.]+)", text, re.MULTILINE)[1])  # type: ignore[index]


def redis_rate(text: str) -> float:
    return float(list(csv.reader(text.splitlines()))[1][1])


def wrk_rate(text: str) -> float:
    if "Socket errors" in text or "Non-2xx" in text:
        raise Failure("requests failed")
    return float(re.search(r"^Requests/sec: +([0-9.]+)", text, re.MULTILINE)[1])  # type: ignore[index]


def redis_benchmark(what: str, count: int, *options: str) -> Callable[[Site, int], list[str]]:
    def command(site: Site, seconds: int) -> list[str]:
        number = ["-n", str(count * seconds), "-c", "50", "-t", what, "--csv"]
        return ["redis-benchmark", "-p", str(site.port), *number, *options]

    return command


def wrk(*options: str) -> Callable[[Site, int], list[str]]:
    def command(site: Site, seconds: int) -> list[str]:
        return ["wrk", "-t1", "-c50", f"-d{seconds}s", *options, f"http://{LOCAL}:{site.port}/"]

    return command


def pgbench_for(*options: str) -> Callable[[Site, int], list[str]]:
    return lambda site, seconds: pgbench(site, "-c", "8", "-j", "2", "-T", str(seconds), *options)


@dataclass(frozen=True)
class Load:
    """A row: what a client does to a server, and how to read the rate from what it prints."""

    name: str
    what: str
    server: str
    command: Callable[[Site, int], list[str]]
    rate: Callable[[str], float]


SERVERS: Final[dict[str, Prepare]] = {"redis": prepare_redis, "nginx": prepare_nginx, "postgres": prepare_postgres}
LOADS: Final = (
    Load("redis_set", "SET by 50 clients", "redis", redis_benchmark("set", 3000), redis_rate),
    Load("redis_get", "GET by 50 clients", "redis", redis_benchmark("get", 3000), redis_rate),
    Load("redis_set_p16", "SET, 16 at a time", "redis", redis_benchmark("set", 30000, "-P", "16"), redis_rate),
    Load("redis_get_p16", "GET, 16 at a time", "redis", redis_benchmark("get", 30000, "-P", "16"), redis_rate),
    Load("nginx", "a file of 600 bytes, 50 connections that stay", "nginx", wrk(), wrk_rate),
    Load("nginx_close", "the same, a connection each", "nginx", wrk("-H", "Connection: close"), wrk_rate),
    Load("pgbench", "a transaction that writes, 8 clients", "postgres", pgbench_for(), pgbench_rate),
    Load("pgbench_select", "a query, 8 clients", "postgres", pgbench_for("-S"), pgbench_rate),
)


class Bench:
    """Starts the servers and loads them."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options = options
        self.root = Path(options.root)
        self.work = work

    def native(self, argv: list[str]) -> list[str]:
        return argv if self.root == Path("/") else ["chroot", str(self.root), *argv]

    def in_noah(self, argv: list[str]) -> list[str]:
        return [*self.options.noah, "run", "--engine", self.options.engine, "--root", str(self.root), "--", *argv]

    def run(self, argv: list[str]) -> str:
        done = subprocess.run(
            self.native(argv), cwd="/", capture_output=True, text=True, timeout=300, start_new_session=True
        )
        if done.returncode:
            raise Failure(f"{argv[0]}: exit status {done.returncode}: {done.stderr.strip()[-100:]}")
        return done.stdout

    @contextmanager
    def serving(self, name: str, *, noah: bool) -> Iterator[Site]:
        """A server of its own for one side."""
        folder = self.work / f"{name}-{'noah' if noah else 'native'}"
        folder.mkdir()
        folder.chmod(0o777)
        with socket.socket() as probe:
            probe.bind((LOCAL, 0))
            port = probe.getsockname()[1]
        site = Site(folder, "/" + str(folder.relative_to(self.root)), port, self.root)
        command = SERVERS[name](site, self.run)
        if not any((self.root / place / command[0]).exists() for place in ("usr/sbin", "usr/bin", "bin", "sbin")):
            raise Failure(f"{command[0]} is not installed")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self.in_noah(command) if noah else self.native(command),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.await_port(process, site)
            if name == "postgres":
                time.sleep(2)  # the port is there before it takes queries
                after_postgres(site, self.run)
            yield site
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def await_port(self, process: subprocess.Popen[bytes], site: Site) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((LOCAL, site.port), 5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failure(f"the server does not start: {(site.folder / 'log').read_text()[-200:]}")

    def measure(self, name: str, rows: dict[Load, Result]) -> None:
        """All rows of one server."""
        with ExitStack() as stack:
            sites = {noah: stack.enter_context(self.serving(name, noah=noah)) for noah in (False, True)}
            for turn in range(self.options.rounds):
                for load, result in rows.items():
                    print(f"round {turn + 1}: {load.name}", file=sys.stderr)
                    for noah in (True, False) if turn % 2 else (False, True):
                        rate = load.rate(self.run(load.command(sites[noah], self.options.seconds)))
                        (result.noah if noah else result.native).append(1 / rate)


def chosen(text: str) -> list[Load]:
    names = text.split(",")
    if unknown := set(names) - {load.name for load in LOADS}:
        raise argparse.ArgumentTypeError(f"no row {', '.join(unknown)}; there are {', '.join(x.name for x in LOADS)}")
    return [load for load in LOADS if load.name in names]


def main() -> int:
    parser = argparse.ArgumentParser(description="Servers under load, natively and in Noah, side by side.")
    parser.add_argument("--rows", type=chosen, default=list(LOADS))
    parser.add_argument("--engine", default="auto", choices=("auto", "kvm", "emulator"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="how long a client runs (redis: as many requests)")
    parser.add_argument("--root", default="/", help="where the servers are installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    default = str(Path(sys.executable).with_name("noah"))
    parser.add_argument("--noah", type=shlex.split, default=[default], metavar="COMMAND", help="the command under test")
    options = parser.parse_args()
    results = {load: Result(load.name, load.what) for load in options.rows}
    work = Path(tempfile.mkdtemp(prefix="noah-bench-", dir=Path(options.root) / "tmp"))
    work.chmod(0o755)
    before = os.getloadavg()[0]
    try:
        bench = Bench(options, work)
        for name in SERVERS:
            rows = {load: result for load, result in results.items() if load.server == name}
            try:
                if rows:
                    bench.measure(name, rows)
            except Failure as failure:
                for result in rows.values():
                    result.failure = str(failure)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(table(list(results.values())))
    print(
        f"\nTime of a request; medians of {options.rounds} rounds; engine {options.engine}; load {before:.1f} before."
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results.values()], indent=1) + "\n")
    return 1 if any(result.failure for result in results.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
