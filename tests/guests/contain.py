"""Runs a command where it can harm nobody: `contain.py FOLDER COMMAND...`, for tests that make random calls.

Noah shall keep a guest inside its root, and such a test asks whether it does. Until that is known, the machine must
not depend on it: a fuzzing run as root has removed a host's device nodes. So the command gets namespaces of its own:
file systems that are read-only but for FOLDER, device nodes made for it alone, no network, and only its own processes.
What it did is left in FOLDER/result.json. FOLDER/root, if there is one, is a file system of its own meanwhile: one
random fallocate(2) would take all of the host's disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

NODES: Final = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "ptmx": (5, 2),
    "kvm": (10, 232),
}
DISK: Final = 4 << 30
NAMESPACES: Final = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--ipc", "--uts")


def trouble() -> str:
    """Why a command cannot be contained here; "" when it can."""
    if os.geteuid() != 0:
        return "needs root, to give random calls namespaces in which they harm nobody"
    try:
        subprocess.run(["unshare", *NAMESPACES, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return f"random calls need namespaces in which they harm nobody: {error}"
    return ""


def contained(folder: Path, command: list[str]) -> list[str]:
    """The command line that runs `command` with nothing but `folder` to write to."""
    return ["unshare", *NAMESPACES, sys.executable, __file__, str(folder), *command]


def mount(*arguments: str) -> None:
    subprocess.run(["mount", "-n", *arguments], check=True)


def prepare(folder: Path) -> None:
    """Makes everything but `folder` read-only, and devices of this namespace alone."""
    mount("--make-rprivate", "/")
    mount("--bind", str(folder), str(folder))
    os.chdir(folder)  # the folder as it is now, not the one below the mount
    if (folder / "root").exists():
        bound(folder / "root")  # while there are loop devices
    dev = folder / "dev"
    dev.mkdir()
    mount("-t", "tmpfs", "-o", "mode=755", "dev", str(dev))
    for name, (major, minor) in NODES.items():
        os.mknod(dev / name, stat.S_IFCHR, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    (dev / "fd").symlink_to("/proc/self/fd")
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "pts", str(dev / "pts"))
    mount("-t", "tmpfs", "shm", str(dev / "shm"))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].encode().decode("unicode_escape")
        if not Path(target).is_relative_to(folder) and not Path(target).is_relative_to("/proc"):
            # A mount that another one hides cannot be reached, by the command neither.
            subprocess.run(["mount", "-n", "-o", "remount,bind,ro", target], check=False, capture_output=True)
    mount("--move", str(dev), "/dev")
    dev.rmdir()
    for place in ("/", "/sys", "/tmp", "/root", "/etc", "/dev/../usr"):
        assert os.statvfs(place).f_flag & os.ST_RDONLY, f"{place} can be written to"


def bound(root: Path) -> None:
    """Puts what is below `root` into a file system of at most DISK bytes, for as long as this namespace lives."""
    disk, place = root.with_name("disk"), root.with_name("place")
    with disk.open("wb") as file:
        file.truncate(DISK)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(disk)], check=True)
    mount("-o", "loop", str(disk), str(place))
    (place / "lost+found").rmdir()
    subprocess.run(["cp", "-a", f"{root}/.", str(place)], check=True)
    mount("--move", str(place), str(root))
    place.rmdir()
    disk.unlink()


def fingerprint(top: Path) -> dict[str, str]:
    """Describes everything below `top`, itself included: type, mode, owner, times and content."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(top):
        for path in [Path(folder), *(Path(folder, name) for name in folders + names)]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (
                f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_mtime_ns} {status.st_ctime_ns} "
                f"{hashlib.sha256(content).hexdigest()} {sorted(os.listxattr(path, follow_symlinks=False))}"
            )
    return found


def devices() -> dict[str, str]:
    """Every node below /dev by name: type, mode, owner and number."""
    found = {}
    for path in sorted(Path("/dev").iterdir()):
        status = path.lstat()
        found[path.name] = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_rdev:#x}"
    return found


def others() -> dict[str, str]:
    """The processes of this namespace but for this one, with their commands."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                found[path.name] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
    return found


def main() -> int:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    if os.getpid() != 1:
        print("contain.py: not in a process namespace of its own", file=sys.stderr)
        return 2
    prepare(folder)
    signals: list[int] = []  # that somebody sent to this process, which is what a guest shall not reach as process 1
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    before = devices()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # wait4 and not subprocess: only it tells the memory of this box, its children's included.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    time.sleep(0.2)  # what was killed with the box may take a moment to go
    while True:  # orphans are ours here
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    after = devices()
    result = {
        "status": process.returncode,
        "memory": usage.ru_maxrss * 1024,
        "signals": signals,
        "left": others(),
        "devices": {
            name: after.get(name, "gone") for name in before.keys() | after if before.get(name) != after.get(name)
        },
    }
    (folder / "result.json").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
