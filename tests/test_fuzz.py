"""Random system calls with hostile arguments: Noah answers them all, and nothing leaves the root.

The guest (guests/fuzz.c) follows from its seed. `make fuzz` makes a million calls on each engine; NOAH_FUZZ_CALLS and
NOAH_FUZZ_SEED choose another length and seed. A failure names the seed. Noah runs contained (guests/contain.py),
so that a defect fails the test and harms nothing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import build  # tests/guests/build.py
import contain  # tests/guests/contain.py
import pytest
from tests.running import working_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE: Final = Path(__file__).resolve().parent / "guests/fuzz.c"
MEMORY_LIMIT: Final = 1 << 30  # of the largest process of a box; a worker's own limit is half of it


@pytest.fixture(scope="module", autouse=True)
def harmless() -> None:
    if trouble := contain.trouble():
        pytest.skip(trouble)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that an ordinary user reaches, too."""
    with working_directory() as found:
        yield found


def fuzz(noah: str, folder: Path, engine: str, host: str, seed: int, calls: int, timeout: float) -> None:
    """Runs the fuzzer in a root of its own and checks what it says and what it left behind."""
    root, canary, state = folder / "root", folder / "canary", folder / "state"
    for each in (root / "tmp", root / "dev", root / "proc", canary / "folder", state):
        each.mkdir(parents=True)
    bugs = state / "noah/bugs.log"  # a worker has no error output: what goes wrong in Noah stands there
    bugs.parent.mkdir()
    for each in (state, bugs.parent):
        each.chmod(0o777)  # for the workers that are an ordinary user
    (canary / "file").write_text("untouched\n")
    (canary / "folder/inner").write_text("untouched too\n")
    (canary / "link").symlink_to("file")
    shutil.copy(build.build(SOURCE, "static"), root / "fuzz")
    before = contain.fingerprint(canary)

    command = [noah, "run", "--engine", engine, "--host", host, "--root", str(root), "-w", "/tmp", "--", "/fuzz"]
    command = contain.contained(folder, [*command, str(seed), str(calls), str(canary)])
    environment = os.environ | {"HOME": str(state), "XDG_STATE_HOME": str(state), "TMPDIR": str(state)}
    output, errors = folder / "output", folder / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # unshare: the kernel kills all of its namespace
            process.wait()
            status = None

    text = output.read_text(errors="backslashreplace")
    story = f"seed {seed}\n{text[-500:]}\n{errors.read_text(errors='backslashreplace')[-5000:]}"
    assert status is not None, f"no end after {timeout} s, {story}"
    assert status == 0, f"containing failed, {story}"
    result = json.loads((folder / "result.json").read_text())
    assert not result["devices"], f"the host's devices were changed: {result['devices']}, {story}"
    assert contain.fingerprint(canary) == before, f"files outside of the root were touched, {story}"
    known = {"canary", "errors", "output", "result.json", "root", "state"}
    assert {path.name for path in folder.iterdir()} == known, story
    assert not bugs.exists(), f"{bugs.read_text(errors='backslashreplace')[-5000:]}, {story}"
    assert b"Traceback" not in errors.read_bytes(), story
    assert result["status"] == 0, f"status {result['status']}, {story}"
    assert text.splitlines()[-1].startswith("done "), story
    assert not result["left"], f"processes left behind: {result['left']}, {story}"
    assert result["memory"] < MEMORY_LIMIT, f"{result['memory']} bytes of memory, {story}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("host", ["linux", pytest.param("posix", marks=pytest.mark.posix)])
def test_short(noah: str, folder: Path, engine: str, host: str) -> None:
    fuzz(noah, folder, engine, host, seed=1, calls=20_000 if host == "linux" else 5_000, timeout=540)


def test_containment_tells_what_was_done(tmp_path: Path) -> None:
    """Were it not to notice, the other tests would prove nothing."""
    outside = Path("/dev/full").lstat()
    script = "rm /dev/full; chmod 0 /dev/null; touch /etc/escaped; sleep 100 </dev/zero >/dev/zero 2>&1 &"
    done = subprocess.run(
        contain.contained(tmp_path, ["sh", "-c", script]), check=False, stderr=subprocess.PIPE, timeout=60
    )
    assert done.returncode == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["devices"].keys() == {"full", "null"}
    assert [command.split()[0] for command in result["left"].values()] == ["sleep"]
    assert b"Read-only file system" in done.stderr
    assert Path("/dev/full").lstat() == outside


def test_containment_bounds_the_disk(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/kept").write_text("kept\n")
    script = f"cat kept; fallocate -l {contain.DISK} large || echo full"
    command = contain.contained(tmp_path, ["sh", "-c", f"cd {tmp_path}/root && {script}"])
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert done.stdout == b"kept\nfull\n"
    assert {path.name for path in tmp_path.iterdir()} == {"root", "result.json"}


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_million(noah: str, folder: Path, engine: str) -> None:
    seed = int(os.environ.get("NOAH_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    calls = int(os.environ.get("NOAH_FUZZ_CALLS") or 1_000_000)
    fuzz(noah, folder, engine, "linux", seed, calls, timeout=7200)
