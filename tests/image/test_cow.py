"""Copies of an image that share its files until they change them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from noah.abi.errno import EEXIST, ENOTEMPTY, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RESOLVE_NO_SYMLINKS,
)
from noah.fs.cow import CowFiles
from noah.fs.inodelist import InodeList, list_inodes
from noah.fs.ownership import Override, Ownership
from noah.host.api import Files
from noah.host.select import make_host

NOFOLLOW = AT_SYMLINK_NOFOLLOW


class Copy:
    """One copy of an image."""

    def __init__(self, image: Path, place: Path, *, owners: bool) -> None:
        place.mkdir()
        self.root = place / "rootfs"
        self.place = place
        files = CowFiles(make_host(), bytes(image), bytes(place), owners=owners)
        files.begin()
        self.files: Files = files.host_with().files
        self.top = self.files.openat(-100, bytes(self.root), O_PATH | O_DIRECTORY)
        self._fds = [self.top]

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        del self.files  # closes what it holds

    def at(self, path: str) -> tuple[int, bytes]:
        """A directory's descriptor and the name in it, reached step by step."""
        *heads, name = path.split("/")
        fd = self.top
        for head in heads:
            fd = self.files.openat(fd, head.encode(), O_PATH | O_DIRECTORY | O_NOFOLLOW)
            self._fds.append(fd)
        return fd, name.encode()

    def open(self, path: str, flags: int = O_RDONLY, mode: int = 0) -> int:
        fd = self.files.openat(*self.at(path), flags, mode)
        self._fds.append(fd)
        return fd

    def read(self, path: str) -> bytes:
        return os.pread(self.open(path), 1 << 20, 0)

    def write(self, path: str, content: bytes, flags: int = O_WRONLY | O_TRUNC) -> None:
        os.write(self.open(path, flags, 0o644), content)

    def rewrite(self, path: str) -> None:
        """Through a descriptor that was not opened to write."""
        fd = self.files.reopen(self.open(path, O_PATH), O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)

    def stat(self, path: str) -> os.stat_result:
        found = self.files.fstatat(*self.at(path), NOFOLLOW)
        return os.stat_result(
            (found.mode, found.ino, found.dev, found.nlink, found.uid, found.gid, found.size, 0, 0, 0)
        )

    def names(self, path: str) -> list[str]:
        fd = self.open(path, O_RDONLY | O_DIRECTORY)
        return sorted(name.decode() for name, _, _ in make_host().dirs.scan(fd) if name not in (b".", b".."))


def snapshot(root: Path) -> dict[str, object]:
    """All that a guest could see of a tree, but for link counts and when inodes changed."""
    found: dict[str, object] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        attributes = [
            (name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
        ]
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_ino,
            content,
            attributes,
        )
    return found


@pytest.fixture(params=["host", "own"])
def owners(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "own")


@pytest.fixture
def image(tmp_path: Path, owners: bool) -> Iterator[Path]:
    image = tmp_path / "image"
    root = image / "rootfs"
    (root / "etc/deep/er").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    (root / "etc/conf").write_text("theirs\n")
    (root / "etc/deep/er/file").write_text("deep\n")
    (root / "usr/bin/tool").write_text("tool\n")
    (root / "usr/bin/tool").chmod(0o755)
    (root / "usr/bin/same").hardlink_to(root / "usr/bin/tool")
    (root / "etc/link").symlink_to("conf")
    os.mkfifo(root / "etc/pipe")
    os.setxattr(root / "etc/conf", "user.note", b"n")
    for path in (root / "etc", root / "etc/deep", root / "usr", root):
        os.utime(path, (7, 7))
    if owners:
        table = Ownership(make_host(), bytes(image / "owners"))
        table.set((root / "usr/bin/tool").stat().st_ino, Override(5, 6, stat.S_IFREG | 0o4755, 0))
        table.set((root / "etc/deep").stat().st_ino, Override(8, 9, stat.S_IFDIR | 0o2750, 0))
    elif os.geteuid() == 0:
        os.chown(root / "usr/bin/tool", 5, 6)
        (root / "usr/bin/tool").chmod(0o4755)
        os.chown(root / "etc/deep", 8, 9)
        (root / "etc/deep").chmod(0o2750)
    (image / "inodes").write_bytes(list_inodes(make_host(), bytes(root)))
    before = snapshot(root)
    yield image
    assert snapshot(root) == before, "the image has changed"


@pytest.fixture
def make(image: Path, tmp_path: Path, owners: bool) -> Iterator[Callable[[], Copy]]:
    copies: list[Copy] = []

    def one() -> Copy:
        copies.append(Copy(image, tmp_path / f"copy{len(copies)}", owners=owners))
        return copies[-1]

    yield one
    for each in copies:
        each.close()
        assert list((each.place / "copies").iterdir()) == []


