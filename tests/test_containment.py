"""A guest with a root of its own reaches nothing else of the host: guests/escape.c tries, on each engine and host, as
root and as an ordinary user. It runs contained (guests/contain.py), so that a defect fails the test and harms nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import build  # tests/guests/build.py
import contain  # tests/guests/contain.py
import pytest
from tests.running import noah_command, ordinary_user, working_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

GUESTS: Final = Path(__file__).resolve().parent / "guests"


@pytest.fixture(scope="module", autouse=True)
def harmless() -> None:
    if trouble := contain.trouble():
        pytest.skip(trouble)


@pytest.fixture
def folder() -> Iterator[Path]:
    with working_directory() as found:
        (found / "root").mkdir()
        shutil.copy(build.build(GUESTS / "escape.c", "static"), found / "root/escape")
        yield found


def besiege(folder: Path, noah: list[str], uid: int) -> tuple[list[str], dict[str, object], str]:
    """What escape.c says, what siege.py and contain.py saw, and what Noah said."""
    command = [sys.executable, str(GUESTS / "siege.py"), str(folder), str(uid), *noah]
    done = subprocess.run(
        contain.contained(folder, command), check=False, capture_output=True, text=True, timeout=280, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == 0, done.stderr
    seen = result | json.loads((folder / "siege.json").read_text())
    bugs = folder / "state/noah/bugs.log"
    errors = (folder / "errors").read_text() + (bugs.read_text() if bugs.exists() else "")
    return (folder / "output").read_text().splitlines()[1:], seen, errors


@pytest.mark.timeout(300)
@pytest.mark.parametrize("user", ["root", "ordinary"])
@pytest.mark.parametrize("host", ["linux", pytest.param("posix", marks=pytest.mark.posix)])
def test_no_way_out(folder: Path, noah: str, engine: str, host: str, user: str) -> None:
    who = ordinary_user() if user == "ordinary" else None
    command = noah_command(who) if who else (noah,)
    said, seen, errors = besiege(
        folder, [*command, "run", "--engine", engine, "--host", host], who.pw_uid if who else 0
    )
    assert [line for line in said if not line.endswith(": kept")] in (["done"], ["chroot: exited 0", "done"]), errors
    assert len(said) > 20
    assert seen["status"] == 0, errors
    assert not seen["changes"]
    assert not seen["devices"]
    assert not seen["signals"]
    assert not seen["left"]
    assert not errors
