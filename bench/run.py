"""Run workloads natively and in Noah, in turns, and print how they compare.

    bench/run.py [--rows getppid,macro] [--engine kvm] [--rounds 5] [--root /] [--json FILE]

A round runs each row once natively and once in Noah, one right after the other; what goes first changes from round to
round, so that a change of the machine's load hits both. A row has figures only when the exit status and the output of
the run in Noah are those of the native run.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from report import Result, duration, number, table
from rows import MACRO, MICRO, ROWS, Row

HERE: Final = Path(__file__).resolve().parent
CFLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-ffp-contract=off")


class Failure(Exception):
    """A run has no figure; the text says why."""


class Run(NamedTuple):
    """One finished command."""

    seconds: float
    status: int
    output: bytes
    errors: str


def build_micro(link: str) -> Path:
    """The program of the micro rows from the cache, compiled when its sources changed."""
    sources = sorted((HERE / "src").glob("*.c"))
    digest = hashlib.sha256(" ".join(CFLAGS).encode() + platform.machine().encode())
    for part in (*sources, *sorted((HERE / "src").glob("*.h"))):
        digest.update(part.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noah-bench"
    target = cache / digest.hexdigest()[:16] / f"micro-{link}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        static = ["-static"] if link == "static" else []
        subprocess.run(["gcc", *CFLAGS, *static, "-o", part, *sources], check=True)
        part.rename(target)
    return target


def run(command: list[str], timeout: float) -> Run:
    """Run a command in a session of its own. Raises Failure when it takes too long or does not exist."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        except FileNotFoundError as error:
            raise Failure(f"no program {error.filename}") from None
        # With a timeout, wait() of Python only looks now and then: after 63 ms, and after 113.
        late = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        try:
            status = process.wait()
            seconds = time.perf_counter() - start
        finally:
            late.cancel()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if seconds >= timeout:
            raise Failure(f"no end after {timeout:.0f} s")
        output.seek(0)
        errors.seek(0)
        return Run(seconds, status, output.read(), errors.read().decode(errors="backslashreplace").strip())


