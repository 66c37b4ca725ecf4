"""Runs programs natively and in Noah, under the same conditions, for the end-to-end tests.

A run gets a fresh working directory, a fixed environment, no controlling terminal and a time limit. Whatever it leaves
behind (processes, temporary files) is counted before it is removed: the test process makes itself a child subreaper,
so orphans of a run become its own children.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[1]
NOAH: Final = os.environ.get("NOAH", str(REPOSITORY / ".venv/bin/noah"))
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "TERM": "xterm",
    "USER": "tester",
}
TIMED_OUT: Final = -1000  # in place of an exit status
USER: Final = "noah-test"
_PR_SET_CHILD_SUBREAPER: Final = 36


class Result(NamedTuple):
    """How a command ended: exit status (negative: minus the signal), output, and what it left running."""

    status: int
    stdout: bytes
    stderr: bytes
    orphans: int


def environment(**more: str) -> dict[str, str]:
    """The environment of every run. NOAH_* variables of the caller reach Noah, so that CI can set its caches."""
    own = {key: value for key, value in os.environ.items() if key.startswith("NOAH_")}
    return {**own, **ENVIRONMENT, **more}


@functools.cache
def become_subreaper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Process id, parent and state of everything that there is."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            yield int(entry), int(fields[1]), fields[0]


def descendants(pid: int) -> list[int]:
    """All living descendants of a process, zombies left out."""
    children: dict[int, list[int]] = {}
    for child, parent, state in _processes():
        if state not in "ZX":
            children.setdefault(parent, []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        new = children.get(queue.pop(), [])
        found += new
        queue += new
    return found


def reap() -> None:
    """Collects ended orphans. Only for moments at which no subprocess.Popen of this process is waited for."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _has_zombies() -> bool:
    me = os.getpid()
    return any(parent == me and state == "Z" for _, parent, state in _processes())


def kill_new(before: set[int], *, grace: float = 1.0) -> int:
    """Kills all descendants that were not there `before`; returns how many did not end by themselves in time."""
    deadline = time.monotonic() + grace
    while (left := set(descendants(os.getpid())) - before) and time.monotonic() < deadline:
        reap()
        time.sleep(0.02)
    count = len(left)
    while left := set(descendants(os.getpid())) - before:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
        reap()
    # Nobody can wait for a zombie while other threads of it still end: KVM gives each process one of its own.
    deadline = time.monotonic() + 5
    reap()
    while _has_zombies() and time.monotonic() < deadline:
        time.sleep(0.005)
        reap()
    return count


def run(
    command: Sequence[str],
    *,
    cwd: Path | str,
    stdin: bytes | int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    user: pwd.struct_passwd | None = None,
) -> Result:
    """Runs a command in a session of its own; output goes through files, so that an orphan cannot hold up the end."""
    become_subreaper()
    before = set(descendants(os.getpid()))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        if isinstance(stdin, bytes):
            given.write(stdin)
            given.seek(0)
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env if env is not None else environment()),
            stdin=given if isinstance(stdin, bytes) else stdin,
            stdout=out,
            stderr=err,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            umask=0o022,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = TIMED_OUT
            process.kill()
            process.wait()
        orphans = kill_new(before)
        out.seek(0)
        err.seek(0)
        return Result(status, out.read(), err.read(), orphans)


# ---- trees of files ----


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """Maps each relative path to (type, mode, links, size, content or target); sizes of directories are left out."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names, fd in os.fwalk(os.fsencode(top)):
        for name in folders + names:
            status = os.lstat(name, dir_fd=fd)
            content = ""
            size = status.st_size
            if stat.S_ISREG(status.st_mode):
                with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()[:16] if size < 1 << 28 else "(big)"
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(name, dir_fd=fd).decode(errors="backslashreplace")
            else:
                size = 0
            relative = os.path.relpath(os.path.join(folder, name), os.fsencode(top)).decode(errors="backslashreplace")
            mode = stat.filemode(status.st_mode)
            found[relative] = (mode, status.st_uid, status.st_gid, status.st_nlink, size, content)
    return found


def remove_tree(top: Path) -> None:
    """Removes a tree, also one with directories that lack permissions or with paths longer than PATH_MAX."""
    subprocess.run(["chmod", "-R", "u+rwX", "--", top], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", "--", top], check=True)


@contextmanager
def working_directory(user: pwd.struct_passwd | None = None, parent: str | None = None) -> Iterator[Path]:
    """A new directory that belongs to `user`, removed afterwards."""
    top = Path(tempfile.mkdtemp(prefix="noah-test-", dir=parent))
    try:
        top.chmod(0o755)
        if user:
            os.chown(top, user.pw_uid, user.pw_gid)
        yield top
    finally:
        remove_tree(top)


# ---- users, engines, roots ----


@functools.cache
def kvm_trouble() -> str:
    """Why the KVM engine cannot run here, "" when it can."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return ""