@pytest.fixture
def copy(make: Callable[[], Copy]) -> Copy:
    return make()


def test_begins_with_nothing_and_shows_everything(copy: Copy, image: Path) -> None:
    assert not (copy.root / "etc/deep").exists()
    assert copy.names("etc") == ["conf", "deep", "link", "pipe"]
    assert copy.names("etc/deep/er") == ["file"]
    assert copy.read("etc/deep/er/file") == b"deep\n"
    assert os.readlink(copy.root / "etc/link") == "conf"
    assert (copy.root / "etc/conf").samefile(image / "rootfs/etc/conf")
    assert not (copy.root / "etc/pipe").samefile(image / "rootfs/etc/pipe")
    assert (copy.root / "etc").stat().st_mtime == 7


def test_attributes(copy: Copy, owners: bool) -> None:
    tool, deep = copy.stat("usr/bin/tool"), copy.stat("etc/deep")
    if owners or os.geteuid() == 0:
        assert (tool.st_uid, tool.st_gid, stat.S_IMODE(tool.st_mode)) == (5, 6, 0o4755)
        assert (deep.st_uid, deep.st_gid, stat.S_IMODE(deep.st_mode)) == (8, 9, 0o2750)
    assert stat.S_IMODE(copy.stat("empty").st_mode) == 0o700
    assert copy.files.getxattrat(*copy.at("etc/conf"), b"user.note") == b"n"


def test_link_counts_are_the_images(make: Callable[[], Copy], image: Path) -> None:
    for copy in (make(), make()):
        assert copy.stat("etc").st_nlink == (image / "rootfs/etc").stat().st_nlink
        assert copy.stat("etc/conf").st_nlink == 1
        assert copy.stat("usr/bin/tool").st_nlink == copy.stat("usr/bin/same").st_nlink == 2
        assert copy.stat("usr/bin/tool").st_ino == copy.stat("usr/bin/same").st_ino