class Bench:
    """Where and how the rows run."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options = options
        self.root = Path(options.root)
        self.work = work
        """A folder inside the root, under its host path."""
        self.micro = work / "micro"
        if any(row.micro for row in options.rows):
            shutil.copy(build_micro(options.link), self.micro)

    def guest(self, path: Path) -> str:
        """A path below the root as programs in it see it."""
        return "/" + str(path.relative_to(self.root))

    def command(self, row: Row, *, noah: bool) -> list[str]:
        folder = self.guest(self.work / row.name)
        program = ["sh", "-c", row.script.replace("{work}", folder)]
        if row.micro:
            program = [self.guest(self.micro), row.name, str(self.options.budget), folder]
        elif row.script.isalpha():
            program = [row.script]
        if noah:
            options = ["--engine", self.options.engine, "--root", str(self.root)]
            return [*self.options.noah, "run", *options, "--", *program]
        return program if self.root == Path("/") else ["chroot", str(self.root), *program]

    def measure(self, row: Row, *, noah: bool) -> tuple[float, bytes]:
        """One run: its figure in seconds and the output that must be equal. Raises Failure."""
        folder = self.work / row.name
        folder.mkdir(exist_ok=True)
        if row.prepare:
            row.prepare(folder)
        done = run(self.command(row, noah=noah), self.options.timeout)
        if done.status:
            last = done.errors.splitlines()[-1:] or ["nothing on stderr"]
            raise Failure(f"exit status {done.status}: {last[0][:120].replace('|', '/')}")
        if not row.micro:
            return done.seconds, done.output
        name, figure, iterations = (done.output.split() + [b""] * 3)[:3]
        if name.decode() != row.name or not iterations.isdigit():
            raise Failure("output that is not micro's")
        return float(figure) * 1e-9, name

    def warm_up(self, row: Row, result: Result) -> None:
        """Run a command once natively, so that no round pays for cold caches."""
        try:
            self.measure(row, noah=False)
        except Failure as failure:
            result.failure = f"natively, {failure}"

    def round(self, row: Row, result: Result, *, noah_first: bool) -> None:
        """Run a row on both sides and note the figures, or why there are none."""
        outputs: dict[bool, bytes] = {}
        for noah in (True, False) if noah_first else (False, True):
            try:
                seconds, outputs[noah] = self.measure(row, noah=noah)
            except Failure as failure:
                result.failure = f"{'' if noah else 'natively, '}{failure}"
                return
            (result.noah if noah else result.native).append(seconds)
        if outputs[True] != outputs[False]:
            result.failure = "output differs from the native run's"

    def bare_exit(self) -> float | None:
        """Seconds that one exit takes a minimal Python loop; None where the engine does not work."""
        engine = "emulator" if self.options.engine == "emulator" else "kvm"
        done = run([sys.executable, str(HERE / "bare_exit.py"), "--engine", engine, "--json"], 60)
        return float(json.loads(done.output)["us"]) * 1e-6 if done.status == 0 else None


def chosen_rows(text: str) -> list[Row]:
    """Rows by name, or by the groups "micro" and "macro"."""
    by_name: dict[str, tuple[Row, ...]] = {row.name: (row,) for row in ROWS} | {"micro": MICRO, "macro": MACRO}
    try:
        wanted = {row for name in text.split(",") for row in by_name[name]}
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no row {error}; there are {', '.join(by_name)}") from None
    return [row for row in ROWS if row in wanted]


def lacking(row: Row) -> str | None:
    """A program that the row needs and this machine has not."""
    return next((program for program in row.needs if not shutil.which(program)), None)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Workloads natively and in Noah, side by side.")
    parser.add_argument("--rows", type=chosen_rows, default=list(ROWS), help="names, or micro, macro (default: all)")
    parser.add_argument("--engine", default="auto", choices=("auto", "kvm", "emulator"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", default="/", help="the guest's root; other than / it takes root's right to chroot")
    parser.add_argument(
        "--budget", type=int, default=200, metavar="MS", help="how long a micro row runs (default: 200)"
    )
    parser.add_argument("--link", default="static", choices=("static", "dynamic"), help="how micro is linked")
    parser.add_argument("--timeout", type=float, default=300, metavar="S", help="limit of each single run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    default = str(Path(sys.executable).with_name("noah"))
    parser.add_argument("--noah", type=shlex.split, default=[default], metavar="COMMAND", help="the command under test")
    return parser.parse_args()


def describe(options: argparse.Namespace, bare: list[float], results: list[Result]) -> dict[str, object]:
    """The results file."""
    return {
        "form": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "engine": options.engine,
        "root": options.root,
        "rounds": options.rounds,
        "link": options.link,
        "bare_exit": bare,
        "rows": [result.as_json() for result in results],
    }


def main() -> int:
    options = parse_options()
    results = {row: Result(row.name, row.what) for row in options.rows}
    for row, result in results.items():
        if program := lacking(row):
            result.failure = f"{program} is not installed"
    bare: list[float] = []
    with tempfile.TemporaryDirectory(prefix="noah-bench-", dir=Path(options.root) / "tmp") as work:
        bench = Bench(options, Path(work))
        for row, result in results.items():
            if not row.micro and not result.failure:
                bench.warm_up(row, result)
        for number_of_round in range(options.rounds):
            if (price := bench.bare_exit()) is not None:
                bare.append(price)
            for row, result in results.items():
                if result.failure:
                    continue
                print(f"round {number_of_round + 1}: {row.name}", file=sys.stderr)
                bench.round(row, result, noah_first=number_of_round % 2 == 1)
    print(table(list(results.values())))
    print(f"\nMedians of {options.rounds} rounds; engine {options.engine}, root {options.root}, {options.link} micro.")
    if bare:
        price = statistics.median(bare)
        print(f"Bare exit of the engine in a minimal Python loop: {duration(price)} (least {duration(min(bare))}).")
        null_call = next(
            (result for result in results.values() if result.row == "null_by_exit" and result.complete), None
        )
        if null_call:
            print(f"null_by_exit in Noah: {number(statistics.median(null_call.noah) / price)} bare exits.")
    if options.json:
        options.json.write_text(json.dumps(describe(options, bare, list(results.values())), indent=1) + "\n")
    return 1 if any(result.failure for result in results.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
