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

from noah.abi.errno import EBUSY, EEXIST, ELOOP, ENOENT, ENOTEMPTY, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
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
from noah.fs.standins import StandIns
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
            self.files.close(fd)
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

    def fill(self, path: str) -> None:
        """What somebody changes in there is the copy's own."""
        self.files.settle(self.open(path, O_PATH | O_DIRECTORY))

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
    assert os.listdir(copy.root) == []
    copy.fill("etc")
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


def test_leaps(copy: Copy, image: Path) -> None:
    def leap(path: bytes) -> int:
        return copy.files.openat2_in_root(copy.top, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)

    fd = leap(b"etc/deep")
    copy.files.mkdirat(copy.top, b"new", 0o755)  # the root is the copy's own now
    copy.files.mkdirat(fd, b"new", 0o755)
    copy.files.close(fd)
    fd = leap(b"etc/deep")
    assert copy.files.fstatat(fd, b"new").nlink
    copy.files.close(fd)
    for _ in range(2):
        fd = leap(b"usr/bin")
        assert os.path.samestat(os.fstat(fd), (image / "rootfs/usr/bin").stat())
        copy.files.close(fd)
    copy.write("usr/bin/mine", b"", O_WRONLY | O_CREAT)
    for _ in range(2):
        fd = leap(b"usr/bin")
        assert copy.files.fstatat(fd, b"mine").nlink
        copy.files.close(fd)
    copy.files.renameat2(copy.top, b"usr", copy.top, b"moved")
    for path in (b"usr/bin", b"etc/none", b"etc/link/deep"):
        with pytest.raises(LinuxError) as failed:
            leap(path)
        assert failed.value.errno == ELOOP  # who asks has to go step by step


