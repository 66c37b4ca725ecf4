"""Directories of the host in the containers of an ordinary user: whose files are whose."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image.rootfs import make_rootfs
from tests.running import environment, noah_command, ordinary_user, run

from noah.abi.errno import EACCES, EPERM, LinuxError
from noah.abi.fcntl import AT_SYMLINK_NOFOLLOW, O_CREAT, O_RDONLY, O_WRONLY
from noah.fs.volumes import Volumes
from noah.host.api import Files
from noah.host.select import make_host
from noah.vfs.credentials import Credentials


class Asker:
    def __init__(self) -> None:
        self.creds = Credentials(0, 0)


class Volume:
    """A directory as a box sees it."""

    def __init__(self, path: Path, tables: Path) -> None:
        self.asker = Asker()
        volumes = Volumes(make_host(), bytes(tables))
        self.files: Files = volumes.host_for(bytes(path)).files
        volumes.ask_for(self.asker)
        self.fd = os.open(path, os.O_PATH)

    def close(self) -> None:
        os.close(self.fd)
        self.__dict__.clear()  # pytest keeps the rest longer than the check for open descriptors waits

    def become(self, uid: int) -> None:
        self.asker.creds = Credentials(uid, uid)

    def owner(self, name: str) -> tuple[int, int, str]:
        found = self.files.fstatat(self.fd, name.encode(), AT_SYMLINK_NOFOLLOW)
        return found.uid, found.gid, stat.filemode(found.mode)

    def make(self, name: str, mode: int = 0o644) -> None:
        os.close(self.files.openat(self.fd, name.encode(), O_WRONLY | O_CREAT, mode))


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    path = tmp_path / "shown"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables"
    path.mkdir()
    return path


@pytest.fixture
def volume(shown: Path, tables: Path) -> Iterator[Volume]:
    before = os.umask(0)
    volume = Volume(shown, tables)
    yield volume
    volume.close()
    os.umask(before)


def test_files_of_the_host_user_are_roots(volume: Volume, shown: Path) -> None:
    (shown / "f").write_bytes(b"x")
    (shown / "f").chmod(0o640)
    assert volume.owner("f") == (0, 0, "-rw-r-----")
    volume.become(5)
    with pytest.raises(LinuxError) as caught:
        volume.files.openat(volume.fd, b"f", O_RDONLY)
    assert caught.value.errno == EACCES
    with pytest.raises(LinuxError) as caught:
        volume.make("new")
    assert caught.value.errno == EACCES


@pytest.mark.skipif(os.getuid() != 0, reason="giving a file to another user takes root")
def test_files_of_others_are_nobodys(volume: Volume, shown: Path) -> None:
    (shown / "f").write_bytes(b"x")
    (shown / "f").chmod(0o644)
    os.chown(shown / "f", 4321, 4321)
    assert volume.owner("f") == (65534, 65534, "-rw-r--r--")
    with pytest.raises(LinuxError) as caught:
        volume.files.fchownat(volume.fd, b"f", 5, 5)
    assert caught.value.errno == EPERM
    assert (shown / "f").stat().st_uid == 4321


def test_owners_are_kept_for_other_boxes(volume: Volume, shown: Path, tables: Path) -> None:
    volume.make("f")
    volume.files.fchownat(volume.fd, b"f", 5, 6)
    volume.files.fchmodat(volume.fd, b".", 0o777)
    volume.become(7)
    volume.make("own", 0o400)
    other = Volume(shown, tables)
    assert other.owner("f") == (5, 6, "-rw-r--r--")
    assert other.owner("own") == (7, 7, "-r--------")
    other.close()
    found = (shown / "own").stat()
    assert (found.st_uid, stat.filemode(found.st_mode)) == (os.getuid(), "-rw-------")
    assert len(list(tables.iterdir())) == 1


def test_what_the_host_changes_counts(volume: Volume, shown: Path) -> None:
    """A mode that Noah did not leave there: the host has changed the file, or it is another one."""
    for name in ("f", "g", "h"):
        volume.make(name, 0o4755)
        volume.files.fchownat(volume.fd, name.encode(), 5, 5)
        volume.files.fchmodat(volume.fd, name.encode(), 0o4755)
    (shown / "g").chmod(0o700)
    assert volume.owner("f") == (5, 5, "-rwsr-xr-x")
    assert volume.owner("g") == (0, 0, "-rwx------")
    volume.files.fchmodat(volume.fd, b"g", 0o755)
    assert volume.owner("g") == (0, 0, "-rwxr-xr-x")


def test_no_devices(volume: Volume, shown: Path) -> None:
    with pytest.raises(LinuxError) as caught:
        volume.files.mknodat(volume.fd, b"n", stat.S_IFCHR | 0o666, 0x103)
    assert caught.value.errno == EPERM
    volume.files.mknodat(volume.fd, b"p", stat.S_IFIFO | 0o620)
    assert volume.owner("p") == (0, 0, "prw--w----")
    assert [each.name for each in shown.iterdir()] == ["p"]


def test_container_of_an_ordinary_user(tmp_path: Path) -> None:
    """Its root may give files away, its users own what they make, the next container knows; the host sees one user."""
    user = ordinary_user()
    make_rootfs(tmp_path / "rootfs")
    with tempfile.TemporaryDirectory() as place:  # a directory of pytest's is closed to others
        home, shared = Path(place), Path(place, "shared")
        shared.mkdir(mode=0o755)
        (shared / "theirs").write_text("theirs\n")
        (shared / "theirs").chmod(0o640)
        with tarfile.open(home / "small.tar", "w") as archive:
            archive.add(tmp_path / "rootfs", ".")
        for path in (home, shared, *shared.iterdir()):
            shutil.chown(path, user.pw_uid, user.pw_gid)
        environ = environment(NOAH_DATA=f"{place}/data", HOME=place)

        def noah(*words: str) -> tuple[str, str]:
            result = run([*noah_command(user), *words], cwd="/", env=environ, user=user)
            return result.stdout.decode(), result.stderr.decode()

        noah("pull", f"rootfs:{place}/small.tar", "--name", "small")
        mounted = ("run", "--rm", "-v", f"{shared}:/mnt")
        script = "touch /mnt/f; chown 1000:50 /mnt/f; mkdir /mnt/d; chown 1000 /mnt/d; stat -c '%u:%g' /mnt/theirs"
        assert noah(*mounted, "small", "sh", "-c", script) == ("0:0\n", "")
        script = "stat -c '%u:%g' /mnt/f; touch /mnt/d/own /mnt/no; cat /mnt/theirs; stat -c '%u %a' /mnt/d/own"
        shown, said = noah(*mounted, "-u", "ann", "small", "sh", "-c", script)
        assert shown == "1000:50\n1000 644\n"
        assert [line.rpartition(": ")[2] for line in said.splitlines()] == ["Permission denied"] * 2
        assert {path.stat().st_uid for path in (shared / "f", shared / "d" / "own")} == {user.pw_uid}
