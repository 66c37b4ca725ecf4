"""Modules in one file: what is loaded from it is the same, and what is not as it was is loaded as ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.running import REPOSITORY

USE = """
import sys
sys.path.insert(0, sys.argv[1])
from noah.host import bundle
bundle.use()
import noah.abi, noah.abi.poll, noah.cli.parse
for module in (noah.abi, noah.abi.poll, noah.cli.parse):
    print(type(module.__spec__.loader).__name__, module.__file__, module.__package__, getattr(module, "__path__", ""))
print(noah.abi.poll.POLLIN, noah.cli.parse.parse.__code__.co_filename)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few of Noah's modules, and the file of them."""
    for path in ("__init__", "abi/__init__", "abi/poll", "cli/__init__", "cli/parse", "util/__init__", "util/text"):
        place = tmp_path / "noah" / f"{path}.py"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((REPOSITORY / "src/noah" / f"{path}.py").read_bytes())
    (tmp_path / "noah/host").mkdir()
    for name in ("__init__", "bundle"):
        (tmp_path / f"noah/host/{name}.py").write_bytes((REPOSITORY / f"src/noah/host/{name}.py").read_bytes())
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2], run_name='__main__')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(REPOSITORY / "tools/bundle.py")], check=True)
    return tmp_path


def loaded(tree: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", USE, str(tree)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def bundle_of(tree: Path) -> Path:
    (found,) = tree.glob("noah/__pycache__/*.all")
    return found


def loaders(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines[:3]]


def test_modules_are_the_same(tree: Path) -> None:
    with_it = loaded(tree)
    bundle_of(tree).unlink()
    without = loaded(tree)
    assert loaders(with_it) == ["_Loader"] * 3
    assert loaders(without) == ["SourceFileLoader"] * 3
    assert [line.split()[1:] for line in with_it] == [line.split()[1:] for line in without]


def test_source_that_has_changed(tree: Path) -> None:
    source = tree / "noah/abi/poll.py"
    source.write_text(source.read_text() + "POLLIN = 77\n")
    assert loaded(tree)[3].startswith("77 ")


def cut_early(path: Path) -> None:
    os.truncate(path, 20)


def cut_late(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite(path: Path) -> None:
    path.write_bytes(b"\xff" * 100)


def of_another_version(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(sys.version.encode(), sys.version.replace("3.", "2.").encode()))


@pytest.mark.parametrize("damage", [cut_early, cut_late, empty, overwrite, of_another_version])
def test_file_that_is_of_no_use(tree: Path, damage: Callable[[Path], None]) -> None:
    damage(bundle_of(tree))
    lines = loaded(tree)
    assert loaders(lines) == ["SourceFileLoader"] * 3
    assert lines[3].startswith("1 ")


def test_tree_that_was_moved(tree: Path) -> None:
    (tree / "new").mkdir()
    (tree / "noah").rename(tree / "new/noah")
    assert loaders(loaded(tree / "new")) == ["SourceFileLoader"] * 3
