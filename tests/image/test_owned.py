"""Owners, modes and device nodes that only the guest sees, and permissions by them."""

from __future__ import annotations

import os
import stat
import struct
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest

from noah.abi.errno import EACCES, EINVAL, ENODATA, ENXIO, EPERM, ERRNO_NAMES, LinuxError
from noah.abi.fcntl import (
    AT_SYMLINK_NOFOLLOW,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    R_OK,
    W_OK,
    X_OK,
)
from noah.fs.acl import is_minimal, mode_of, parse
from noah.fs.owned import OwnedFiles
from noah.fs.ownership import Override, Ownership
from noah.host.select import make_host
from noah.vfs.credentials import Credentials

CAPABILITIES = struct.pack("<5I", 0x2000001, 1 << 2, 0, 0, 0)


class Asker:
    def __init__(self) -> None:
        self.creds = Credentials(0, 0)


class Tree:
    """A directory seen through OwnedFiles."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "rootfs"
        self.path.mkdir()
        self.table = Ownership(make_host(), bytes(directory / "owners"))
        self.files = OwnedFiles(make_host(), self.table)
        self.asker = self.files.asker = Asker()
        self.fd = os.open(self.path, os.O_PATH)
        self.path.chmod(0o755)

    def become(self, uid: int, gid: int, *groups: int) -> None:
        self.asker.creds = Credentials(uid, gid, groups)

    def make(self, name: str, mode: int = 0o644, content: bytes = b"") -> None:
        fd = self.files.openat(self.fd, name.encode(), O_WRONLY | O_CREAT | O_EXCL, mode)
        os.write(fd, content)
        os.close(fd)

    def open(self, name: str, flags: int = O_RDONLY, mode: int = 0) -> None:
        os.close(self.files.openat(self.fd, name.encode(), flags, mode))

    def owner(self, name: str) -> tuple[int, int, str]:
        found = self.files.fstatat(self.fd, name.encode(), AT_SYMLINK_NOFOLLOW)
        return found.uid, found.gid, stat.filemode(found.mode)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    os.close(tree.fd)
    tree.__dict__.clear()  # pytest keeps the rest longer than the check for open descriptors waits


class fails:
    """A LinuxError of this number."""

    def __init__(self, errno: int) -> None:
        self.errno = errno

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        assert isinstance(error, LinuxError), f"{ERRNO_NAMES[self.errno]} expected"
        assert error.errno == self.errno
        return True


# ---- the table


def test_table_keeps_and_forgets(tmp_path: Path) -> None:
    table = Ownership(make_host(), bytes(tmp_path / "owners"))
    one, two = Override(1, 2, 0o100644, 0), Override(0xFFFFFFFE, 3, 0o020600, 0x103)
    table.set(7, one)
    table.set(7 + (1 << 20), two)  # the same slot
    table.set((1 << 20) - 1, one)
    table.set((2 << 20) - 1, two)  # round the end
    again = Ownership(make_host(), bytes(tmp_path / "owners"))
    assert (again.get(7), again.get(7 + (1 << 20)), again.get(8)) == (one, two, None)
    assert again.get((2 << 20) - 1) == two
    again.forget(7)
    assert (table.get(7), table.get(7 + (1 << 20))) == (None, two)
    table.set(7, two)
    assert sorted(inode for inode, _ in again.all()) == [7, (1 << 20) - 1, 7 + (1 << 20), (2 << 20) - 1]


def test_forgotten_slots_are_used_again(tmp_path: Path) -> None:
    table = Ownership(make_host(), bytes(tmp_path / "owners"))
    one, two = Override(1, 1, 0o100600), Override(2, 2, 0o100600)
    row = range(100, 200)
    for inode in row:
        table.set(inode, one)
    for inode in row:
        table.forget(inode)
    assert not list(table.all())
    assert not any(table.get(inode) for inode in row)
    table.set(150, two)
    same_place = 160 + (1 << 20)  # of which there is one in the table for each million inode numbers
    table.set(same_place, two)
    assert table.get(150) == table.get(same_place) == two
    assert table.get(160) is None
    table.set(160, one)
    assert (table.get(160), table.get(same_place)) == (one, two)
    assert sorted(table.all()) == [(150, two), (160, one), (same_place, two)]


def test_who_looks_for_a_forgotten_inode_does_not_pass_its_neighbours(tmp_path: Path) -> None:
    table = Ownership(make_host(), bytes(tmp_path / "owners"))
    for inode in range(100, 20_100):
        table.set(inode, Override(1, 1, 0o100600))

    def least(inode: int) -> float:
        return min(timeit.repeat(lambda: table.get(inode), number=1, repeat=50))

    table.forget(100)
    assert least(100) < 100 * least(101)  # it was 10,000 times


def test_table_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "owners").write_bytes(b"something else")
    with fails(EINVAL):
        Ownership(make_host(), bytes(tmp_path / "owners"))


def test_processes_share_the_table(tmp_path: Path) -> None:
    table = Ownership(make_host(), bytes(tmp_path / "owners"))
    pids = []
    for worker in range(4):
        pid = os.fork()
        if pid == 0:
            mine = Ownership(make_host(), bytes(tmp_path / "owners"))
            for number in range(300):
                mine.set(1 + number * 4 + worker, Override(worker, number, 0o100000, 0))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    for worker in range(4):
        for number in range(300):
            assert table.get(1 + number * 4 + worker) == Override(worker, number, 0o100000)


# ---- what files look like


def test_files_belong_to_root_and_need_no_override(tree: Tree) -> None:
    tree.make("f", 0o640)
    tree.files.mkdirat(tree.fd, b"d", 0o755)
    tree.files.symlinkat(b"f", tree.fd, b"l")
    assert tree.owner("f") == (0, 0, "-rw-r-----")
    assert tree.owner("d") == (0, 0, "drwxr-xr-x")
    assert tree.owner("l") == (0, 0, "lrwxrwxrwx")
    assert list(tree.table.all()) == []


def test_new_files_belong_to_who_makes_them(tree: Tree) -> None:
    tree.files.fchmodat(tree.fd, b"", 0o777, 0x1000)
    tree.become(12, 34)
    tree.make("f")
    tree.files.mkdirat(tree.fd, b"d", 0o750)
    tree.files.symlinkat(b"f", tree.fd, b"l")
    tree.files.mknodat(tree.fd, b"p", stat.S_IFIFO | 0o600)
    for name, mode in (("f", "-rw-r--r--"), ("d", "drwxr-x---"), ("l", "lrwxrwxrwx"), ("p", "prw-------")):
        assert tree.owner(name) == (12, 34, mode)


def test_set_group_id_of_directories_is_inherited(tree: Tree) -> None:
    tree.files.mkdirat(tree.fd, b"d", 0o755)
    tree.files.fchownat(tree.fd, b"d", 0, 50)
    tree.files.fchmodat(tree.fd, b"d", 0o2775)
    tree.make("d/f")
    directory = os.open(tree.path / "d", os.O_PATH)
    tree.files.mkdirat(directory, b"e", 0o755)
    os.close(tree.files.openat(directory, b"g", O_WRONLY | O_CREAT, 0o644))
    nameless = tree.files.openat(tree.fd, b"d", O_WRONLY | O_TMPFILE, 0o644)
    assert tree.files.fstat(nameless).gid == 50
    os.close(nameless)
    os.close(directory)
    assert tree.owner("d/g") == (0, 50, "-rw-r--r--")
    assert tree.owner("d/e") == (0, 50, "drwxr-sr-x")


def test_modes_that_the_host_must_not_have(tree: Tree) -> None:
    tree.make("f", 0o4755)
    tree.make("g", 0o000)
    tree.files.mkdirat(tree.fd, b"d", 0o000)
    assert tree.owner("f") == (0, 0, "-rwsr-xr-x")
    assert tree.owner("g") == (0, 0, "----------")
    assert tree.owner("d") == (0, 0, "d---------")
    assert stat.S_IMODE((tree.path / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree.path / "g").stat().st_mode) == 0o600
    assert stat.S_IMODE((tree.path / "d").stat().st_mode) == 0o700
    tree.open("g", O_RDWR)


def test_chown_takes_set_user_id_away(tree: Tree) -> None:
    tree.make("f")
    tree.files.fchmodat(tree.fd, b"f", 0o6755)
    tree.files.fchownat(tree.fd, b"f", 5, -1)
    assert tree.owner("f") == (5, 0, "-rwxr-xr-x")
    tree.files.fchmodat(tree.fd, b"f", 0o4711)
    assert tree.owner("f") == (5, 0, "-rws--x--x")
    tree.files.fchownat(tree.fd, b"f", 0, 0)
    tree.files.fchmodat(tree.fd, b"f", 0o644)
    assert list(tree.table.all()) == []


def test_override_goes_with_the_file_and_not_with_its_number(tree: Tree) -> None:
    tree.make("f")
    tree.files.fchownat(tree.fd, b"f", 5, 6)
    tree.files.renameat2(tree.fd, b"f", tree.fd, b"g")
    tree.files.linkat(tree.fd, b"g", tree.fd, b"h")
    assert tree.owner("g") == tree.owner("h") == (5, 6, "-rw-r--r--")
    inode = (tree.path / "g").stat().st_ino
    tree.files.unlinkat(tree.fd, b"g")
    tree.files.unlinkat(tree.fd, b"h")
    for number in range(50):  # the host hands the number out again, sooner or later
        tree.make(f"n{number}")
        assert tree.owner(f"n{number}") == (0, 0, "-rw-r--r--")
    tree.table.set(inode, Override(5, 6, 0o100644, 0))


def test_device_nodes(tree: Tree) -> None:
    tree.files.mknodat(tree.fd, b"null", stat.S_IFCHR | 0o666, 0x103)
    tree.files.mknodat(tree.fd, b"disk", stat.S_IFBLK | 0o660, 0x800)
    found = tree.files.fstatat(tree.fd, b"null")
    assert (stat.S_ISCHR(found.mode), found.rdev, found.size) == (True, 0x103, 0)
    assert (tree.path / "null").is_file()
    fd = tree.files.openat(tree.fd, b"null", O_RDWR | O_TRUNC)
    assert os.read(fd, 10) == b""
    assert os.fstat(fd).st_rdev == os.stat("/dev/null").st_rdev
    os.close(fd)
    with fails(ENXIO):
        tree.open("disk")
    tree.become(1, 1)
    with fails(EACCES):
        tree.files.mknodat(tree.fd, b"mine", stat.S_IFCHR | 0o666, 0x103)
    with fails(EACCES):
        tree.open("disk")


# ---- permissions


@pytest.mark.parametrize(
    ("uid", "gid", "groups", "mode", "allowed"),
    [
        (5, 1, (), 0o400, R_OK),
        (5, 1, (), 0o077, 0),
        (1, 6, (), 0o060, R_OK | W_OK),
        (1, 1, (6,), 0o040, R_OK),
        (1, 6, (), 0o707, 0),
        (1, 1, (), 0o005, R_OK | X_OK),
        (0, 0, (), 0o000, R_OK | W_OK),
        (0, 0, (), 0o001, R_OK | W_OK | X_OK),
    ],
)
def test_access(tree: Tree, uid: int, gid: int, groups: tuple[int, ...], mode: int, allowed: int) -> None:
    tree.make("f")
    tree.files.fchownat(tree.fd, b"f", 5, 6)
    tree.files.fchmodat(tree.fd, b"f", mode)
    tree.become(uid, gid, *groups)
    for wanted in (R_OK, W_OK, X_OK, R_OK | W_OK):
        if wanted & ~allowed:
            with fails(EACCES):
                tree.files.faccessat(tree.fd, b"f", wanted)
        else:
            tree.files.faccessat(tree.fd, b"f", wanted)
    for flags, needed in ((O_RDONLY, R_OK), (O_WRONLY, W_OK), (O_RDWR, R_OK | W_OK)):
        if needed & ~allowed:
            with fails(EACCES):
                tree.open("f", flags)
        else:
            tree.open("f", flags)
    tree.open("f", O_PATH)


def test_directories_must_be_searched(tree: Tree) -> None:
    tree.files.mkdirat(tree.fd, b"d", 0o700)
    tree.make("d/f", 0o644)
    inside = tree.files.openat(tree.fd, b"d", O_PATH | O_DIRECTORY)
    tree.become(1, 1)
    for call in (
        lambda: tree.files.fstatat(inside, b"f"),
        lambda: tree.files.openat(inside, b"f", O_RDONLY),
        lambda: tree.files.openat(inside, b"f", O_PATH),
        lambda: tree.files.readlinkat(inside, b"f"),
        lambda: tree.files.faccessat(inside, b"f", 0),
    ):
        with fails(EACCES):
            call()
    os.close(inside)


def test_names_need_a_writable_directory(tree: Tree) -> None:
    tree.make("f", 0o666)  # with less, link(2) would refuse it as somebody else's
    tree.become(1, 1)
    for call in (
        lambda: tree.files.openat(tree.fd, b"new", O_WRONLY | O_CREAT, 0o644),
        lambda: tree.files.mkdirat(tree.fd, b"new", 0o755),
        lambda: tree.files.symlinkat(b"x", tree.fd, b"new"),
        lambda: tree.files.linkat(tree.fd, b"f", tree.fd, b"new"),
        lambda: tree.files.unlinkat(tree.fd, b"f"),
        lambda: tree.files.renameat2(tree.fd, b"f", tree.fd, b"new"),
    ):
        with fails(EACCES):
            call()
    assert os.listdir(tree.path) == ["f"]


def test_sticky_directory(tree: Tree) -> None:
    tree.files.mkdirat(tree.fd, b"tmp", 0o755)
    tree.files.fchmodat(tree.fd, b"tmp", 0o1777)
    inside = tree.files.openat(tree.fd, b"tmp", O_PATH | O_DIRECTORY)
    tree.become(1, 1)
    os.close(tree.files.openat(inside, b"f", O_WRONLY | O_CREAT, 0o666))
    tree.become(2, 2)
    with fails(EPERM):
        tree.files.unlinkat(inside, b"f")
    with fails(EPERM):
        tree.files.renameat2(inside, b"f", inside, b"g")
    tree.become(1, 1)
    tree.files.unlinkat(inside, b"f")
    os.close(inside)


def test_only_owners_change_files(tree: Tree) -> None:
    tree.make("f", 0o666)
    tree.files.fchownat(tree.fd, b"f", 1, 1)
    tree.become(2, 2)
    with fails(EPERM):
        tree.files.fchmodat(tree.fd, b"f", 0o777)
    with fails(EPERM):
        tree.files.fchownat(tree.fd, b"f", 2, 2)
    with fails(EPERM):
        tree.files.utimensat(tree.fd, b"f", (1, 1))
    with fails(EPERM):
        tree.files.setxattrat(tree.fd, b"f", b"security.x", b"1")
    tree.files.utimensat(tree.fd, b"f", None)
    tree.become(1, 1, 7)
    tree.files.fchmodat(tree.fd, b"f", 0o600)
    tree.files.fchownat(tree.fd, b"f", -1, 7)
    for uid, gid in ((2, -1), (-1, 8)):
        with fails(EPERM):
            tree.files.fchownat(tree.fd, b"f", uid, gid)
    assert tree.owner("f") == (1, 7, "-rw-------")


def test_attributes_of_root(tree: Tree) -> None:
    tree.make("f")
    try:
        tree.files.setxattrat(tree.fd, b"f", b"security.capability", CAPABILITIES)
    except LinuxError as error:
        pytest.skip(f"no attributes here: {ERRNO_NAMES[error.errno]}")
    assert tree.files.getxattrat(tree.fd, b"f", b"security.capability") == CAPABILITIES
    assert tree.files.listxattrat(tree.fd, b"f") == [b"security.capability"]
    with fails(ENODATA):
        tree.files.getxattrat(tree.fd, b"f", b"user.noah.security.capability")
    tree.files.removexattrat(tree.fd, b"f", b"security.capability")
    assert tree.files.listxattrat(tree.fd, b"f") == []
    with fails(EINVAL):
        tree.files.setxattrat(tree.fd, b"f", b"security.capability", b"cap")
    tree.files.setxattrat(tree.fd, b"f", b"trusted.mine", b"1")
    tree.become(5, 5)
    assert tree.files.listxattrat(tree.fd, b"f") == []
    for name in (b"trusted.mine", b"security.mine", b"security.capability"):
        with fails(EPERM):
            tree.files.setxattrat(tree.fd, b"f", name, CAPABILITIES)


@pytest.mark.parametrize("how", ["write", "truncate", "chown"])
def test_capabilities_go_when_the_file_changes(tree: Tree, how: str) -> None:
    tree.make("f", 0o755)
    tree.files.setxattrat(tree.fd, b"f", b"security.capability", CAPABILITIES)
    tree.open("f")
    assert tree.files.listxattrat(tree.fd, b"f") == [b"security.capability"]
    if how == "write":
        tree.open("f", O_RDWR)
    elif how == "truncate":
        tree.files.truncateat(tree.fd, b"f", 0)
    else:
        tree.files.fchownat(tree.fd, b"f", 1, 1)
    assert tree.files.listxattrat(tree.fd, b"f") == []


NOBODY = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


MINIMAL = acl((1, 6, NOBODY), (4, 4, NOBODY), (0x20, 0, NOBODY))
NAMED = acl((1, 6, NOBODY), (2, 6, 5), (4, 0, NOBODY), (8, 4, 50), (0x10, 6, NOBODY), (0x20, 0, NOBODY))


def test_access_control_list_is_a_mode_first(tree: Tree) -> None:
    assert (mode_of(parse(MINIMAL)), is_minimal(parse(MINIMAL))) == (0o640, True)
    assert (mode_of(parse(NAMED)), is_minimal(parse(NAMED))) == (0o660, False)
    disordered = acl((4, 4, NOBODY), (1, 6, NOBODY), (0x20, 0, NOBODY))
    maskless = acl((1, 6, NOBODY), (2, 6, 5), (4, 4, NOBODY), (0x20, 0, NOBODY))
    for wrong in (b"", b"\2\0\0", acl((1, 6, NOBODY)), maskless, disordered):
        with fails(EINVAL):
            parse(wrong)
    tree.make("f", 0o600)
    tree.files.setxattrat(tree.fd, b"f", b"system.posix_acl_access", MINIMAL)
    assert tree.owner("f") == (0, 0, "-rw-r-----")


def test_access_control_list_names_users_and_groups(tree: Tree) -> None:
    tree.make("f", 0o600)
    tree.files.setxattrat(tree.fd, b"f", b"system.posix_acl_access", NAMED)
    assert tree.owner("f") == (0, 0, "-rw-rw----")

    def allowed(uid: int, *groups: int) -> list[int]:
        tree.become(uid, uid, *groups)
        found = []
        for flags in (O_RDONLY, O_WRONLY):
            try:
                tree.open("f", flags)
            except LinuxError:
                continue
            found.append(flags)
        return found

    assert allowed(5) == [O_RDONLY, O_WRONLY]
    assert allowed(6, 50) == [O_RDONLY]
    assert allowed(6, 0) == []
    assert allowed(6) == []
    tree.become(0, 0)
    tree.files.fchmodat(tree.fd, b"f", 0o640)  # the mask
    assert allowed(5) == [O_RDONLY]
    tree.become(0, 0)
    assert [entry.permissions for entry in parse(tree.files.getxattrat(tree.fd, b"f", b"system.posix_acl_access"))] == [
        6, 6, 0, 4, 4, 0,
    ]  # fmt: skip
    tree.files.setxattrat(tree.fd, b"f", b"system.posix_acl_access", MINIMAL)
    assert allowed(5) == []
    assert tree.files.listxattrat(tree.fd, b"f") == []


def test_default_access_control_list_is_inherited(tree: Tree) -> None:
    tree.files.mkdirat(tree.fd, b"d", 0o755)
    tree.files.setxattrat(tree.fd, b"d", b"system.posix_acl_default", NAMED)
    directory = os.open(tree.path / "d", os.O_PATH)
    tree.files.umask(0o077)  # does not count there
    os.close(tree.files.openat(directory, b"f", O_WRONLY | O_CREAT, 0o666))
    tree.files.mkdirat(directory, b"d", 0o777)
    tree.files.mknodat(directory, b"n", stat.S_IFREG | 0o666)
    tree.files.mknodat(directory, b"p", stat.S_IFIFO | 0o666)  # but here
    os.close(directory)
    tree.files.mkdirat(tree.fd, b"without", 0o777)
    assert tree.files.umask(0) == 0o077
    assert tree.owner("without") == (0, 0, "drwx------")
    assert tree.owner("d/n") == (0, 0, "-rw-rw----")
    assert tree.owner("d/p") == (0, 0, "prw-------")
    assert tree.owner("d/f") == (0, 0, "-rw-rw----")
    assert tree.owner("d/d") == (0, 0, "drw-rw----")
    assert tree.files.getxattrat(tree.fd, b"d/f", b"system.posix_acl_access") == NAMED
    assert tree.files.getxattrat(tree.fd, b"d/d", b"system.posix_acl_default") == NAMED
    tree.make("f", 0o600)
    with fails(EACCES):
        tree.files.setxattrat(tree.fd, b"f", b"system.posix_acl_default", NAMED)


def test_links_to_files_of_others(tree: Tree) -> None:
    tree.make("shut", 0o644)
    tree.make("open", 0o666)
    tree.files.fchmodat(tree.fd, b".", 0o777)
    tree.become(5, 5)
    with fails(EPERM):
        tree.files.linkat(tree.fd, b"shut", tree.fd, b"mine")
    tree.files.linkat(tree.fd, b"open", tree.fd, b"mine")
