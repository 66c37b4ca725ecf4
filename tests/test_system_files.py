"""/proc, /sys and /dev of a guest with a root of its own, on a host that shows Linux' and on one that has none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import build  # tests/guests/build.py
import pytest
from tests.running import environment, need_engine, noah_command, ordinary_user, working_directory

from noah.abi.mount import TMPFS_MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterator

GUESTS: Final = Path(__file__).resolve().parent / "guests"


class Shower:
    """Runs guests/show.c in a root that has nothing else."""

    def __init__(self, root: Path, host: str, *, user: bool) -> None:
        who = ordinary_user() if user else None
        self._who = who
        self.root = root
        self._command = [*noah_command(who), "run", "--host", host, "--root", str(root), "--"]

    def __call__(self, *paths: str) -> dict[str, str]:
        parts = re.split(r"^== (.*)\n", self.run("/show", *paths), flags=re.MULTILINE)
        return dict(zip(parts[1::2], parts[2::2], strict=True))

    def run(self, *words: str) -> str:
        """What a program of the root writes."""
        done = subprocess.run(
            [*self._command, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            env=environment(),
            user=self._who.pw_uid if self._who else None,
            group=self._who.pw_gid if self._who else None,
            extra_groups=[] if self._who else None,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture(params=["linux", "posix"])
def host(request: pytest.FixtureRequest) -> str:
    need_engine("kvm")
    return str(request.param)


@pytest.fixture(params=["root", "user"])
def show(request: pytest.FixtureRequest, host: str) -> Iterator[Shower]:
    with working_directory() as root:
        shutil.copy(build.build(GUESTS / "show.c", "static"), root / "show")
        yield Shower(root, host, user=request.param == "user")


def test_processors_and_memory(show: Shower) -> None:
    cpu = "/sys/devices/system/cpu/"
    seen = show(
        *(cpu + "online", cpu + "possible", cpu + "cpu0/topology/core_id", "/sys/devices/system/node/online"),
        *("/sys/kernel/mm/transparent_hugepage/enabled", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
    )
    native = Path(cpu, "online").read_text()
    assert seen[cpu + "online"] == native
    assert seen[cpu + "possible"].strip()
    assert seen[cpu + "cpu0/topology/core_id"].strip().isdigit()
    assert seen["/sys/devices/system/node/online"] == "0\n"
    assert "[" in seen["/sys/kernel/mm/transparent_hugepage/enabled"]
    count = Path("/proc/cpuinfo").read_text().count("processor\t:")
    assert seen["/proc/cpuinfo"].count("processor\t:") == count
    total = re.search(r"MemTotal: +\d+ kB", Path("/proc/meminfo").read_text())
    assert total is not None
    assert total[0] in seen["/proc/meminfo"]
    assert re.match(r"cpu  \d+( \d+){9}\ncpu0 ", seen["/proc/stat"])


def test_nothing_of_the_host(show: Shower) -> None:
    """Neither its processes nor its control groups, firmware, terminals or addresses of its kernel."""
    paths = ("/proc/", "/sys/fs/cgroup/", "/sys/firmware/", "/proc/self/cgroup", "/proc/self/mountinfo", "/dev/pts/")
    seen = show(*paths, "/proc/kallsyms")
    pids = [name for name in seen["/proc/"].split() if name.isdigit()]
    assert len(pids) == 2
    assert pids[0] == "1"  # Noah
    assert seen["/sys/fs/cgroup/"] == ""
    assert seen["/sys/firmware/"] == ""
    assert seen["/proc/self/cgroup"] == "0::/\n"
    assert "cgroup2" not in seen["/proc/self/mountinfo"]
    assert set(seen["/dev/pts/"].split()) <= {"ptmx"}
    assert not re.search(r"^\w*[1-9a-f]\w* . ", seen["/proc/kallsyms"], re.MULTILINE)


def test_settings_are_shown_and_stay(show: Shower, request: pytest.FixtureRequest) -> None:
    names = ("kernel/ostype", "kernel/pid_max", "vm/overcommit_memory", "fs/file-max", "net/core/somaxconn")
    paths = [f"/proc/sys/{name}" for name in names]
    seen = show(*paths, *(">" + path for path in paths), "/proc/sys/kernel/random/uuid", "/proc/sys/")
    for path in paths[1:]:
        assert int(seen[path]) >= 0, path
    assert seen[paths[0]] == "Linux\n"
    refused = {seen[">" + path] for path in paths}
    assert refused <= {"Read-only file system\n", "Permission denied\n"}
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n", seen["/proc/sys/kernel/random/uuid"]
    )
    assert {"fs", "kernel", "net", "vm"} <= set(seen["/proc/sys/"].split())


def test_mounts(show: Shower) -> None:
    mounts = [line.split() for line in show("/proc/mounts")["/proc/mounts"].splitlines()]
    by_place = {place: (kind, set(options.split(","))) for _, place, kind, options, _, _ in mounts}
    assert by_place["/"][1] >= {"rw"}
    assert by_place["/proc"] == ("proc", {"rw", "nosuid", "nodev", "noexec", "relatime"})
    assert by_place["/sys"][0] == "sysfs"
    assert "ro" in by_place["/sys"][1]
    assert by_place["/dev/pts"][0] == "devpts"
    assert "/dev" in by_place


def _file_systems(shown: str) -> dict[str, dict[str, set[str]]]:
    """What devices.c says: by path and by who told it."""
    found: dict[str, dict[str, set[str]]] = {}
    for line in shown.splitlines():
        path, how, value = line.split(" ", 2)
        found.setdefault(path, {}).setdefault(how, set()).add(value)
    return found


def _numbers(told: dict[str, set[str]]) -> set[str]:
    return set().union(*(values for how, values in told.items() if how != "type"))


def test_file_systems_are_told_apart(show: Shower) -> None:
    """A data base that finds its files on the device of /dev/shm takes them for memory."""
    root = show.root
    program = build.build(GUESTS / "devices.c", "static")
    shutil.copy(program, root / "devices")
    for path in ("tmp", "dev", "dev/shm"):
        (root / path).mkdir()
        (root / path).chmod(0o1777)
    made = ("/dev/shm/", "/tmp/")
    native = _file_systems(subprocess.run([program, *made], check=True, capture_output=True, text=True).stdout)
    guest = _file_systems(show.run("/devices", *made, "/", "/dev", "/proc", "/sys", "/dev/pts", "/dev/mqueue"))
    assert len(_numbers(native["/dev/shm/"])) == 1
    assert native["/dev/shm/"]["type"] == guest["/dev/shm/"]["type"] == {f"{TMPFS_MAGIC:x}"}
    for path in made:
        assert guest[path].keys() - {"mountinfo"} == native[path].keys() - {"mountinfo"}
    for path, told in guest.items():
        assert len(_numbers(told)) == 1, (path, told)
        assert ("mountinfo" in told) == (path != "/tmp/"), path
    assert _numbers(guest["/tmp/"]) == _numbers(guest["/"])
    assert len(set().union(*(_numbers(told) for told in guest.values()))) == len(guest) - 1


def test_devices(show: Shower) -> None:
    seen = show("/dev/", "/dev/null", "/dev/shm/", "/proc/filesystems", "/proc/devices", "/proc/self/ns/")
    wanted = {
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
    }
    assert set(seen["/dev/"].split()) >= wanted | {"zero"}
    assert seen["/dev/null"] == ""
    assert seen["/dev/shm/"] == ""
    assert "nodev\tproc\n" in seen["/proc/filesystems"]
    assert seen["/proc/devices"].startswith("Character devices:\n")
    assert {"mnt", "net", "pid", "user", "uts"} <= set(seen["/proc/self/ns/"].split())


def test_message_queues(show: Shower) -> None:
    queue = "/dev/mqueue/some"
    found = show("/dev/mqueue/", "+/some", queue, "/dev/mqueue//", f"-{queue}", "/proc/mounts")
    assert found["/dev/mqueue/"] == ""
    assert (found["+/some"], found[f"-{queue}"]) == ("ok\n", "ok\n")
    assert found[queue].split() == ["QSIZE:0", "NOTIFY:0", "SIGNO:0", "NOTIFY_PID:0"]
    assert found["/dev/mqueue//"] == "some\n"
    assert "mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec" in found["/proc/mounts"]
    again = show("+/some", f"-{queue}", queue, "/dev/mqueue/")
    assert (again[queue], again["/dev/mqueue/"]) == ("No such file or directory\n", "")


def test_system_v_objects(show: Shower) -> None:
    for name, id in (("msg", "msqid"), ("sem", "semid"), ("shm", "shmid")):
        text = show(f"/proc/sysvipc/{name}")[f"/proc/sysvipc/{name}"]
        assert text.split()[:3] == ["key", id, "perms"]
        assert text.count("\n") == 1
