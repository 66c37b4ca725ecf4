"""Debian from its archive, with its own package manager at work in it: as root, and as a user who is nobody special.

The system is pulled once and kept with other caches, for each of the two. Where the same is also run natively, that
happens in a chroot of the same image.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.image.whole import CLEAN, Noah
from tests.running import descendants, reap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HERE: Final = Path(__file__).parent
USERS: Final = "sudo rsync acl attr libcap2-bin passwd login adduser"
# Where root runs Noah, files are the host's own, and are checked by it. What differs there; it only shrinks.
OTHER_FOR_ROOT: Final = {
    "device nodes": "a container makes none that stand for the host's disks",
    "trusted attributes": "they take CAP_SYS_ADMIN of the host, which a container gives up",
}
SMALL: Final = "less nano file bzip2 ca-certificates openssl"
LINES: Final = 45  # that apt-get and dpkg say while they install these


def test_install_remove_purge(noah_of: Noah, name: str) -> None:
    noah_of.shell(name, "debian", f"apt-get update; apt-get upgrade -y; apt-get install -y hello less; hello; {CLEAN}")
    seen = noah_of.next(
        name, f"apt-get remove -y hello; apt-get purge -y less; apt-get autoremove -y; {CLEAN}; dpkg -l"
    )
    assert "\nclean\n" in seen
    states = {line.split()[1]: line[:2] for line in seen.splitlines() if line[:3] in ("ii ", "rc ", "iU ", "iF ")}
    assert "hello" not in states
    assert "less" not in states
    assert set(states.values()) <= {"ii"}


@pytest.mark.parametrize(
    ("packages", "command", "shown"),
    [
        ("curl vim git man-db tzdata", "curl --version; git --version; vim --version; man -w man", "Features:"),
        ("locales", "echo 'de_DE.UTF-8 UTF-8' > /etc/locale.gen; locale-gen; locale -a", "de_DE.utf8"),
        ("golang ca-certificates", "go version; test -s /etc/ssl/certs/ca-certificates.crt && echo bundle", "bundle"),
        ("build-essential", "printf 'int main(void){return 0;}' > x.c; gcc x.c && ./a.out && echo built", "built"),
        ("python3-pip ruby nodejs", "ruby -e 'puts 6*7'; node -p 6*7; pip --version", "42\n42\n"),
        ("postgresql nginx redis openssh-server", "pg_lsclusters -h; nginx -v; sshd -V || true", "main 5432"),
        ("x11-apps openjdk-21-jre-headless", "java -version; which xclock", "/usr/bin/xclock"),
        ("texlive-base", "tex --version", "TeX"),
    ],
)
def test_packages(noah_of: Noah, name: str, packages: str, command: str, shown: str) -> None:
    install = f"apt-get update -q; apt-get install -y {packages}; {CLEAN}"
    seen = noah_of.shell(name, "debian", f"{install}; {{ {command}; }} 2>&1")
    assert "\nclean\n" in seen
    assert shown in seen


def test_users_and_owners(noah_of: Noah, name: str, tmp_path: Path) -> None:
    """Who owns what and who may what is told as in a chroot of the same system."""
    if os.getuid():
        pytest.skip("running it natively takes root")
    noah_of.shell(name, "debian", f"apt-get update -q; apt-get install -y {USERS}")
    expected = noah_of.natively(name, HERE / "users.sh", tmp_path)
    seen, wanted = sections(noah_of.next(name, "bash /users.sh")), sections(expected)
    different = {section for section in wanted if seen.get(section) != wanted[section]}
    assert different == (set(OTHER_FOR_ROOT) if noah_of.user is None else set())


def sections(output: str) -> dict[str, list[str]]:
    """What was printed, by the headings of users.sh."""
    parts = [part.splitlines() for part in output.split("---- ")]
    return {lines[0]: lines[1:] for lines in parts if lines}


@pytest.fixture(scope="module")
def loaded(noah_of: Noah) -> Iterator[str]:
    """An image in which the packages are only to be unpacked and configured."""
    noah_of.forget("rm", "--force", "loading")
    noah_of.shell("loading", "debian", f"apt-get update -q; apt-get install -y --download-only {SMALL}")
    noah_of("commit", "loading", "loaded")
    noah_of("rm", "loading")
    yield "loaded"
    noah_of("rmi", "loaded")


@pytest.mark.parametrize("seed", range(20))
def test_killed_install_is_finished_later(noah_of: Noah, name: str, loaded: str, seed: int, tmp_path: Path) -> None:
    """Killed after any line that it says, and a moment."""
    log = tmp_path / "log"
    moment = random.Random(seed)
    lines = moment.randrange(LINES)
    process = noah_of.start(name, loaded, f"apt-get install -y {SMALL}", log)
    while log.read_bytes().partition(b"The following NEW")[2].count(b"\n") < lines and process.poll() is None:
        time.sleep(0.02)
    time.sleep(moment.uniform(0, 0.5))
    kill_tree(process)
    rest = f"dpkg --configure -a; apt-get -f install -y; apt-get install -y {SMALL}; {CLEAN}"
    assert "\nclean\n" in noah_of.next(name, rest)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process and everything that it started, all at once as far as that is possible."""
    doomed = [process.pid, *descendants(process.pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in doomed:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        doomed += [pid for parent in doomed for pid in descendants(parent) if pid not in doomed]
    process.wait()
    time.sleep(0.5)
    reap()
