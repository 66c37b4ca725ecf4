"""Random work of several processes in a copy of an image, beside the same work in an ordinary tree.

Each actor has its own view of the copy, as a process has, and keeps directories open.
"""

from __future__ import annotations

import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.image.test_cow import snapshot

from noah.abi.errno import LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TRUNC,
    O_WRONLY,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
)
from noah.fs.cow import CowFiles
from noah.fs.inodelist import list_inodes
from noah.fs.ownership import Ownership
from noah.host.api import Files
from noah.host.select import make_host

NAMES = (b"a", b"b", b"c", b"d", b"e")
DEPTH = 4
STEPS = 400
ACTORS = 3
HOLD = O_PATH | O_DIRECTORY | O_NOFOLLOW
SEES = 20
"""After so many steps, each sees everything."""


class Work:
    """In one of the two trees: what each step does, by descriptors of directories."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._scan = make_host().dirs.scan

    def stat(self, fd: int, name: bytes) -> tuple[int, ...]:
        found = self.files.fstatat(fd, name, AT_SYMLINK_NOFOLLOW if name else AT_EMPTY_PATH)
        is_directory = stat.S_ISDIR(found.mode)
        return found.mode, 0 if is_directory else found.size, found.nlink

    def read(self, fd: int, name: bytes) -> bytes:
        file = self.files.openat(fd, name, O_RDONLY | O_NOFOLLOW)
        try:
            return self.files.read(file, 1000)
        finally:
            self.files.close(file)

    def write(self, fd: int, name: bytes, flags: int, content: bytes) -> None:
        file = self.files.openat(fd, name, O_WRONLY | O_NOFOLLOW | flags, 0o644)
        try:
            self.files.write(file, content)
        finally:
            self.files.close(file)

    def names(self, fd: int) -> list[bytes]:
        listing = self.files.openat(fd, b".", O_RDONLY | O_DIRECTORY)
        try:
            return sorted(name for name, _, _ in self._scan(listing)[2:])
        finally:
            self.files.close(listing)

    def tree(self, fd: int) -> list[object]:
        """All there is."""
        found: list[object] = []
        for name in self.names(fd):
            status = self.stat(fd, name)
            found.append((name, status))
            if stat.S_ISDIR(status[0]):
                inside = self.files.openat(fd, name, HOLD)
                found.append(self.tree(inside))
                self.files.close(inside)
            elif stat.S_ISREG(status[0]):
                found.append(self.read(fd, name))
        return found


Held = tuple[Work, int, int]
"""A directory: who holds it in the copy, the descriptor there, that in the ordinary tree."""


class Both:
    """The same work in both trees, with the same results."""

    def __init__(self, seed: int, place: Path, owners: bool) -> None:
        self.random = random.Random(seed)
        host = make_host()
        self.image = place / "image/rootfs"
        self.image.mkdir(parents=True)
        self._make(self.image, 0)
        if owners:
            Ownership(host, bytes(place / "image/owners"))
        (place / "image/inodes").write_bytes(list_inodes(host, bytes(self.image)))
        shutil.copytree(self.image, place / "plain", symlinks=True)
        (place / "copy").mkdir()

        def view() -> CowFiles:
            return CowFiles(host, bytes(place / "image"), bytes(place / "copy"), owners=owners)

        view().begin()
        self.plain = Work(host.files)
        self.top = host.files.openat(AT_FDCWD, bytes(place / "plain"), HOLD)
        self.tops = host.files.fstat(self.top).ino
        self.held: list[Held] = []
        for _ in range(ACTORS):
            actor = Work(view().host_with().files)
            fd = actor.files.openat(AT_FDCWD, bytes(place / "copy/rootfs"), HOLD)
            self.held.append((actor, fd, host.files.dup(self.top)))
        self.done: list[object] = []

    def _make(self, root: Path, depth: int) -> None:
        for name in map(bytes.decode, NAMES):
            kind = self.random.random()
            if kind < 0.45 and depth < DEPTH:
                (root / name).mkdir()
                self._make(root / name, depth + 1)
            elif kind < 0.75:
                (root / name).write_bytes(bytes(self.random.choices(b"xyz", k=self.random.randrange(9))))
            elif kind < 0.8:
                (root / name).symlink_to(self.random.choice(["a", "b", "../c", "/a/b"]))

    def close(self) -> None:
        for held in self.held:
            self._let_go(held)
        self.plain.files.close(self.top)
        self.held.clear()

    def _let_go(self, held: Held) -> None:
        held[0].files.close(held[1])
        self.plain.files.close(held[2])

    def step(self, number: int) -> None:
        choose = self.random.choice
        actor, fd, plain = choose(self.held)
        _, other, plain_other = choose([held for held in self.held if held[0] is actor])
        name, new = choose(NAMES), choose(NAMES)
        made = choose([0, O_CREAT, O_CREAT | O_EXCL]) | choose([0, O_TRUNC, O_APPEND])
        how = choose([0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE])
        mode = choose([0o755, 0o700, 0o711])
        steps: dict[str, tuple[int, Callable[[Work, int, int], object]]] = {
            "mkdir": (2, lambda work, at, _: work.files.mkdirat(at, name, 0o755)),
            "rmdir": (2, lambda work, at, _: work.files.unlinkat(at, name, AT_REMOVEDIR)),
            "unlink": (2, lambda work, at, _: work.files.unlinkat(at, name)),
            "rename": (4, lambda work, at, to: work.files.renameat2(at, name, to, new, how)),
            "write": (3, lambda work, at, _: work.write(at, name, made, b"%d" % number)),
            "read": (2, lambda work, at, _: work.read(at, name)),
            "names": (2, lambda work, at, _: work.names(at) if work.files.fstat(at).nlink else None),
            "stat": (2, lambda work, at, _: work.stat(at, name)),
            "own stat": (1, lambda work, at, _: work.stat(at, b"")),
            "link": (1, lambda work, at, to: work.files.linkat(at, name, to, new)),
            "symlink": (1, lambda work, at, _: work.files.symlinkat(name, at, new)),
            "chmod": (1, lambda work, at, _: work.files.fchmodat(at, name, mode, AT_SYMLINK_NOFOLLOW)),
        }
        what = self.random.choices(["enter", "up", "close", *steps], [5, 1, 1, *(each[0] for each in steps.values())])[
            0
        ]
        if what == "enter":
            self._hold(actor, fd, plain, name)
        elif what == "up":
            status = self.plain.files.fstat(plain)
            if status.nlink and status.ino != self.tops:
                self._hold(actor, fd, plain, b"..")
        elif what == "close":
            if len(self.held) > 2 * ACTORS:
                self._let_go(self.held.pop(self.random.randrange(ACTORS, len(self.held))))
        elif what != "chmod" or not self._is_link(plain, name):  # links have no modes of their own
            do = steps[what][1]
            seen, wanted = outcome(lambda: do(actor, fd, other)), outcome(lambda: do(self.plain, plain, plain_other))
            self.done.append((number, what, fd, name, other, new, seen, wanted))
            assert seen == wanted, self.done[-10:]

    def _is_link(self, plain: int, name: bytes) -> bool:
        try:
            return stat.S_ISLNK(self.plain.stat(plain, name)[0])
        except LinuxError:
            return False

    def _hold(self, actor: Work, fd: int, plain: int, name: bytes) -> None:
        seen = outcome(lambda: actor.files.openat(fd, name, HOLD))
        wanted = outcome(lambda: self.plain.files.openat(plain, name, HOLD))
        self.done.append(("hold", fd, name, seen, wanted))
        if isinstance(seen, int) and isinstance(wanted, int):
            self.held.append((actor, seen, wanted))
        assert type(seen) is type(wanted), self.done[-10:]

    def compare(self) -> None:
        for actor, fd, plain in self.held:
            nlink = self.plain.files.fstat(plain).nlink
            assert bool(actor.files.fstat(fd).nlink) == bool(nlink), (fd, self.done[-20:])
            if nlink:
                assert actor.tree(fd) == self.plain.tree(plain), (fd, self.done[-20:])


def outcome(do: Callable[[], object]) -> object:
    try:
        return do()
    except LinuxError as error:
        return f"error {error.errno}"


@pytest.fixture
def both(seed: int, tmp_path: Path) -> Iterator[Both]:
    made = Both(seed, tmp_path, owners=bool(seed & 1))
    yield made
    made.close()


def work(both: Both) -> None:
    before = snapshot(both.image)
    for number in range(STEPS):
        both.step(number)
        if number % SEES == 0:
            both.compare()
    both.compare()
    assert snapshot(both.image) == before


@pytest.mark.parametrize("seed", range(8))
def test_as_in_an_ordinary_tree(both: Both) -> None:
    work(both)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(8, 400))
def test_as_in_an_ordinary_tree_for_long(both: Both) -> None:
    work(both)
