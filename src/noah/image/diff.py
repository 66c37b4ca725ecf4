"""What a container has changed of its image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW, DT_DIR
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.fs.tree import Descent

if TYPE_CHECKING:
    from noah.host.api import Host

ADDED: Final = "A"
CHANGED: Final = "C"
DELETED: Final = "D"


def changes(
    host: Host, root: bytes, image_host: Host, image_root: bytes, leave_out: Iterable[bytes]
) -> dict[bytes, str]:
    """ADDED, CHANGED or DELETED by path, as docker-diff(1) has it: of a directory that is gone just itself, and each
    directory on the way to a change is changed. leave_out: paths that do not count. LinuxError, ESTALE."""
    compared = _Comparison(host, image_host, frozenset(leave_out))
    compared.run(root, image_root)
    found = compared.found
    for path in tuple(found):
        while path := path.rpartition(b"/")[0]:
            found.setdefault(path, CHANGED)
    return dict(sorted(found.items()))


class _Comparison:
    """Two trees, gone through side by side."""

    def __init__(self, host: Host, image_host: Host, leave_out: frozenset[bytes]) -> None:
        self._host = host
        self._image = image_host
        self._leave_out = leave_out
        self.found: dict[bytes, str] = {}

    def run(self, root: bytes, image_root: bytes) -> None:
        here = Descent(self._host.files, AT_FDCWD, root)
        there = Descent(self._image.files, AT_FDCWD, image_root)
        try:
            path = b""
            levels = [(self._compare(here, there, path), True)]
            while levels:
                inside, is_known = levels[-1]
                if inside:
                    name, is_known = inside.pop()
                    path += b"/" + name
                    here.down(name)
                    if is_known:
                        there.down(name)
                    levels.append((self._compare(here, there if is_known else None, path), is_known))
                    continue
                levels.pop()
                if levels:
                    here.up()
                    if is_known:
                        there.up()
                    path = path.rpartition(b"/")[0]
        finally:
            here.close()
            there.close()

    def _compare(self, here: Descent, there: Descent | None, path: bytes) -> list[tuple[bytes, bool]]:
        """Two directories; there: None if the image has none. Returns the names of those in it, and whether the image
        has them, too."""
        mine = self._names(self._host, here)
        theirs = self._names(self._image, there) if there is not None else {}
        inside = []
        for name in mine.keys() | theirs.keys():
            full = path + b"/" + name
            if full in self._leave_out:
                continue
            if name not in mine:
                self.found[full] = DELETED
                continue
            is_directory = mine[name] == DT_DIR
            if there is None or name not in theirs:
                self.found[full] = ADDED
            elif not self._is_same(here, there, name):
                self.found[full] = CHANGED
            if is_directory:
                inside.append((name, theirs.get(name) == DT_DIR))
        return inside

    def _is_same(self, here: Descent, there: Descent, name: bytes) -> bool:
        """A file that was not changed is the image's own."""
        mine = self._host.files.fstatat(here.fd, name, AT_SYMLINK_NOFOLLOW)
        theirs = self._image.files.fstatat(there.fd, name, AT_SYMLINK_NOFOLLOW)
        if (mine.mode, mine.uid, mine.gid) != (theirs.mode, theirs.uid, theirs.gid):
            return False
        return mine.mode & S_IFMT == S_IFDIR or mine.ino == theirs.ino

    def _names(self, host: Host, at: Descent) -> dict[bytes, int]:
        return {name: kind for name, _, kind in host.dirs.scan(at.fd)[2:]}
