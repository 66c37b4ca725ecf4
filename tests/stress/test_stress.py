"""stress-ng's stressors as guests: what it verifies natively is right in Noah, too.

Each runs for two seconds natively and in Noah, with the same programs (`--root /`). The exit status and the kinds of
complaints must be the same. `make test-stress` runs them.

stressors.txt lists them; one with a reason behind its name fails in Noah. The list is exact: a stressor that has come
right must lose its reason.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.running import Result, environment, need_engine, noah_command, run, working_directory

LIST: Final = Path(__file__).with_name("stressors.txt")
SECONDS: Final = 2
PATIENCE: Final = 100  # seconds; some look at the time only after a round of what they do
COMPLAINT: Final = re.compile(rb"(?:fail|error|warn): +\[\d+\] (.*)|.*(unsuccessful)")


def complaints(result: Result) -> set[bytes]:
    """What a run complained of, without the numbers, which vary."""
    found = COMPLAINT.findall(result.stdout + result.stderr)
    return {re.sub(rb"0x[0-9a-f]+|\d+", b"N", text or word) for text, word in found}


def stress(stressor: str, *start: str) -> Result:
    command = ["stress-ng", "--verify", f"--{stressor}", "1", "--timeout", str(SECONDS)]
    with working_directory() as work:
        start = tuple(part.replace("{work}", str(work)) for part in start)
        return run([*start, *command], cwd=work, env=environment(HOME=str(work)), timeout=PATIENCE)


def listed() -> Iterator[object]:
    for line in LIST.read_text().splitlines():
        name, _, reason = line.partition(": ")
        yield pytest.param(name, marks=pytest.mark.xfail(reason=reason, strict=True) if reason else ())


@pytest.mark.stress
@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize("stressor", list(listed()))
def test_stressor(stressor: str) -> None:
    need_engine("kvm")
    if not shutil.which("stress-ng"):
        pytest.skip("stress-ng is not installed")
    # With the capabilities that Noah leaves to root (noah.vfs.credentials.CONFINED).
    native = stress(stressor, "setpriv", "--bounding-set=-sys_admin,-sys_time", "--")
    in_noah = (*noah_command(), "run", "--engine", "kvm", "--root", "/", "-w", "{work}", "--")
    noah = stress(stressor, *in_noah)
    if noah.status != native.status or complaints(noah) - complaints(native):  # a busy machine makes some fail
        noah = stress(stressor, *in_noah)
    assert noah.status == native.status, noah.stderr.decode(errors="replace")[-2000:]
    assert complaints(noah) <= complaints(native)
