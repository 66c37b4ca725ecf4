"""Measure what users do with a Debian system, natively and in Noah, in turns, and print how they compare.

    bench/images.py [--rows pull,ps] [--rounds 3] [--noah COMMAND] [--json FILE]

Takes root's rights: natively a row runs in a chroot of the very image that Noah runs it in. Both are made once, in the
user's cache folder; what is to be installed has been downloaded then, so nothing waits for a network. A row has figures
only where both sides end well and say the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from report import Result, table
from run import Failure, run

QUIET: Final = "export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8"
PACKAGES: Final = "man-db vim curl python3 less file rsync ca-certificates bzip2 xz-utils tree"
TOOLS: Final = "procps git"
PROCESSES: Final = 20
N_GIT_FILES: Final = 2000
IMAGE: Final = "bench"


@dataclass(frozen=True, slots=True)
class Row:
    """A script of sh(1) for both sides. What it prints must be equal, but for a line `took NANOSECONDS`."""

    name: str
    what: str
    script: str


def timed(command: str) -> str:
    """A script that runs a command, and says how long that took."""
    return f"from=$(date +%s%N); {command}\nto=$(date +%s%N); echo took $((to - from))\n"


ROWS: Final = (
    Row(
        "install",
        "apt-get install of some 50 packages that are there",
        f"{QUIET}; apt-get install -y --no-download --no-install-recommends {PACKAGES} >/dev/null 2>&1 || exit\n"
        "dpkg -l | wc -l",
    ),
    Row(
        "ps_aux",
        f"ps aux beside {PROCESSES} processes",
        f'for i in $(seq {PROCESSES}); do sleep 12345 & all="$all $!"; done; sleep 1; ps aux >/dev/null\n'
        + timed("ps aux > /tmp/ps")
        + 'for each in $all; do grep -c "^root *$each .*sleep 12345" /tmp/ps; done; kill $all',
    ),
    Row("find_usr", "find counts the files below /usr", timed("find /usr | wc -l")),
    Row("tar_share", "tar of /usr/share into wc", timed("tar cf - --sort=name /usr/share 2>/dev/null | wc -c")),
    Row(
        "git_add",
        f"git init, add and commit of {N_GIT_FILES:,} files",
        f"mkdir /g && cd /g && i=0; while [ $i -lt {N_GIT_FILES} ]; do echo $i > f$i; i=$((i+1)); done\n"
        + timed("git init -q . && git add . && git -c user.name=a -c user.email=b commit -qm c")
        + "git ls-files | wc -l",
    ),
)
PULL: Final = "pull"


class Bench:
    """Where both sides live."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.noah: list[str] = options.noah
        self.timeout: float = options.timeout
        self.place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noah-bench/images"
        self.native = self.place / "native"
        self.copy = self.place / "copy"
        os.environ["NOAH_DATA"] = str(self.place / "store")

    def call(self, *words: str) -> float:
        """Run the command under test; seconds. Failure."""
        done = run([*self.noah, *words], self.timeout)
        if done.status:
            raise Failure(f"noah {words[0]}: exit status {done.status}: {done.errors[-200:]}")
        return done.seconds

    def prepare(self) -> None:
        """The image, and the same for a chroot."""
        self.place.mkdir(parents=True, exist_ok=True)
        if self.native.exists():
            return
        script = (
            f"{QUIET}; apt-get update && apt-get install -y --no-install-recommends {TOOLS} && "
            f"apt-get install -y --no-install-recommends --download-only {PACKAGES}"
        )
        run([*self.noah, "rm", "--force", "making"], self.timeout)
        self.call("pull", "debian")
        self.call("run", "--name", "making", "debian", "sh", "-c", script)
        self.call("commit", "making", IMAGE)
        fresh, archive = self.place / "fresh", self.place / "native.tar"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        self.call("export", "-o", str(archive), "making")
        subprocess.run(["tar", "-xpf", str(archive), "--same-owner", "-C", str(fresh)], check=True)
        archive.unlink()
        self.call("rm", "making")
        fresh.rename(self.native)

    def natively(self, row: Row) -> tuple[float, bytes]:
        """In a chroot of a copy, which is made beforehand."""
        subprocess.run(["cp", "-a", str(self.native), str(self.copy)], check=True)
        mounts = [(source, self.copy / source) for source in ("proc", "dev")]
        try:
            for source, target in mounts:
                subprocess.run(["mount", "--rbind", f"/{source}", target], check=True)
            return self.figure(["chroot", str(self.copy), "sh", "-c", row.script])
        finally:
            for _, target in mounts:
                subprocess.run(["umount", "--recursive", "--lazy", target], check=False)
            shutil.rmtree(self.copy)

    def in_noah(self, row: Row) -> tuple[float, bytes]:
        return self.figure([*self.noah, "run", "--rm", IMAGE, "sh", "-c", row.script])

    def figure(self, command: list[str]) -> tuple[float, bytes]:
        """Seconds and output. Failure."""
        done = run(command, self.timeout)
        if done.status:
            raise Failure(f"exit status {done.status}: {done.errors[-200:]}")
        lines = done.output.splitlines()
        said = [line for line in lines if line.startswith(b"took ")]
        seconds = int(said[0].split()[1]) / 1e9 if said else done.seconds
        return seconds, b"\n".join(line for line in lines if line not in said)

    def pull(self) -> float:
        """The image anew, of what has been downloaded."""
        if any(line for line in run([*self.noah, "images", "-q", "debian"], self.timeout).output.splitlines()):
            self.call("rmi", "--force", *_names(self))
        return self.call("pull", "debian")

    def bootstrap(self) -> float:
        """The same by mmdebstrap(1), its downloads kept as its manual says."""
        kept = self.place / "debs"
        kept.mkdir(exist_ok=True)
        archives = "/var/cache/apt/archives"
        hooks = (
            f'--setup-hook=mkdir -p "$1{archives}/partial"; cp -al {kept}/*.deb "$1{archives}/" 2>/dev/null || true',
            f'--customize-hook=cp -n "$1{archives}"/*.deb {kept}/ 2>/dev/null || true',
        )
        shutil.rmtree(self.place / "made", ignore_errors=True)
        more = ["--variant=minbase", "--mode=root", "--skip=download/empty,essential/unlink,cleanup/apt/cache"]
        more.append('--aptopt=Acquire::Check-Valid-Until "false"')  # a mirror that is kept may be an old one
        done = run(["mmdebstrap", *more, *hooks, "stable", str(self.place / "made")], self.timeout)
        if done.status:
            raise Failure(f"mmdebstrap: exit status {done.status}: {done.errors[-200:]}")
        return done.seconds


