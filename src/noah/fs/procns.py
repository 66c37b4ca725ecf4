"""/proc/PID/ns: the namespaces of a box, one of each kind (namespaces(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import DT_LNK
from noah.abi.mount import NSFS_MAGIC
from noah.fs.virtual import DirNode, FileNode, LinkNode, VirtualDirectory, VirtualTree
from noah.vfs.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.vfs.place import Directory, Place

# include/linux/proc_ns.h: PROC_*_INIT_INO, for network and mounts what a kernel gives the first ones
_INODES: Final = {
    b"cgroup": 0xEFFFFFFB,
    b"ipc": 0xEFFFFFFF,
    b"mnt": 0xF0000001,
    b"net": 0xF0000000,
    b"pid": 0xEFFFFFFC,
    b"time": 0xEFFFFFFA,
    b"user": 0xEFFFFFFD,
    b"uts": 0xEFFFFFFE,
}
_LINKS: Final = {
    **{kind: kind for kind in _INODES},
    b"pid_for_children": b"pid",
    b"time_for_children": b"time",
}
_DEVICE: Final = 4  # st_dev of nsfs: some small number on every Linux


class Namespaces(VirtualTree):
    """The file system that the links lead to; it is mounted nowhere (fs/nsfs.c)."""

    __slots__ = ()

    def __init__(self, now: Callable[[], int]) -> None:
        root = DirNode(lambda kind: FileNode(bytes) if kind in _INODES else None, lambda: ())
        super().__init__(root, b"nsfs", NSFS_MAGIC, _DEVICE, now)
        Mount(0, self, b"", None, read_only=True)

    def root(self, mount: Mount) -> Directory:
        self.mount = mount
        return _NamespaceDirectory(self, self.root_node, b"", None)

    def ino(self, path: bytes) -> int:
        return _INODES[path.partition(b":")[0]]

    def directory(self, owner: tuple[int, int], check: Callable[[], None]) -> DirNode:
        """/proc/PID/ns of a process. check: raises LinuxError for who may not follow its links."""

        def child(name: bytes) -> LinkNode | None:
            kind = _LINKS.get(name)
            if kind is None:
                return None

            def text() -> bytes:
                check()
                return self.name(kind)

            def jump() -> Place:
                check()
                return self.mount.root.place(kind)

            return LinkNode(text, 0o777, owner, jump)

        return DirNode(child, lambda: [(name, DT_LNK) for name in _LINKS], 0o511, owner)

    def name(self, kind: bytes) -> bytes:
        return b"%s:[%d]" % (kind, _INODES[kind])


class _NamespaceDirectory(VirtualDirectory):
    __slots__ = ()

    def child_path(self, name: bytes) -> bytes:
        assert isinstance(self.tree, Namespaces)
        return self.tree.name(name)