# Runs a command as user $0 and group $1 where /dev/kvm has the mode $2, whatever mode this machine gives it: the node
# is another one, in a mount namespace that ends with the command.
_ENTER_KVM: Final = """
set -e
mount -t tmpfs tmpfs /mnt
mknod -m "$2" /mnt/kvm c $(stat -c '0x%t 0x%T' /dev/kvm)
mount --bind /mnt/kvm /dev/kvm
umount --lazy /mnt
user=$0 group=$1
shift 2
exec setpriv --reuid "$user" --regid "$group" --clear-groups "$@"
"""


def with_kvm(user: pwd.struct_passwd, *, usable: bool) -> tuple[str, ...]:
    """What to put before a command that root starts for `user`, who shall be able to use /dev/kvm, or not.

    Skips the test where that cannot be arranged.
    """
    if kvm_trouble() and os.getuid() == 0:
        pytest.skip(kvm_trouble())
    if os.getuid():
        if usable != (not kvm_trouble()):
            pytest.skip(kvm_trouble() or "an ordinary user may use /dev/kvm here")
        return ()
    mode = "666" if usable else "600"
    return ("unshare", "--mount", "sh", "-c", _ENTER_KVM, str(user.pw_uid), str(user.pw_gid), mode)


def need_engine(engine: str) -> None:
    if engine == "kvm" and kvm_trouble():
        pytest.skip(kvm_trouble())


@functools.cache
def ordinary_user() -> pwd.struct_passwd:
    """A user without privileges: the one who runs the tests, or noah-test (made when missing) when that is root."""
    if os.getuid():
        return pwd.getpwuid(os.getuid())
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", USER], check=True)
        return pwd.getpwnam(USER)


