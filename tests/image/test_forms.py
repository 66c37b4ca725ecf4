"""Images and containers of another version of Noah, and what is left of damaged ones: one line says what to do."""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.image.noah import Noah, one_line

from noah.abi.errno import EINVAL, LinuxError
from noah.fs.inodelist import InodeList
from noah.fs.ownership import Ownership
from noah.host.select import make_host


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def of_another_version(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"NoahAbc0")


def overwrite(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def remove(path: Path) -> None:
    path.unlink()


def remove_directory(path: Path) -> None:
    shutil.rmtree(path)


OTHER = "was made by another version of Noah; "
UNKNOWN = "is damaged, or was made by another version of Noah (%s is %s); "
DAMAGES = [
    pytest.param(damage, text, id=damage.__name__)
    for damage, text in (
        (cut, UNKNOWN % ("%s", "cut short")),
        (empty, UNKNOWN % ("%s", "empty")),
        (of_another_version, OTHER),
        (overwrite, UNKNOWN % ("%s", "damaged")),
        (remove, UNKNOWN % ("%s", "missing")),
    )
]
Damage = Callable[[Path], None]
pytestmark = pytest.mark.parametrize("data", ["own"], indirect=True)  # which has all there is


@pytest.fixture
def box(cli: Noah, data: Path) -> Path:
    """The directory of a container called box."""
    assert cli("run", "--name", "box", "small", "sh", "-c", "exit 3").returncode == 3
    return next((data / "containers").iterdir())


@pytest.mark.parametrize(("damage", "text"), DAMAGES)
def test_tables_of_a_container(cli: Noah, data: Path, box: Path, damage: Damage, text: str) -> None:
    damage(box / "standins")
    one_line(cli("start", "box"), 125, f"container box {text.replace('%s', 'standins')}", "'noah rm box' removes it\n")
    assert "Exited (3)" in cli("ps", "--all").stdout
    assert cli("rm", "box").stdout == "box\n"
    assert list((data / "containers").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "damage", "text"),
    [
        ("owners", cut, "owners is cut short"),
        ("owners", remove, "owners is missing"),
        ("paths", empty, "paths is empty"),
        ("paths", remove, "paths is missing"),
        ("copies", remove_directory, "copies is missing"),
        ("rootfs", remove_directory, "rootfs is missing"),
    ],
)
def test_what_else_belongs_to_a_container(cli: Noah, box: Path, name: str, damage: Damage, text: str) -> None:
    damage(box / name)
    one_line(cli("start", "box"), 125, f"container box is damaged, or was made by another version of Noah ({text}); ")
    assert cli("rm", "box").returncode == 0


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b'{"name": "box", "command": 7, "volumes": null}', None])
def test_record_of_a_container(cli: Noah, data: Path, box: Path, record: bytes | None) -> None:
    """It is shown and removed as any other, by its name if that is left, else by its id."""
    if record is None:
        (box / "container.json").unlink()
    else:
        (box / "container.json").write_bytes(record)
    name = "box" if b"box" in (record or b"") else box.name[:12]
    assert cli("ps", "--all").stdout.splitlines()[1].split()[-1] == name
    line = f"container {name} is damaged, or was made by another version of Noah (container.json is damaged); "
    one_line(cli("start", name), 125, f"{line}'noah rm {name}' removes it\n")
    one_line(cli("export", name), 1, line)
    assert cli("inspect", name).returncode == 0
    if record == b"{}":
        assert "Deleted Containers" in cli("container", "prune", "--force").stdout
    else:
        assert cli("rm", name).returncode == 0
    assert list((data / "containers").iterdir()) == []


@pytest.mark.parametrize("state", [b"", b"[]", b"{}", b'{"status": "sleeping"}'])
def test_state_of_a_container(cli: Noah, box: Path, state: bytes) -> None:
    (box / "state.json").write_bytes(state)
    assert "Created" in cli("ps", "--all").stdout
    assert cli("start", "--attach", "box").returncode == 3
    assert "Exited (3)" in cli("ps", "--all").stdout


def test_every_command_about_an_unusable_container(cli: Noah, data: Path, box: Path, tmp_path: Path) -> None:
    of_another_version(box / "standins")
    before = sorted(box.iterdir())
    images = cli("images").stdout
    says = (f"container box {OTHER}'noah rm box' removes it\n",)
    for words, status in {
        ("start", "box"): 125,
        ("start", "--attach", "box"): 125,
        ("restart", "box"): 125,
        ("shell", "box"): 125,
        ("cp", "box:/etc/passwd", str(tmp_path / "copied")): 1,
        ("cp", __file__, "box:/tmp"): 1,
        ("export", "--output", str(tmp_path / "archive"), "box"): 1,
        ("commit", "box", "next"): 1,
    }.items():
        one_line(cli(*words), status, *says)
    assert sorted(box.iterdir()) == before
    assert list(tmp_path.iterdir()) == []
    assert cli("images").stdout == images
    assert cli("inspect", "box").returncode == 0
    assert cli("logs", "box").returncode == 0
    assert list((data / "work").iterdir()) == []
    assert "box" not in cli("ps").stdout
    assert "Deleted Containers" in cli("container", "prune", "--force").stdout
    assert list((data / "containers").iterdir()) == []


