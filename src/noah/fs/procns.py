"""/proc/PID/ns: the namespaces of a box, one of each kind (namespaces(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, ENOTTY, EPERM, LinuxError
from noah.abi.fcntl import DT_LNK, O_RDONLY
from noah.abi.ioctl import NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS
from noah.abi.mount import NSFS_MAGIC
from noah.abi.sched import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from noah.fs.virtual import DirNode, FileNode, LinkNode, VirtualDirectory, VirtualFile, VirtualPlace, VirtualTree
from noah.vfs.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.vfs.caller import Caller
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
_TYPES: Final = {
    b"cgroup": CLONE_NEWCGROUP,
    b"ipc": CLONE_NEWIPC,
    b"mnt": CLONE_NEWNS,
    b"net": CLONE_NEWNET,
    b"pid": CLONE_NEWPID,
    b"time": CLONE_NEWTIME,
    b"user": CLONE_NEWUSER,
    b"uts": CLONE_NEWUTS,
}
_IN_TREES: Final = (b"pid", b"user")
_DEVICE: Final = 4  # st_dev of nsfs: some small number on every Linux


class _NamespaceNode(FileNode):
    """What a link leads to."""

    __slots__ = ("kind",)

    def __init__(self, kind: bytes) -> None:
        super().__init__(bytes)
        self.kind = kind

    def open(self, tree: VirtualTree, place: VirtualPlace, flags: int) -> VirtualFile:
        return _NamespaceFile(tree, place, self, flags)


class _NamespaceFile(VirtualFile):
    """An open one (ioctl_ns(2)). All are owned by the one user namespace, which nobody may look out of."""

    __slots__ = ()

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        node = self.node
        assert isinstance(node, _NamespaceNode)
        if request == NS_GET_NSTYPE:
            return _TYPES[node.kind]
        if request == NS_GET_USERNS and node.kind != b"user":
            return caller.fds.install(self.tree.mount.root.place(b"user").open(caller, O_RDONLY, 0), cloexec=True)
        if request in (NS_GET_USERNS, NS_GET_PARENT) and (request == NS_GET_USERNS or node.kind in _IN_TREES):
            raise LinuxError(EPERM)
        if request == NS_GET_OWNER_UID and node.kind == b"user":
            caller.mem.write_u32(argument, 0)
            return 0
        raise LinuxError(EINVAL if request in (NS_GET_PARENT, NS_GET_OWNER_UID) else ENOTTY)


class Namespaces(VirtualTree):
    """The file system that the links lead to; it is mounted nowhere (fs/nsfs.c)."""

    __slots__ = ()

    def __init__(self, now: Callable[[], int]) -> None:
        root = DirNode(lambda kind: _NamespaceNode(kind) if kind in _INODES else None, lambda: ())
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
