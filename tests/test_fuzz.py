"""Random system calls with hostile arguments: Noah answers them all, and nothing leaves the root.

The guest (guests/fuzz.c) follows from its seed. `make fuzz` makes a million calls on each engine; NOAH_FUZZ_CALLS and
NOAH_FUZZ_SEED choose another length and seed. A failure's output names the seed.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Final

import build  # tests/guests/build.py
import pytest

SOURCE: Final = Path(__file__).resolve().parent / "guests/fuzz.c"
MEMORY_LIMIT: Final = 1 << 30  # of the largest process of a box; a worker's own limit is half of it


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


def processes_of(session: int) -> list[int]:
    """The host processes that belong to `session`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
        except ProcessLookupError:
            continue
    return found


def fuzz(noah: str, tmp_path: Path, engine: str, host: str, seed: int, calls: int, timeout: float) -> None:
    """Runs the fuzzer in a root of its own and checks what it says and what it left behind."""
    root, canary = tmp_path / "root", tmp_path / "canary"
    for folder in (root / "tmp", root / "dev", root / "proc", canary / "folder"):
        folder.mkdir(parents=True)
    (canary / "file").write_text("untouched\n")
    (canary / "folder/inner").write_text("untouched too\n")
    (canary / "link").symlink_to("file")
    shutil.copy(build.build(SOURCE, "static"), root / "fuzz")
    before = fingerprint(canary)

    command = [noah, "run", "--engine", engine, "--host", host, "--root", str(root), "-w", "/tmp", "--", "/fuzz"]
    command += [str(seed), str(calls), str(canary)]
    output, errors = tmp_path / "output", tmp_path / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        timed_out = False

        def expire() -> None:
            nonlocal timed_out
            timed_out = True
            process.kill()

        timer = threading.Timer(timeout, expire)
        timer.start()
        # wait4 and not subprocess: only it tells the memory of this box, its children's included.
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        timer.join()
        process.returncode = os.waitstatus_to_exitcode(status)

    left = processes_of(process.pid)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    text = output.read_text(errors="backslashreplace")
    story = f"seed {seed}\n{text[-500:]}\n{errors.read_text(errors='backslashreplace')[-5000:]}"
    assert not timed_out, f"no end after {timeout} s, {story}"
    assert b"Traceback" not in errors.read_bytes(), story
    assert process.returncode == 0, f"status {process.returncode}, {story}"
    assert text.splitlines()[-1].startswith("done "), story
    assert not left, f"processes left behind: {left}, {story}"
    assert fingerprint(canary) == before, f"files outside of the root were touched, {story}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "errors", "output", "root"], story
    assert usage.ru_maxrss * 1024 < MEMORY_LIMIT, f"{usage.ru_maxrss} KiB of memory, {story}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("host", ["linux", pytest.param("posix", marks=pytest.mark.posix)])
def test_short(noah: str, tmp_path: Path, engine: str, host: str) -> None:
    fuzz(noah, tmp_path, engine, host, seed=1, calls=20_000 if host == "linux" else 5_000, timeout=540)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_million(noah: str, tmp_path: Path, engine: str) -> None:
    seed = int(os.environ.get("NOAH_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    calls = int(os.environ.get("NOAH_FUZZ_CALLS") or 1_000_000)
    fuzz(noah, tmp_path, engine, "linux", seed, calls, timeout=7200)
