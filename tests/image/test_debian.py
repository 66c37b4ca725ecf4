"""Debian from its archive, with its own package manager at work in it: as root, and as a user who is nobody special.

The system is pulled once and kept with other caches, for each of the two. Where the same is also run natively, that
happens in a chroot of the same image.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.running import cache_folder, descendants, environment, noah_command, ordinary_user, reap, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HERE: Final = Path(__file__).parent
PATIENCE: Final = 3000.0
QUIET: Final = "DEBIAN_FRONTEND=noninteractive"
CLEAN: Final = 'test -z "$(dpkg --audit; dpkg --verify)" && apt-get check >/dev/null && echo clean'
USERS: Final = "sudo rsync acl attr libcap2-bin passwd login adduser"
# Where root runs Noah, files are the host's own, and are checked by it. What differs there; it only shrinks.
OTHER_FOR_ROOT: Final = {
    "device nodes": "a container makes none that stand for the host's disks",
    "capabilities of files": "a container's processes have no CAP_DAC_READ_SEARCH on the host that they could be given",
    "access control lists, attributes": "a default list does not take the place of the umask",
}
SMALL: Final = "less nano file bzip2 ca-certificates openssl"


class Noah:
    """The command as one user has it, with a store of its own."""

    def __init__(self, user: pwd.struct_passwd | None) -> None:
        self.user = user
        self.command = noah_command(user)
        self.data = cache_folder() / f"noah-test-store-{user.pw_name if user else 'root'}"
        self.data.mkdir(exist_ok=True)
        if user is not None:
            os.chown(self.data, user.pw_uid, user.pw_gid)
        self.environ = environment(NOAH_DATA=str(self.data), HOME=str(self.data))

    def __call__(self, *words: str) -> str:
        """Run it, and expect that all goes well."""
        result = run([*self.command, *words], cwd="/", env=self.environ, timeout=PATIENCE, user=self.user)
        output = result.stdout.decode("utf-8", "replace")
        assert result.status == 0, f"{words}: {output[-3000:]}{result.stderr.decode('utf-8', 'replace')[-2000:]}"
        return output

    def shell(self, name: str, image: str, script: str) -> str:
        """Run a script in a new container of an image; the container is kept."""
        return self("run", "--name", name, "-e", QUIET, image, "sh", "-ec", script)

    def next(self, name: str, script: str) -> str:
        """Go on where the container `name` is now."""
        self("commit", name, "next")
        self("rm", name)
        return self.shell(name, "next", script)

    def start(self, name: str, image: str, script: str, log: Path) -> subprocess.Popen[bytes]:
        """As shell(), without waiting for it."""
        words = [*self.command, "run", "--name", name, "-e", QUIET, image, "sh", "-ec", script]
        user = self.user
        with log.open("wb") as output:
            return subprocess.Popen(
                words,
                cwd="/",
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )


@pytest.fixture(scope="module", params=["ordinary", "root"])
def noah_of(request: pytest.FixtureRequest) -> Noah:
    """Noah with an image called debian."""
    if request.param == "root" and os.getuid():
        pytest.skip("the tests are not run by root")
    noah = Noah(None if request.param == "root" or os.getuid() else ordinary_user())
    if shutil.which("apt-get") is None:
        pytest.skip("this machine has no apt that would know a mirror of Debian")
    result = run([*noah.command, "pull", "debian"], cwd="/", env=noah.environ, timeout=PATIENCE, user=noah.user)
    if any(reason in result.stderr for reason in (b"refused", b"not known", b"timed out", b"unreachable")):
        pytest.skip("Debian's archive cannot be reached from here")
    assert result.status == 0, result.stderr.decode()
    return noah


@pytest.fixture
def name(noah_of: Noah) -> Iterator[str]:
    """A name for the test's container, which goes with the test."""
    yield "test"
    for words in (["rm", "--force", "test"], ["rmi", "next"]):
        run([*noah_of.command, *words], cwd="/", env=noah_of.environ, user=noah_of.user)


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
    noah_of("cp", str(HERE / "users.sh"), f"{name}:/users.sh")
    noah_of("export", "-o", str(noah_of.data / "users.tar"), name)
    archive = noah_of.data / "users.tar"
    native = tmp_path / "native"
    native.mkdir()
    subprocess.run(["tar", "-xpf", archive, "--same-owner", "--xattrs", "--xattrs-include=*", "-C", native], check=True)
    archive.unlink()
    native.chmod(0o755)
    try:
        for source in ("proc", "dev"):
            subprocess.run(["mount", "--rbind", f"/{source}", native / source], check=True)
        expected = run(["chroot", str(native), "bash", "/users.sh"], cwd="/", timeout=PATIENCE).stdout
    finally:
        for source in ("proc", "dev"):
            subprocess.run(["umount", "--recursive", "--lazy", native / source], check=False)
    seen, wanted = sections(noah_of.next(name, "bash /users.sh")), sections(expected.decode())
    different = {section for section in wanted if seen.get(section) != wanted[section]}
    assert different == (set(OTHER_FOR_ROOT) if noah_of.user is None else set())


def sections(output: str) -> dict[str, list[str]]:
    """What was printed, by the headings of users.sh."""
    parts = [part.splitlines() for part in output.split("---- ")]
    return {lines[0]: lines[1:] for lines in parts if lines}


@pytest.mark.parametrize("seed", range(20))
def test_killed_install_is_finished_later(noah_of: Noah, name: str, seed: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = noah_of.start(name, "debian", f"apt-get update -q; apt-get install -y {SMALL}", log)
    while b"The following" not in log.read_bytes() and process.poll() is None:
        time.sleep(0.1)
    time.sleep(random.Random(seed).uniform(0, 25))
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
