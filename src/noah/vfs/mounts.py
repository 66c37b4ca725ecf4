"""Mounts: which file system is where in the guest's tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from noah.vfs.handle import HostTree

if TYPE_CHECKING:
    from noah.vfs.place import Directory


class FileSystem(Protocol):
    """What can be mounted."""

    type: bytes  # as /proc/mounts shows it
    source: bytes
    options: bytes  # of the mount, behind rw or ro

    def root(self, mount: Mount) -> Directory: ...


class HostMount(FileSystem, HostTree, Protocol):
    """A file system of host files."""


class Mount:
    """A file system at a guest path. `under` is the directory that holds the mount point; None for the root."""

    __slots__ = ("file", "fs", "id", "path", "read_only", "root", "under")

    def __init__(self, id: int, fs: FileSystem, path: bytes, under: Directory | None, *, read_only: bool) -> None:
        self.id = id
        self.fs = fs
        self.path = path
        self.under = under
        self.read_only = read_only
        self.root = fs.root(self)
        self.file = b""  # the name in its root directory of what is mounted, if that is just a file


class MountTable:
    """The mounts of a box, made before the first program starts."""

    __slots__ = ("_by_path", "_on_the_way", "anonymous", "names", "root", "tops")

    def __init__(self, root: FileSystem, anonymous: HostMount, *, read_only: bool = False) -> None:
        self.anonymous = anonymous
        """For host files that have no name: pipes, sockets."""
        Mount(0, anonymous, b"", None, read_only=False)
        self.root = Mount(1, root, b"/", None, read_only=read_only)
        self._by_path = {b"/": self.root}
        self._on_the_way: set[bytes] = set()
        self.names: set[bytes] = set()  # last names of the paths of all mounts but the root
        self.tops: set[bytes] = set()  # first names of them

    def add(self, under: Directory, name: bytes, fs: FileSystem, *, read_only: bool = False) -> Mount:
        """Mount in a directory, under a name that need not exist there."""
        path = under.child_path(name)
        mount = Mount(len(self._by_path) + 1, fs, path, under, read_only=read_only)
        self._by_path[path] = mount
        self.names.add(name)
        self.tops.add(path.split(b"/")[1])
        while path != b"/":
            self._on_the_way.add(path)
            path = path[: path.rfind(b"/")] or b"/"
        return mount

    def at(self, path: bytes) -> Mount | None:
        """The mount whose root has this guest path."""
        return self._by_path.get(path)

    def leads_to_mount(self, path: bytes) -> bool:
        """Whether a mount is at this guest path or below it."""
        return path in self._on_the_way

    def all(self) -> list[Mount]:
        """In the order of mounting."""
        return list(self._by_path.values())

    def below(self, path: bytes) -> list[tuple[bytes, Mount]]:
        """Names and mounts directly in the directory of that path."""
        prefix = path if path.endswith(b"/") else path + b"/"
        return [
            (name[len(prefix) :], mount)
            for name, mount in self._by_path.items()
            if len(name) > len(prefix) and name.startswith(prefix) and b"/" not in name[len(prefix) :]
        ]
