"""The store: names, ids, what is in use, and what the dead leave."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from noah.host.select import make_host
from noah.image.errors import ImageError, NotFoundError
from noah.image.store import Image, Store, data_directory, full_name


def add(store: Store, name: str, content: str = "x") -> Image:
    with store.work() as work:
        (work / "rootfs").mkdir()
        (work / "rootfs/file").write_text(content)
        return store.add(work, {"config": {}, "origin": content, "created": "2027-01-01T00:00:00Z"}, [name])


def left_over(store: Store) -> list[str]:
    return os.listdir(store.directory / "work")


@pytest.mark.parametrize(
    ("environ", "system", "expected"),
    [
        ({b"NOAH_DATA": b"/n", b"HOME": b"/h"}, "Linux", "/n"),
        ({b"XDG_DATA_HOME": b"/x", b"HOME": b"/h"}, "Linux", "/x/noah"),
        ({b"XDG_DATA_HOME": b"relative", b"HOME": b"/h"}, "Linux", "/h/.local/share/noah"),
        ({b"HOME": b"/h"}, "Linux", "/h/.local/share/noah"),
        ({b"HOME": b"/h"}, "Darwin", "/h/Library/Application Support/noah"),
    ],
)
def test_place_of_the_store(environ: dict[bytes, bytes], system: str, expected: str) -> None:
    assert data_directory(environ, system) == Path(expected)


def test_no_place_for_a_store() -> None:
    with pytest.raises(ImageError, match="NOAH_DATA"):
        data_directory({}, "Linux")


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user")
def test_store_of_another_user(tmp_path: Path) -> None:
    place = tmp_path / "data"
    Store(make_host(), place)
    for above in (place, *place.parents[:3]):
        above.chmod(0o711)
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setresuid(1234, 1234, 1234)
            Store(make_host(), place)
        except ImageError as error:
            status = (
                0 if f"{place} belongs to user 0: make it yours ('sudo chown -R 1234 {place}')" in str(error) else 2
            )
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("debian", "debian:latest"),
        ("debian:sid", "debian:sid"),
        ("host.example:5000/a/b", "host.example:5000/a/b:latest"),
        ("host.example:5000/a/b:1", "host.example:5000/a/b:1"),
    ],
)
def test_full_names(name: str, full: str) -> None:
    assert full_name(name) == full


@pytest.mark.parametrize("name", ["", ":x", "a:", "../x", "/x", "-x", "a b", "a\n", "ä"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ImageError):
        full_name(name)


def test_found_by_name_and_id(store: Store) -> None:
    image = add(store, "one")
    assert image.names == ["one:latest"]
    assert (image.rootfs / "file").read_text() == "x"
    for name in ("one", "one:latest", image.id, image.id[:6], f"sha256:{image.id}"):
        assert store.find(name) == image
    with pytest.raises(NotFoundError, match="no image is called two"):
        store.find("two")
    assert left_over(store) == []


def test_same_content_is_one_image(store: Store) -> None:
    first, second = add(store, "one"), add(store, "two")
    assert first.id == second.id
    assert [image.names for image in store.images()] == [["one:latest", "two:latest"]]


def test_name_moves_to_the_newer_image(store: Store) -> None:
    old, new = add(store, "one"), add(store, "one", "y")
    assert store.find("one").id == new.id
    assert store.find(old.id).names == []


def test_remove(store: Store) -> None:
    image = add(store, "one")
    store.tag(image.id, "two")
    assert store.remove("one") == ["Untagged: one:latest"]
    assert store.remove("two") == ["Untagged: two:latest", f"Deleted: sha256:{image.id}"]
    assert store.images() == []
    assert left_over(store) == []
    with pytest.raises(NotFoundError):
        store.remove("one")


def test_remove_by_id(store: Store) -> None:
    image = add(store, "one")
    store.tag(image.id, "two")
    with pytest.raises(ImageError, match="several names"):
        store.remove(image.id[:8])
    store.remove(image.id[:8], force=True)
    assert store.names() == {}


def test_image_in_use_stays(store: Store) -> None:
    image = add(store, "one")
    (store.directory / "containers/c").mkdir()
    (store.directory / "containers/c/container.json").write_text(json.dumps({"image": image.id, "name": "merry_ant"}))
    with pytest.raises(ImageError, match="in use by container merry_ant"):
        store.remove("one")
    assert store.find("one") == image


def test_work_of_the_living_stays_and_that_of_the_dead_goes(store: Store) -> None:
    pid = os.fork()
    if pid == 0:
        with store.work() as work:
            (work / "half").write_text("x")
            time.sleep(60)
        os._exit(0)
    try:
        deadline = time.monotonic() + 20
        while not left_over(store) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        with store.work():
            assert len(left_over(store)) == 2
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert len(left_over(store)) == 1
    with store.work():
        assert len(left_over(store)) == 1


def test_work_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.work() as work:
            (work / "d").mkdir()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert left_over(store) == []


def test_lock_keeps_others_out(store: Store) -> None:
    with store.lock("x") as held:
        assert held
        with store.lock("x", wait=False) as other:
            assert not other
        with store.lock("y", wait=False) as other:
            assert other
    with store.lock("x", wait=False) as held:
        assert held


def test_store_that_cannot_be_made(tmp_path: Path, store: Store) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="cannot be made: not a directory"):
        Store(store.host, tmp_path / "file/data")