def cache_folder() -> Path:
    """Where roots and environments that take long to make are kept: $NOAH_TEST_CACHE, else beside other caches."""
    chosen = os.environ.get("NOAH_TEST_CACHE")
    if chosen:
        return Path(chosen)
    return Path("/var/cache") if os.getuid() == 0 else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def noah_command(user: pwd.struct_passwd | None = None) -> tuple[str, ...]:
    """The command that starts Noah as `user`.

    An environment below root's home cannot be executed by anybody else; then the same sources run in a second
    environment, made once outside of it.
    """
    if not Path(NOAH).exists():
        pytest.skip(f"{NOAH} does not exist: run `make test`, or set NOAH")
    if user is None or user.pw_uid == os.getuid():
        return (NOAH,)
    if run(["sh", "-c", 'exec "$0" --help', NOAH], cwd="/", user=user).status == 0:
        return (NOAH,)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["noah"].partition(":")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = cache_folder() / f"noah-test-packages-{version}"
    if run(["/usr/bin/python3", "--version"], cwd="/").stdout.decode().split()[-1:] == []:
        pytest.skip("another user can execute no Python here: install python3")
    _copy_packages(packages, project["dependencies"])
    source = packages / "noah-source"
    if source.exists():
        shutil.rmtree(source)
    shutil.copytree(REPOSITORY / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    start = f"import sys; sys.path[:0] = [{str(source)!r}, {str(packages)!r}]; sys.argv[0] = 'noah'; "
    return ("/usr/bin/python3", "-c", f"{start}from {module} import {function}; sys.exit({function}())")


def _copy_packages(folder: Path, dependencies: Sequence[str]) -> None:
    # pip writes what /usr/bin/python3 can load: binary wheels for its version.
    if folder.exists() or not dependencies:
        folder.mkdir(exist_ok=True)
        return
    scratch = folder.with_name(folder.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(scratch)]
    made = subprocess.run([*pip, *dependencies], check=False, capture_output=True, text=True)
    if made.returncode:
        # Without an index: what this environment has is good for another Python of the same version.
        shutil.copytree(sysconfig.get_path("purelib"), scratch, dirs_exist_ok=True)
    scratch.rename(folder)


# What the programs under test need, beyond the essential packages of Debian.
PACKAGES: Final = (
    "bash", "bc", "binutils", "bsdextrautils", "busybox", "bzip2", "coreutils", "dialog", "diffutils", "ed", "file",
    "findutils", "g++", "gawk", "gcc", "git", "grep", "gzip", "htop", "less", "libc6-dev", "lsof", "make", "mc", "nano",
    "ncurses-bin", "openssh-client", "patch", "perl", "procps", "psmisc", "python3", "rsync", "ruby", "sed", "sqlite3",
    "strace", "tar", "tmux", "util-linux", "vim", "xz-utils", "zstd",
)  # fmt: skip


# The language runtimes that tests/runtimes and tests/test_suites.py run.
RUNTIMES: Final = (
    "bash", "ca-certificates", "erlang-base", "erlang-dev", "gcc", "golang", "libc6-dev", "libpython3.11-testsuite",
    "lua5.4", "netbase", "nodejs", "openjdk-17-jdk-headless", "openssl", "perl", "php-cli", "procps", "psmisc",
    "python3", "ruby", "rustc", "strace", "tzdata",
)  # fmt: skip


# The servers and their clients of tests/servers.
SERVERS: Final = (
    "apache2", "apache2-utils", "bash", "curl", "haproxy", "iproute2", "mariadb-client", "mariadb-server", "memcached",
    "nginx-light", "openssh-client", "openssh-server", "openssh-sftp-server", "postgresql", "procps", "psmisc",
    "python3", "redis-server", "redis-tools", "sqlite3", "strace", "tzdata", "wrk",
)  # fmt: skip
_UNREACHABLE: Final = ("Could not resolve", "Could not connect", "Failed to fetch", "Temporary failure resolving")
"""What apt-get(8) says without a network."""
_ROOT_NAMES: Final = {
    PACKAGES: "noah-test-debian",
    RUNTIMES: "noah-test-debian-runtimes",
    SERVERS: "noah-test-debian-servers",
}


@functools.cache
def debian_root(packages: tuple[str, ...] = PACKAGES) -> Path:
    """A plain Debian root with these packages, made once from this machine's apt sources."""
    if os.getuid():
        pytest.skip("making a Debian root, and running programs natively in it, takes root")
    root = cache_folder() / _ROOT_NAMES[packages]
    marker = root / "etc/noah-test-packages"
    if marker.exists() and marker.read_text() == " ".join(packages):
        return root
    if not (shutil.which("mmdebstrap") or shutil.which("debootstrap")):
        subprocess.run(["apt-get", "install", "-y", "-qq", "mmdebstrap"], check=False, capture_output=True)
    scratch = root.with_name(root.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    suite = _host_suite()
    if shutil.which("mmdebstrap"):
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite, str(scratch)]
    elif shutil.which("debootstrap"):
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(scratch)]
    else:
        pytest.skip("neither mmdebstrap nor debootstrap is installed, and apt-get could not install them")
    made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1500)
    if made.returncode and any(reason in made.stderr for reason in _UNREACHABLE):
        pytest.skip(f"the archive of this machine's apt sources cannot be reached: {made.stderr[-300:]}")
    assert made.returncode == 0, f"{command[0]} could not make a Debian root: {made.stderr[-300:]}"
    user = ordinary_user()
    with (scratch / "etc/passwd").open("a") as passwd, (scratch / "etc/group").open("a") as group:
        passwd.write(f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::/:/bin/sh\n")
        group.write(f"{user.pw_name}:x:{user.pw_gid}:\n")
    (scratch / "etc/hosts").write_text("127.0.0.1\tlocalhost\n")  # where there is none, Noah shows the host's
    (scratch / "etc/noah-test-packages").write_text(" ".join(packages))
    shutil.rmtree(root, ignore_errors=True)
    scratch.rename(root)
    return root


# Runs a command as user $0 and group $1 in the root $2, with the directory $3. In a mount namespace of its own nothing
# stays mounted, however this ends.
_ENTER: Final = """
set -e
user=$0 group=$1 root=$2 work=$3
shift 3
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root$work"
mount --bind "$work" "$root$work"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --clear-groups sh -c 'cd "$0"; exec "$@"' "$work" "$@"
"""


def native_command(root: Path, work: Path, command: Sequence[str], user: pwd.struct_passwd | None = None) -> list[str]:
    """What runs a command natively in a root, in the directory `work` of the host; takes root."""
    ids = [str(user.pw_uid if user else 0), str(user.pw_gid if user else 0)]
    return ["unshare", "--mount", "sh", "-c", _ENTER, *ids, str(root), str(work), *command]


def _host_suite() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return "stable"


def need_programs(names: Sequence[str], root: Path) -> None:
    """Skips the test where the root lacks one of the programs; root on a Debian host gets PACKAGES installed first."""
    missing = [name for name in names if not _find_program(name, root)]
    if missing and root == Path("/") and os.getuid() == 0 and shutil.which("apt-get"):
        _install_packages()
        missing = [name for name in names if not _find_program(name, root)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")


@functools.cache
def _install_packages() -> None:
    subprocess.run(["apt-get", "install", "-y", "-qq", *PACKAGES], check=False, capture_output=True, timeout=900)


def _find_program(name: str, root: Path) -> bool:
    folders = ENVIRONMENT["PATH"].split(":")
    return any(os.path.lexists(root / folder.lstrip("/") / name) for folder in folders)