def _names(bench: Bench) -> list[str]:
    """Every name of the image that is pulled."""
    form = ("images", "--format", "{{.Repository}}:{{.Tag}}")
    names = run([*bench.noah, *form], bench.timeout).output.decode().split()
    return [name for name in names if name.startswith("debian:")]


def main() -> int:
    parser = argparse.ArgumentParser(description="A Debian system natively and in Noah, side by side.")
    known = [PULL, *(row.name for row in ROWS)]
    parser.add_argument("--rows", default=",".join(known), help=f"some of {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=1800, metavar="S", help="limit of each single run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    default = str(Path(sys.executable).with_name("noah"))
    parser.add_argument("--noah", type=shlex.split, default=[default], metavar="COMMAND", help="the command under test")
    options = parser.parse_args()
    wanted = options.rows.split(",")
    if strange := set(wanted) - set(known):
        parser.error(f"no row {', '.join(sorted(strange))}; there are {', '.join(known)}")
    if os.geteuid():
        parser.error("the native side is a chroot, which takes root's rights")
    bench = Bench(options)
    bench.prepare()
    rows: dict[str, tuple[Result, Callable[[], tuple[float, bytes]], Callable[[], tuple[float, bytes]]]] = {}
    if PULL in wanted:
        result = Result(PULL, "Debian, minimal, from kept downloads; natively by mmdebstrap")
        if shutil.which("mmdebstrap") is None:
            result.failure = "mmdebstrap is not installed"
        rows[PULL] = result, lambda: (bench.bootstrap(), b""), lambda: (bench.pull(), b"")
    for row in ROWS:
        if row.name in wanted:
            sides = (lambda row=row: bench.natively(row)), (lambda row=row: bench.in_noah(row))
            rows[row.name] = Result(row.name, row.what), *sides
    for number in range(options.rounds):
        for name, (result, native, noah) in rows.items():
            if not result.failure:
                print(f"round {number + 1}: {name}", file=sys.stderr)
                _round(result, native, noah, noah_first=number % 2 == 1)
    results = [result for result, _, _ in rows.values()]
    print(table(results))
    print(f"\nMedians of {options.rounds} rounds; {time.strftime('%Y-%m-%d')}.")
    if options.json:
        options.json.write_text(json.dumps([result.as_json() for result in results], indent=1) + "\n")
    return 1 if any(result.failure for result in results) else 0


def _round(
    result: Result,
    native: Callable[[], tuple[float, bytes]],
    noah: Callable[[], tuple[float, bytes]],
    *,
    noah_first: bool,
) -> None:
    """Run a row on both sides, and note the figures, or why there are none."""
    outputs = {}
    for is_noah in (True, False) if noah_first else (False, True):
        try:
            seconds, outputs[is_noah] = noah() if is_noah else native()
        except Failure as failure:
            result.failure = f"{'' if is_noah else 'natively, '}{failure}"
            return
        (result.noah if is_noah else result.native).append(seconds)
    if outputs[True] != outputs[False]:
        result.failure = "output differs from the native run's"


if __name__ == "__main__":
    sys.exit(main())
