"""/dev for a root that is not the host's: the devices that every Linux has, served by the host's own nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW, DT_CHR, DT_DIR, DT_LNK
from noah.abi.mount import TMPFS_MAGIC
from noah.abi.stat import S_IFLNK, S_IFMT
from noah.abi.time import CLOCK_REALTIME
from noah.fs import devicenumbers
from noah.fs.virtual import DirNode, LinkNode, Node, VirtualDirectory, VirtualTree
from noah.vfs.mounts import Mount

if TYPE_CHECKING:
    from noah.fs.hostfs import HostTree
    from noah.host.api import Host
    from noah.vfs.place import Directory, Place

NODES: Final = (b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"ptmx")
LINKS: Final = {
    b"fd": b"/proc/self/fd",
    b"stdin": b"/proc/self/fd/0",
    b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
}
_MOUNT_POINTS: Final = (b"pts", b"shm", b"mqueue")


class DevTree(VirtualTree):
    """Links and mount points are its own; device nodes are places on the host."""

    __slots__ = ("_links", "_nodes", "host_dev", "host_nodes")

    options = b",nosuid"

    def __init__(self, host: Host, host_dev: HostTree) -> None:
        """host_dev: the host's /dev."""
        clock = host.clock
        root = DirNode(self._child, self._names, 0o755)
        super().__init__(root, b"devtmpfs", TMPFS_MAGIC, devicenumbers.DEV, lambda: clock.clock_gettime(CLOCK_REALTIME))
        self.host_dev = host_dev
        self._nodes = []
        self._links = dict(LINKS)
        for name in NODES:
            try:
                mode = host.files.fstatat(AT_FDCWD, b"/dev/" + name, AT_SYMLINK_NOFOLLOW).mode
                if mode & S_IFMT == S_IFLNK:  # ptmx -> pts/ptmx
                    self._links[name] = host.files.readlinkat(AT_FDCWD, b"/dev/" + name)
                else:
                    self._nodes.append(name)
            except LinuxError:
                continue

    def root(self, mount: Mount) -> Directory:
        self.mount = mount
        # The nodes are the host's own: a guest may use them, not change, move or remove them.
        self.host_nodes = Mount(mount.id, self.host_dev, mount.path, mount.under, read_only=True)
        return DevDirectory(self, self.root_node, mount.path, None)

    def is_device(self, name: bytes) -> bool:
        return name in self._nodes

    def _child(self, name: bytes) -> Node | None:
        target = self._links.get(name)
        if target is not None:
            return LinkNode(lambda: target)
        if name in _MOUNT_POINTS:
            return DirNode(lambda _: None, lambda: (), 0o755)
        return None

    def _names(self) -> Sequence[tuple[bytes, int]]:
        return [
            *((name, DT_CHR) for name in self._nodes),
            *((name, DT_LNK) for name in self._links),
            *((name, DT_DIR) for name in _MOUNT_POINTS),
        ]


class DevDirectory(VirtualDirectory):
    """/dev itself."""

    __slots__ = ()

    def place(self, name: bytes, *, slash: bool = False) -> Place:
        tree = self.tree
        assert isinstance(tree, DevTree)
        if tree.is_device(name):
            return tree.host_nodes.root.place(name, slash=slash)
        return super().place(name, slash=slash)
