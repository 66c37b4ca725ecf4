"""Programs of another architecture: what Debian's arm64 packages hold does in Noah what this machine's own programs do.

The packages come from the apt sources of this machine and are only unpacked; none of their scripts run.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest
from tests.running import cache_folder, environment, need_programs, noah_command, run, working_directory
from tests.test_programs import INTERPRETERS, SCRIPTS, WORK, Outcome, differences, header, native, outcome, prepare

PACKAGES: Final = (
    "base-files", "base-passwd", "bash", "bc", "binutils", "bsdextrautils", "busybox-static", "bzip2", "coreutils",
    "dash", "debianutils", "diffutils", "file", "findutils", "gawk", "grep", "gzip", "hostname", "libc-bin",
    "ncurses-bin", "patch", "perl", "procps", "python3", "sed", "tar", "tzdata", "util-linux", "xxd", "xz-utils",
    "zstd",
)  # fmt: skip
# What their scripts would have made.
LINKS: Final = {"usr/bin/awk": "gawk", "bin/sh": "dash"}
PROGRAMS: Final = (
    "archives.sh", "bash_basics.sh", "bash_jobs.sh", "bash_pipes.sh", "bash_signals.sh", "core_text.sh",
    "find_xargs.sh", "perl_core.pl", "python_core.py", "python_threads.py", "shebang.sh",
)  # fmt: skip
SLOWER: Final = 10.0  # than what a script may take on KVM
BUSYBOX: Final = r"""
set -- 1 2 3; for i in "$@"; do echo $((i * i)); done | busybox sort -rn
busybox seq 1000 | busybox awk '{ sum += $1 } END { print sum, NR }'
printf 'one\ntwo\nthree\n' | busybox sed -n '/t/s/t/T/gp' | busybox tr a-z A-Z
busybox find /etc/passwd -type f
(exit 3); echo status $?
trap 'echo caught' USR1; kill -USR1 $$
busybox sleep 0.1 & wait $!; echo waited $?
busybox sh -c 'kill -SEGV $$'; echo status $?
f=$(busybox mktemp); echo text > $f; busybox gzip $f; busybox zcat $f.gz; busybox rm $f.gz
busybox md5sum /dev/null; busybox dd if=/dev/zero bs=1k count=3 2>/dev/null | busybox sha256sum
cat << END | busybox wc
some $(echo nested) lines
END
"""


def apt(folder: Path, *arguments: str) -> None:
    """Runs apt-get as an arm64 machine without any package, with the sources of this one and everything in `folder`."""
    for needed in ("state/lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
        "Dir::Cache": f"{folder}/cache",
        "Dir::State": f"{folder}/state",
        "Dir::State::status": f"{folder}/status",
    }
    command = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.skip(f"no arm64 packages from this machine's apt sources: {done.stderr.strip()[-300:]}")


@functools.cache
def arm64_root() -> Path:
    """A root of PACKAGES and what they depend on, unpacked once."""
    root = cache_folder() / "noah-test-arm64"
    marker = root / "etc/noah-test-packages"
    if marker.exists() and marker.read_text() == " ".join(PACKAGES):
        return root
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            pytest.skip(f"this machine has no {program}")
    scratch = root.with_name(root.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="noah-apt-") as folder:
        apt(Path(folder), "update")
        apt(Path(folder), "install", "--download-only", "--no-install-recommends", "--yes", *PACKAGES)
        for package in sorted(Path(folder, "cache/archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, scratch], check=True)
    for path, target in LINKS.items():
        if not os.path.lexists(scratch / path):
            (scratch / path).symlink_to(target)
    for name in ("passwd", "group"):
        shutil.copy(scratch / f"usr/share/base-passwd/{name}.master", scratch / "etc" / name)
    marker = scratch / "etc/noah-test-packages"
    marker.write_text(" ".join(PACKAGES))
    shutil.rmtree(root, ignore_errors=True)
    scratch.rename(root)
    return root


def in_noah(*command: str) -> list[str]:
    """The command line of a run in the arm64 root. The architecture chooses the engine."""
    variables = [part for key, value in environment(HOME=str(WORK)).items() for part in ("-e", f"{key}={value}")]
    return [*noah_command(), "run", "--root", str(arm64_root()), *variables, *command]


def program_in_noah(name: str) -> Outcome:
    prepare(name, None)
    user = f"{os.getuid()}:{os.getgid()}"
    script = [INTERPRETERS[SCRIPTS[name].suffix], name]
    command = in_noah("-v", f"{WORK}:{WORK}", "-u", user, "-w", str(WORK), "--", *script)
    with working_directory() as home:
        timeout = header(name).timeout * SLOWER
        result = run(command, cwd=WORK, env=environment(HOME=str(home)), timeout=timeout)
    return outcome(result, header(name))


@pytest.mark.slow
@pytest.mark.emulator
@pytest.mark.aarch64
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs_as_this_machines_own(name: str) -> None:
    arm64_root()
    need_programs(header(name).needs, Path("/"))
    own, other = native(name, "host", "user" if os.getuid() else "root"), program_in_noah(name)
    # What a program says of its machine is the one thing in which it is not this one's.
    machine = other.result.stdout.replace(b"aarch64", platform.machine().encode())
    trouble = differences(own, other._replace(result=other.result._replace(stdout=machine)))
    if trouble:
        pytest.fail(f"{name}:\n{trouble}", pytrace=False)


@pytest.mark.slow
@pytest.mark.emulator
@pytest.mark.aarch64
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("shell", ["busybox sh", "bash", "dash"])
def test_shell(shell: str) -> None:
    """One that is linked statically, and two that are not."""
    machine = run(in_noah("--", "busybox", "uname", "-m"), cwd="/", timeout=60)
    assert (machine.status, machine.stdout) == (0, b"aarch64\n")
    if not shutil.which("busybox"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "busybox"], check=False, capture_output=True)
    if not shutil.which("busybox"):
        pytest.skip("this machine has no busybox, and apt-get could not install it")
    command = [*shell.split(), "-c", BUSYBOX]
    own = run(command, cwd="/", timeout=60)
    assert own.status == 0, own.stderr
    other = run(in_noah("-w", "/", "--", *command), cwd="/", timeout=300)
    assert other.stdout.decode() == own.stdout.decode()
    assert (other.status, other.orphans) == (0, 0)
    pid = re.compile(rb" \d+ ")  # what bash says of a program that died of a signal
    assert pid.sub(b" PID ", other.stderr) == pid.sub(b" PID ", own.stderr)