def test_running_container_that_becomes_unusable(cli: Noah, data: Path) -> None:
    """As when Noah is replaced by another version meanwhile."""
    assert cli("run", "-d", "--name", "box", "small", "sleep", "1000").returncode == 0
    of_another_version(next((data / "containers").iterdir()) / "standins")
    one_line(cli("exec", "box", "true"), 125, f"container box {OTHER}'noah rm box' removes it\n")
    assert "Up " in cli("ps").stdout
    assert cli("rm", "--force", "box").returncode == 0
    assert list((data / "containers").iterdir()) == []


@pytest.fixture
def image(data: Path) -> Path:
    """The directory of the image, which each test puts right again."""
    return next((data / "images").iterdir())


@pytest.mark.parametrize(("damage", "text"), [DAMAGES[2], DAMAGES[4]])
def test_tables_of_an_image(cli: Noah, data: Path, image: Path, tmp_path: Path, damage: Damage, text: str) -> None:
    says = f"image small:latest {text.replace('%s', 'owners')}'noah rmi small:latest' removes it; then get it again\n"
    assert cli("run", "--name", "box", "small", "sh", "-c", "exit 3").returncode == 3
    (image / "owners").rename(tmp_path / "owners")
    shutil.copy(tmp_path / "owners", image / "owners")
    damage(image / "owners")
    one_line(cli("start", "box"), 125, says)
    if damage is not remove or os.getuid():  # root's images need no such table
        one_line(cli("run", "small"), 125, says)
        one_line(cli("run", "-d", "--rm", "small"), 125, says)
        one_line(cli("save", "--output", str(tmp_path / "archive"), "small"), 1, says)
    assert "small" in cli("images").stdout
    assert cli("rm", "box").returncode == 0
    assert list((data / "containers").iterdir()) == list((data / "work").iterdir()) == []
    (tmp_path / "owners").replace(image / "owners")


def test_image_that_cannot_be_used_is_removed(cli: Noah, data: Path, image: Path) -> None:
    assert cli("run", "--name", "box", "small", "sh", "-c", "exit 3").returncode == 3
    assert cli("commit", "box", "next").returncode == 0
    assert cli("rm", "box").returncode == 0
    other = next(path for path in (data / "images").iterdir() if path != image)
    (other / "owners").write_bytes(b"NoahAbc0")
    one_line(cli("run", "next"), 125, f"image next:latest {OTHER}'noah rmi next:latest' removes it; then get it ")
    assert cli("rmi", "next:latest").returncode == 0
    assert list((data / "images").iterdir()) == [image]


def test_container_without_its_image(cli: Noah, data: Path, box: Path, image: Path, tmp_path: Path) -> None:
    image.rename(tmp_path / "image")
    line = "container box has lost its image; 'noah rm box' removes it\n"
    one_line(cli("start", "box"), 125, line)
    one_line(cli("export", "box"), 1, line)
    assert "box" in cli("ps", "--all").stdout
    assert cli("rm", "box").returncode == 0
    (tmp_path / "image").rename(image)


def in_the_old_form(path: Path) -> None:
    """Without the entry that says the form."""
    words = array("Q", path.read_bytes())
    form = words.index(int.from_bytes(b"NoahIno2", "big"))
    del words[len(words) // 2 + form], words[form]
    path.write_bytes(words.tobytes())


@pytest.mark.parametrize("damage", [cut, empty, overwrite, remove, in_the_old_form])
def test_list_of_inodes_is_made_anew(cli: Noah, image: Path, box: Path, damage: Damage) -> None:
    listed = image / "inodes"
    before = listed.read_bytes()
    damage(listed)
    with pytest.raises(LinuxError):
        InodeList(make_host(), bytes(listed))
    assert cli("start", "--attach", "box").returncode == 3
    assert listed.read_bytes() == before
    damage(listed)
    assert cli("run", "--rm", "small", "sh", "-c", "exit 4").returncode == 4
    assert listed.read_bytes() == before


@pytest.mark.parametrize("length", [0, 7, 8, 4096, (1 << 25) - 1])
def test_table_that_is_too_short_is_not_looked_at(data: Path, tmp_path: Path, length: int) -> None:
    place = tmp_path / "owners"
    Ownership(make_host(), bytes(place))
    os.truncate(place, length)
    with pytest.raises(LinuxError) as caught:
        Ownership(make_host(), bytes(place))
    assert caught.value.errno == EINVAL
    assert place.stat().st_size == length