def test_no_link_leads_out(copy: Copy, image: Path) -> None:
    link = image / "rootfs/usr/out"
    link.symlink_to("/", target_is_directory=True)
    try:
        copy.files.mkdirat(copy.top, b"new", 0o755)
        for path in (b"usr/out/etc", b"usr/out"):
            with pytest.raises(LinuxError):
                copy.files.openat2_in_root(copy.top, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
        usr = copy.files.openat(copy.top, b"usr", O_PATH | O_DIRECTORY | O_NOFOLLOW)
        with pytest.raises(LinuxError):
            copy.files.openat(usr, b"out", O_PATH | O_DIRECTORY | O_NOFOLLOW)
        copy.files.close(usr)
    finally:
        link.unlink()
        os.utime(image / "rootfs/usr", (7, 7))


def test_filling_goes_on_after_a_kill(copy: Copy, image: Path) -> None:
    copy.fill(".")
    etc = copy.root / "etc"
    (etc / "conf").hardlink_to(image / "rootfs/etc/conf")  # as far as one came that was killed
    (etc / "deep").mkdir()
    copy.fill("etc")
    assert copy.names("etc") == ["conf", "deep", "link", "pipe"]
    assert copy.names("etc/deep") == ["er"]
    usr = copy.root / "usr"
    (usr / "bin").mkdir()  # killed just before it could say that it was done: nobody has seen what it made
    copy.fill("usr/bin")
    assert copy.names("usr") == ["bin"]
    assert copy.names("usr/bin") == ["same", "tool"]


def test_killed_before_it_could_say_so(copy: Copy, image: Path) -> None:
    """A directory has been filled, and others know of it, but it is not marked: it must not be filled again."""
    etc, _ = copy.at("etc/conf")
    copy.fill(".")
    inode = (copy.root / "etc").stat().st_ino
    table = StandIns(make_host(), bytes(copy.place / "standins"))
    before = table.unfilled(inode)
    assert before is not None
    copy.files.unlinkat(etc, b"link")
    table.put(inode, *before)
    assert table.unfilled(inode) is not None
    assert copy.names("etc") == ["conf", "deep", "pipe"]
    copy.files.unlinkat(*copy.at("etc/pipe"))
    assert table.unfilled(inode) is None
    assert copy.names("etc") == ["conf", "deep"]


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
    copy.fill("etc")
    copy.fill("usr/bin")
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
    assert root.stat().st_ino in listed
    assert (root / "etc/deep").stat().st_ino in listed
    assert (root / "etc/link").lstat().st_ino in listed
    assert 0 not in listed
    assert image.stat().st_ino not in listed
    assert len(listed) == 5 + 7


def test_nothing_grows_with_the_image(image: Path, tmp_path: Path, owners: bool) -> None:
    """What a copy is made of does not depend on how much there is, nor does looking at it cost anything."""
    copy = Copy(image, tmp_path / "copy", owners=owners)
    assert copy.names("etc/deep/er") == ["file"]
    assert copy.read("usr/bin/tool") == b"tool\n"
    assert os.listdir(copy.root) == []
    copy.files.unlinkat(*copy.at("etc/conf"))
    made = sorted(path.name for path in copy.root.iterdir())
    assert made == ["empty", "etc", "usr"]
    assert sorted(os.listdir(copy.root / "etc")) == ["deep", "link", "pipe"]
    assert not any(os.listdir(copy.root / name) for name in ("etc/deep", "usr"))
    copy.close()


def test_descriptors_follow(copy: Copy) -> None:
    """What was opened while it was the image's shows what is changed later, whoever changes it."""
    etc, conf = copy.at("etc/conf")
    deep, er = copy.at("etc/deep/er")
    again = copy.files.dup(deep)
    listing = copy.open("etc/deep", O_RDONLY | O_DIRECTORY)
    child = os.fork()
    if not child:
        status = 1
        try:
            copy.write("etc/deep/mine", b"1", O_WRONLY | O_CREAT)
            copy.files.unlinkat(*copy.at("etc/deep/er/file"))
            copy.files.unlinkat(*copy.at("etc/deep/er"), AT_REMOVEDIR)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    copy.files.catch_up()
    assert sorted(name for name, _, _ in make_host().dirs.scan(listing)[2:]) == [b"mine"]
    for fd in (deep, again, listing):
        assert copy.files.fstatat(fd, b"mine", NOFOLLOW).size == 1
        with pytest.raises(LinuxError):
            copy.files.fstatat(fd, er, NOFOLLOW)
    copy.files.close(again)
    assert sorted(name for name, _, _ in make_host().dirs.scan(listing)[2:]) == [b"mine"]
    copy.files.mkdirat(deep, b"new", 0o755)
    assert copy.names("etc/deep") == ["mine", "new"]
    assert copy.files.readlinkat(etc, b"link") == b"conf"
    assert copy.files.fstatat(etc, conf, NOFOLLOW).size == 7


def test_inode_numbers_of_directories_stay(copy: Copy) -> None:
    fd, _ = copy.at("etc/deep/x")
    before = copy.stat("etc").st_ino, copy.stat("etc/deep").st_ino, copy.files.fstat(fd).ino
    copy.write("etc/deep/mine", b"", O_WRONLY | O_CREAT)
    assert (copy.stat("etc").st_ino, copy.stat("etc/deep").st_ino, copy.files.fstat(fd).ino) == before
    assert copy.stat("etc/deep").st_nlink == 3
    above = copy.files.openat(fd, b"..", O_PATH | O_DIRECTORY)
    assert copy.files.fstat(above).ino == before[0]
    copy.files.close(above)


def test_up_from_the_images_directories(copy: Copy) -> None:
    fd = copy.files.openat(copy.at("etc/deep/er/x")[0], b"..", O_PATH | O_DIRECTORY)
    copy.write("etc/mine", b"", O_WRONLY | O_CREAT)
    above = copy.files.openat(fd, b"..", O_RDONLY | O_DIRECTORY)  # the copy's, from one of the image's
    assert copy.files.fstatat(above, b"mine").nlink == 1
    top = copy.files.openat(above, b"..", O_PATH | O_DIRECTORY)
    assert copy.files.fstat(top).ino == copy.files.fstat(copy.top).ino
    for each in (fd, above, top):
        copy.files.close(each)


def test_a_listing_that_has_begun_goes_on(copy: Copy, image: Path) -> None:
    """Its descriptor means the copy's directory for all else, and once it is rewound."""
    host = make_host()
    fd = copy.open("etc", O_RDONLY | O_DIRECTORY)
    if not host.dirs.reads_records:
        pytest.skip("this host reads whole directories")
    buffer = bytearray(64)
    assert host.dirs.read(fd, buffer) > 0
    copy.files.unlinkat(fd, b"link")
    copy.files.mkdirat(fd, b"new", 0o755)
    assert copy.files.fstatat(fd, b"new").nlink
    again = copy.files.dup(fd)
    assert copy.files.fstatat(again, b"new").nlink
    copy.files.close(again)
    seen = b""
    while length := host.dirs.read(fd, more := bytearray(64)):
        seen += more[:length]
    assert b"new" not in seen
    copy.files.lseek(fd, 0, os.SEEK_SET)
    everything = bytearray(4096)
    del everything[host.dirs.read(fd, everything) :]
    assert b"new" in everything
    assert b"link" not in everything


def test_directories_are_found_where_they_were_moved(copy: Copy) -> None:
    deep, _ = copy.at("etc/deep/x")
    er, file = copy.at("etc/deep/er/file")
    copy.files.renameat2(copy.top, b"etc", copy.top, b"moved")
    copy.write("moved/deep/mine", b"1", O_WRONLY | O_CREAT)
    assert copy.files.fstatat(deep, b"mine").size == 1
    copy.files.mkdirat(er, b"new", 0o755)
    assert copy.names("moved/deep/er") == ["file", "new"]
    copy.files.mkdirat(copy.top, b"etc", 0o755)
    copy.files.mkdirat(*copy.at("etc/deep"), 0o755)
    assert copy.names("etc/deep") == []
    assert copy.files.fstatat(er, file).size == 5


def test_directories_that_were_removed(copy: Copy) -> None:
    er, _ = copy.at("etc/deep/er/file")
    copy.files.unlinkat(*copy.at("etc/deep/er/file"))
    copy.files.unlinkat(*copy.at("etc/deep/er"), AT_REMOVEDIR)
    copy.files.mkdirat(*copy.at("etc/deep/er"), 0o755)  # it may get the number of the old one
    copy.write("etc/deep/er/mine", b"", O_WRONLY | O_CREAT)
    assert copy.files.fstat(er).nlink == 0
    for look in (lambda: copy.files.fstatat(er, b"mine"), lambda: copy.files.mkdirat(er, b"new", 0o755)):
        with pytest.raises(LinuxError) as failed:
            look()
        assert failed.value.errno == ENOENT
    with pytest.raises(LinuxError):
        copy.files.openat(er, b"file", O_RDONLY | O_NOFOLLOW)


def test_a_directory_that_was_replaced(copy: Copy) -> None:
    empty, _ = copy.at("empty/x")
    copy.files.renameat2(copy.top, b"usr", copy.top, b"empty")
    assert copy.names("empty") == ["bin"]
    assert copy.files.fstat(empty).nlink == 0


def test_nothing_changes_in_the_image_at_least(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a directory does not become the copy's, for whatever reason."""
    etc, conf = copy.at("etc/conf")
    monkeypatch.setattr(CowFiles, "_fill_way", lambda self, path: os.dup(copy.top))
    changes: tuple[Callable[[], object], ...] = (
        lambda: copy.files.mkdirat(etc, b"new", 0o755),
        lambda: copy.files.unlinkat(etc, conf),
        lambda: copy.files.openat(etc, conf, O_WRONLY),
        lambda: copy.files.fchmodat(etc, conf, 0o600, NOFOLLOW),
        lambda: copy.files.fchmod(copy.open("etc", O_RDONLY | O_DIRECTORY), 0o700),
    )
    for change in changes:
        with pytest.raises(LinuxError) as failed:
            change()
        assert failed.value.errno == EBUSY


def test_pipes_are_the_copys_own(copy: Copy, image: Path) -> None:
    reader = copy.open("etc/pipe", O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    assert not os.path.samestat(os.fstat(reader), (image / "rootfs/etc/pipe").stat())
    writer = copy.open("etc/pipe", O_WRONLY | O_NOFOLLOW | O_NONBLOCK)
    os.write(writer, b"x")
    assert os.read(reader, 9) == b"x"


def test_failing_changes_fill_nothing(copy: Copy) -> None:
    etc, _ = copy.at("etc/x")
    failing: tuple[tuple[Callable[[], object], int], ...] = (
        (lambda: copy.files.mkdirat(etc, b"deep", 0o755), EEXIST),
        (lambda: copy.files.symlinkat(b"x", etc, b"conf"), EEXIST),
        (lambda: copy.files.unlinkat(etc, b"none"), ENOENT),
        (lambda: copy.files.unlinkat(etc, b"none", AT_REMOVEDIR), ENOENT),
        (lambda: copy.files.renameat2(etc, b"none", etc, b"new"), ENOENT),
        (lambda: copy.files.linkat(etc, b"none", etc, b"new"), ENOENT),
    )
    for change, errno in failing:
        with pytest.raises(LinuxError) as failed:
            change()
        assert failed.value.errno == errno
    assert os.listdir(copy.root) == []


def test_paths_are_those_of_the_copy(copy: Copy) -> None:
    where = os.path.realpath(copy.root).encode()
    deep, _ = copy.at("etc/deep/x")
    file = copy.open("etc/deep/er/file", O_RDONLY | O_NOFOLLOW)
    if make_host().caps.proc_fd:
        assert copy.files.fd_path(file) == where + b"/etc/deep/er/file"
    assert copy.files.fd_path(deep) == where + b"/etc/deep"
    other = os.dup(deep)  # as one that came from another process
    assert copy.files.fd_path(other) == where + b"/etc/deep"
    copy.files.mkdirat(other, b"new", 0o755)
    copy.files.close(other)
    assert copy.names("etc/deep") == ["er", "new"]


def test_attributes_of_directories_change(make: Callable[[], Copy], image: Path) -> None:
    copy, other = make(), make()
    changes: tuple[Callable[[int, bytes], object], ...] = (
        lambda fd, name: copy.files.fchmodat(fd, name, 0o711, NOFOLLOW),
        lambda fd, name: copy.files.utimensat(fd, name, (1, 1), NOFOLLOW),
        lambda fd, name: copy.files.setxattrat(fd, name, b"user.a", b"b", 0, NOFOLLOW),
    )
    for change in changes:
        change(*copy.at("etc/deep"))
        change(*copy.at("etc/deep/er"))
    copy.files.fchmod(copy.open("usr/bin", O_RDONLY | O_DIRECTORY), 0o711)
    for path in ("etc/deep", "etc/deep/er", "usr/bin"):
        assert stat.S_IMODE(copy.stat(path).st_mode) == 0o711
        assert stat.S_IMODE(other.stat(path).st_mode) != 0o711
    assert copy.names("etc/deep/er") == ["file"]
    assert copy.files.getxattrat(*copy.at("etc/deep"), b"user.a") == b"b"


def test_many_processes_change_and_look(copy: Copy) -> None:
    """Each sees its own changes at once, and those of others that came before."""
    deep, _ = copy.at("etc/deep/x")
    children = []
    for number in range(6):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                for turn in range(20):
                    name = b"%d-%d" % (number, turn)
                    copy.files.mkdirat(deep, name, 0o755)
                    assert copy.files.fstatat(deep, name).nlink
                    inside = copy.files.openat(deep, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
                    copy.files.mkdirat(inside, b"in", 0o755)
                    copy.files.close(inside)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
    assert len(copy.names("etc/deep")) == 121