CHANGES: dict[str, Callable[[Copy, int, bytes], object]] = {
    "write": lambda copy, fd, name: os.write(copy.open("etc/conf", O_WRONLY), b"x"),
    "append": lambda copy, fd, name: os.write(copy.open("etc/conf", O_WRONLY | O_APPEND), b"x"),
    "create": lambda copy, fd, name: os.write(copy.open("etc/conf", O_RDWR | O_CREAT, 0o600), b"x"),
    "cut": lambda copy, fd, name: copy.open("etc/conf", O_WRONLY | O_TRUNC),
    "cut reading": lambda copy, fd, name: copy.open("etc/conf", O_RDONLY | O_TRUNC),
    "truncate": lambda copy, fd, name: copy.files.truncateat(fd, name, 2),
    "chmod": lambda copy, fd, name: copy.files.fchmodat(fd, name, 0o600, NOFOLLOW),
    "fchmod": lambda copy, fd, name: copy.files.fchmod(copy.open("etc/conf"), 0o600),
    "fchmod of a path": lambda copy, fd, name: copy.files.fchmodat(
        copy.open("etc/conf", O_PATH), b"", 0o600, AT_EMPTY_PATH
    ),
    "chown": lambda copy, fd, name: copy.files.fchownat(fd, name, -1, -1, NOFOLLOW),
    "fchown": lambda copy, fd, name: copy.files.fchown(copy.open("etc/conf"), -1, -1),
    "utimes": lambda copy, fd, name: copy.files.utimensat(fd, name, (1, 1), NOFOLLOW),
    "futimes": lambda copy, fd, name: copy.files.futimens(copy.open("etc/conf"), (1, 1)),
    "setxattr": lambda copy, fd, name: copy.files.setxattrat(fd, name, b"user.a", b"b", 0, NOFOLLOW),
    "fsetxattr": lambda copy, fd, name: copy.files.fsetxattr(copy.open("etc/conf"), b"user.a", b"b"),
    "removexattr": lambda copy, fd, name: copy.files.removexattrat(fd, name, b"user.note", NOFOLLOW),
    "fremovexattr": lambda copy, fd, name: copy.files.fremovexattr(copy.open("etc/conf"), b"user.note"),
    "link": lambda copy, fd, name: copy.files.linkat(fd, name, fd, b"new"),
    "reopen": lambda copy, fd, name: copy.rewrite("etc/conf"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_are_copied_before_they_change(make: Callable[[], Copy], image: Path, change: str) -> None:
    copy, other = make(), make()
    before = copy.stat("etc").st_mtime
    CHANGES[change](copy, *copy.at("etc/conf"))
    assert not (copy.root / "etc/conf").samefile(image / "rootfs/etc/conf")
    assert other.read("etc/conf") == b"theirs\n"
    if change != "link":
        assert copy.stat("etc").st_mtime == before
    assert copy.stat("etc/conf").st_nlink == (2 if change == "link" else 1)


def test_what_is_copied_keeps_its_attributes(copy: Copy, owners: bool) -> None:
    copy.files.utimensat(*copy.at("usr/bin/tool"), (3, 3), NOFOLLOW)
    tool = copy.stat("usr/bin/tool")
    if owners or os.geteuid() == 0:
        assert (tool.st_uid, tool.st_gid, stat.S_IMODE(tool.st_mode)) == (5, 6, 0o4755)
    assert copy.read("usr/bin/tool") == b"tool\n"
    os.write(copy.open("etc/conf", O_WRONLY | O_APPEND), b"mine\n")
    assert copy.read("etc/conf") == b"theirs\nmine\n"
    assert copy.files.getxattrat(*copy.at("etc/conf"), b"user.note") == b"n"


def test_links_themselves_change(copy: Copy, image: Path) -> None:
    copy.files.utimensat(*copy.at("etc/link"), (5, 5), NOFOLLOW)
    assert (copy.root / "etc/link").lstat().st_mtime_ns == 5
    assert os.readlink(copy.root / "etc/link") == "conf"


def test_names_come_and_go(copy: Copy) -> None:
    fd, name = copy.at("etc/conf")
    copy.files.renameat2(fd, name, fd, b"moved")
    copy.files.unlinkat(*copy.at("etc/link"))
    copy.write("etc/conf", b"new\n", O_WRONLY | O_CREAT | O_EXCL)
    assert copy.names("etc") == ["conf", "deep", "moved", "pipe"]
    assert copy.read("etc/moved") == b"theirs\n"


def test_directories_are_renamed_unseen(copy: Copy) -> None:
    copy.files.renameat2(copy.top, b"etc", copy.top, b"renamed")
    assert copy.names("renamed/deep") == ["er"]
    copy.files.renameat2(*copy.at("renamed/deep/er"), copy.top, b"er")
    assert copy.read("er/file") == b"deep\n"


def test_directories_that_nobody_has_seen_are_empty_only_if_they_are(copy: Copy) -> None:
    copy.files.unlinkat(copy.top, b"empty", AT_REMOVEDIR)
    with pytest.raises(LinuxError) as failed:
        copy.files.unlinkat(copy.top, b"etc", AT_REMOVEDIR)
    assert failed.value.errno == ENOTEMPTY
    copy.files.mkdirat(copy.top, b"new", 0o755)
    with pytest.raises(LinuxError) as failed:
        copy.files.renameat2(copy.top, b"new", copy.top, b"usr")
    assert failed.value.errno in (ENOTEMPTY, EEXIST)
    with pytest.raises(LinuxError) as failed:
        copy.files.renameat2(copy.top, b"new", copy.top, b"usr", RENAME_NOREPLACE)
    assert failed.value.errno == EEXIST


def test_rename_over_an_empty_directory(copy: Copy) -> None:
    copy.files.mkdirat(copy.top, b"new", 0o755)
    copy.files.renameat2(copy.top, b"new", copy.top, b"empty")
    assert copy.names("empty") == []


def test_leap_over_what_is_not_filled(copy: Copy) -> None:
    with pytest.raises(LinuxError):
        copy.files.openat2_in_root(copy.top, b"etc/deep", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
    fd = copy.files.openat2_in_root(copy.top, b"etc", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
    os.close(fd)
    assert copy.names("etc/deep") == ["er"]


def test_filling_goes_on_after_a_kill(copy: Copy, image: Path) -> None:
    copy.names(".")
    etc = copy.root / "etc"
    (etc / "conf").hardlink_to(image / "rootfs/etc/conf")  # as far as one came that was killed
    (etc / "deep").mkdir()
    assert copy.names("etc") == ["conf", "deep", "link", "pipe"]
    assert copy.names("etc/deep") == ["er"]
    usr = copy.root / "usr"
    (usr / "bin").mkdir()  # killed just before it could say that it was done: nobody has seen what it made
    assert copy.names("usr") == ["bin"]
    assert copy.names("usr/bin") == ["same", "tool"]


def test_directories_that_were_moved_are_filled_once(copy: Copy) -> None:
    copy.files.renameat2(copy.top, b"etc", copy.top, b"usr", RENAME_EXCHANGE)
    assert copy.names("etc") == ["bin"]
    assert copy.names("usr") == ["conf", "deep", "link", "pipe"]
    copy.files.renameat2(copy.top, b"usr", copy.top, b"empty")
    copy.files.unlinkat(*copy.at("empty/deep/er/file"))
    copy.files.unlinkat(*copy.at("empty/deep/er"), AT_REMOVEDIR)
    copy.files.unlinkat(*copy.at("empty/deep"), AT_REMOVEDIR)
    for number in range(20):  # inode numbers of directories that are gone mean nothing
        copy.files.mkdirat(copy.top, b"new%d" % number, 0o755)
        assert copy.names(f"new{number}") == []
    assert copy.names("empty") == ["conf", "link", "pipe"]


def test_killed_at_any_moment(image: Path, tmp_path: Path, owners: bool) -> None:
    """A process that fills a large directory and copies files is killed; another one goes on."""
    many = image / "rootfs/many"
    many.mkdir()
    for number in range(300):
        (many / f"f{number}").write_text(str(number))
        (many / f"d{number}").mkdir()
    (image / "inodes").write_bytes(list_inodes(make_host(), bytes(image / "rootfs")))
    script = f"""
import os
from tests.image.test_cow import *
copy = Copy(Path({str(image)!r}), Path({str(tmp_path / "copy")!r}), owners={owners})
print("ready", flush=True)
for number in range(300):
    copy.write(f"many/f{{number}}", b"mine")
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    threading.Event().wait(0.03)
    process.kill()
    process.wait()
    process.stdout.close()
    files = CowFiles(make_host(), bytes(image), bytes(tmp_path / "copy"), owners=owners)
    top = files.openat(-100, bytes(tmp_path / "copy/rootfs"), O_PATH | O_DIRECTORY)
    fd = files.openat(top, b"many", O_RDONLY | O_DIRECTORY)
    names = {name for name, _, _ in make_host().dirs.scan(fd)} - {b".", b".."}
    assert len(names) == 600
    for number in range(300):
        content = (tmp_path / f"copy/rootfs/many/f{number}").read_bytes()
        assert content in (b"", b"mine", str(number).encode())
        assert (many / f"f{number}").read_text() == str(number)
    os.close(fd)
    os.close(top)
    for path in (*many.iterdir(),):
        path.rmdir() if path.is_dir() else path.unlink()
    many.rmdir()
    os.utime(image / "rootfs", (7, 7))


def test_two_at_once_get_one_copy(copy: Copy, image: Path, tmp_path: Path, owners: bool) -> None:
    """Many processes append to one file of the image: no line is lost."""
    copy.names("etc")
    children = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fd = copy.files.openat(copy.top, b"etc", O_PATH | O_DIRECTORY)
                os.write(copy.files.openat(fd, b"conf", O_WRONLY | O_APPEND), b"%d\n" % number)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    assert sorted(copy.read("etc/conf").splitlines()) == [*(b"%d" % number for number in range(8)), b"theirs"]


def test_who_races_does_not_reach_the_image(copy: Copy, image: Path) -> None:
    """Another process swaps the name for one of the image's files again and again."""
    etc, _ = copy.at("etc/conf")
    usr, tool = copy.at("usr/bin/tool")
    copy.names("etc")
    copy.names("usr/bin")
    steps: tuple[Callable[[], None], ...] = (
        lambda: os.rename(tool, b"was", src_dir_fd=usr, dst_dir_fd=etc),
        lambda: os.rename(b"was", tool, src_dir_fd=etc, dst_dir_fd=usr),
        lambda: os.unlink(tool, dir_fd=usr),
        lambda: os.link(image / "rootfs/usr/bin/tool", tool, dst_dir_fd=usr),
    )
    changes: tuple[Callable[[int, bytes], None], ...] = (
        lambda at, name: copy.files.fchmodat(at, name, 0o777, NOFOLLOW),
        lambda at, name: copy.files.utimensat(at, name, (1, 1), NOFOLLOW),
        lambda at, name: os.close(copy.files.openat(at, name, O_WRONLY | O_TRUNC | O_NOFOLLOW)),
    )
    pid = os.fork()
    if pid == 0:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for step in steps:
                try:
                    step()
                except OSError:
                    pass  # the other one was quicker
        os._exit(0)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        for directory, each in ((usr, tool), (etc, b"was")):
            for change in changes:
                try:
                    change(directory, each)
                except LinuxError:
                    pass


def test_list_of_inodes(image: Path) -> None:
    listed = InodeList(make_host(), bytes(image / "inodes"))
    root = image / "rootfs"
    assert listed.count((root / "usr/bin/tool").stat().st_ino) == 2
    assert listed.count((root / "etc/link").lstat().st_ino) == 1
    assert listed.count(root.stat().st_ino) == 0
    assert listed.count(0) == listed.count(1 << 62) == 0
    assert len(listed) == 5


def test_nothing_grows_with_the_image(image: Path, tmp_path: Path, owners: bool) -> None:
    """What a copy is made of does not depend on how much there is."""
    copy = Copy(image, tmp_path / "copy", owners=owners)
    made = sorted(path.name for path in copy.root.iterdir())
    assert made == ["empty", "etc", "usr"]  # the root alone is filled: it was opened
    assert not any(os.listdir(copy.root / name) for name in made)
    copy.close()
