"""File systems whose files are made when they are looked at: nodes, and the walk and open files over them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from noah.abi.capability import CAP_DAC_OVERRIDE
from noah.abi.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    EPERM,
    EROFS,
    EXDEV,
    LinuxError,
)
from noah.abi.fcntl import (
    AT_REMOVEDIR,
    DT_DIR,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    R_OK,
    SETFL_MASK,
    W_OK,
    X_OK,
)
from noah.abi.mount import ST_NODEV, ST_NOEXEC, ST_NOSUID, ST_VALID, TMPFS_MAGIC
from noah.abi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from noah.abi.time import CLOCK_REALTIME
from noah.fs import devicenumbers
from noah.host.values import Stat, Statfs
from noah.vfs.file import OpenFile, Views, sought
from noah.vfs.place import Directory, Place

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.vfs.caller import Caller
    from noah.vfs.mounts import Mount

_PAGE = 4096
_INO_MASK = (1 << 48) - 1
_FLAGS = {b",nosuid": ST_NOSUID, b",nodev": ST_NODEV, b",noexec": ST_NOEXEC}


class Node:
    """A file of a virtual file system. mode: with its type."""

    __slots__ = ("gid", "mode", "uid")

    size = 0

    def __init__(self, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
        self.mode = mode
        self.uid, self.gid = owner


class FileNode(Node):
    """A regular file; `content` is asked for whenever reading starts anew, `write` gets what one write(2) wrote.

    guard: raises LinuxError for who may not open it, whatever its mode. read_only: nobody may open it to write.
    """

    __slots__ = ("content", "guard", "read_only", "write")

    def __init__(
        self,
        content: Callable[[], bytes],
        mode: int = 0o444,
        owner: tuple[int, int] = (0, 0),
        write: Callable[[bytes], None] | None = None,
        *,
        guard: Callable[[], None] | None = None,
        read_only: bool = False,
    ) -> None:
        super().__init__(S_IFREG | mode, owner)
        self.content = content
        self.write = write
        self.guard = guard
        self.read_only = read_only

    def open(self, tree: VirtualTree, place: VirtualPlace, flags: int) -> VirtualFile:
        return VirtualFile(tree, place, self, flags)


class LinkNode(Node):
    """A symbolic link. With `jump` it leads there, whatever its text says (proc(5))."""

    __slots__ = ("jump", "target")

    def __init__(
        self,
        target: Callable[[], bytes],
        mode: int = 0o777,
        owner: tuple[int, int] = (0, 0),
        jump: Callable[[], Place] | None = None,
    ) -> None:
        super().__init__(S_IFLNK | mode, owner)
        self.target = target
        self.jump = jump


class FdNode(LinkNode):
    """A descriptor in /proc/PID/fd."""

    __slots__ = ()

    size = 64  # proc_fd_link()


class DirNode(Node):
    """A directory. `children` are asked for by name; `names` lists them with their DT_* types."""

    __slots__ = ("children", "names")

    def __init__(
        self,
        children: Callable[[bytes], Node | None],
        names: Callable[[], Sequence[tuple[bytes, int]]],
        mode: int = 0o555,
        owner: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(S_IFDIR | mode, owner)
        self.children = children
        self.names = names

    def lookup(self, name: bytes) -> Node:
        node = self.children(name)
        if node is None:
            raise LinuxError(ENOENT)
        return node


class VirtualTree:
    """A file system of nodes, to be mounted once."""

    __slots__ = ("device", "magic", "mount", "now", "root_node", "source", "type")

    options = b",nosuid,nodev,noexec"

    def __init__(self, root: DirNode, type: bytes, magic: int, device: int, now: Callable[[], int]) -> None:
        """device: st_dev; now: the clock for file times, in ns."""
        self.root_node = root
        self.type = type
        self.source = type
        self.magic = magic
        self.device = device
        self.now = now
        self.mount: Mount

    def root(self, mount: Mount) -> Directory:
        self.mount = mount
        return VirtualDirectory(self, self.root_node, mount.path, None)

    def ino(self, path: bytes) -> int:
        """Inode number by guest path; the root's is 1. Hashes are the same in all processes of one start of Noah."""
        return 1 if path == self.mount.path else hash(path) & _INO_MASK | 2

    def stat(self, node: Node, path: bytes) -> Stat:
        links = 2 if node.mode & S_IFMT == S_IFDIR else 1
        now = self.now()
        ids = node.mode, links, node.uid, node.gid
        return Stat(self.device, self.ino(path), *ids, 0, node.size, 1024, 0, now, now, now)


class EmptyTree(VirtualTree):
    """An empty directory that covers what the guest must not see."""

    __slots__ = ()

    def __init__(self, host: Host) -> None:
        clock = host.clock
        root = DirNode(lambda _: None, lambda: ())
        super().__init__(root, b"tmpfs", TMPFS_MAGIC, devicenumbers.EMPTY, lambda: clock.clock_gettime(CLOCK_REALTIME))


class VirtualDirectory(Directory):
    """A directory of nodes on the way of a walk."""

    __slots__ = ("node", "parent", "tree")

    def __init__(self, tree: VirtualTree, node: DirNode, path: bytes, parent: VirtualDirectory | None) -> None:
        super().__init__(tree.mount, path)
        self.tree = tree
        self.node = node
        self.parent = parent

    def enter(self, name: bytes) -> Directory | Place | bytes:
        node = self.node.lookup(name)
        if isinstance(node, DirNode):
            return VirtualDirectory(self.tree, node, self.child_path(name), self)
        if isinstance(node, LinkNode):
            return node.jump() if node.jump is not None else node.target()
        raise LinuxError(ENOTDIR)

    def link(self, name: bytes) -> Place | bytes | None:
        node = self.node.children(name)
        if isinstance(node, LinkNode):
            return node.jump() if node.jump is not None else node.target()
        return None

    def up(self) -> Directory:
        assert self.parent is not None  # the walk does not go up from a mount's root
        return self.parent

    def is_same(self, other: Directory) -> bool:
        return self.path == other.path and self.mount is other.mount

    def place(self, name: bytes, *, slash: bool = False) -> Place:
        return VirtualPlace(self, name, slash=slash)


class VirtualPlace(Place):
    """A name in a directory of nodes; b"" is the directory itself."""

    __slots__ = ("_at", "_name", "_slash")

    def __init__(self, at: VirtualDirectory, name: bytes, *, slash: bool = False) -> None:
        super().__init__(at.mount)
        self._at = at
        self._name = name
        self._slash = slash

    def _node(self) -> Node:
        return self._at.node.lookup(self._name) if self._name not in (b"", b".") else self._at.node

    @property
    def path(self) -> bytes:
        return self._at.child_path(self._name) if self._name else self._at.path

    def open(self, caller: Caller, flags: int, mode: int) -> OpenFile:
        node = self._node()  # ENOENT with O_CREAT, too: as in Linux' /proc nothing can be made
        if flags & O_CREAT and flags & O_EXCL:
            raise LinuxError(EEXIST)
        tree = self._at.tree
        if flags & O_PATH:
            return VirtualFile(tree, self, node, flags)
        if isinstance(node, LinkNode):
            raise LinuxError(ENOTDIR if flags & O_DIRECTORY else ELOOP)
        if isinstance(node, DirNode):
            if flags & O_TMPFILE == O_TMPFILE:
                raise LinuxError(EACCES)
            if flags & O_ACCMODE != O_RDONLY or flags & O_CREAT:
                raise LinuxError(EISDIR)
            self._check(caller, node, R_OK)
            return VirtualDirectoryFile(tree, self, node, flags)
        if flags & O_DIRECTORY:
            raise LinuxError(ENOTDIR)
        assert isinstance(node, FileNode)
        wanted = (R_OK, W_OK, R_OK | W_OK, R_OK | W_OK)[flags & O_ACCMODE]
        self._check(caller, node, wanted)
        if wanted & W_OK and (node.read_only or self.mount.read_only):
            raise LinuxError(EROFS)
        if node.guard is not None:
            node.guard()
        return node.open(tree, self, flags & ~(O_CREAT | O_NOFOLLOW))

    def _check(self, caller: Caller, node: Node, wanted: int) -> None:
        """Permission, as the guest's own credentials have it."""
        creds = caller.creds
        if creds.capable(CAP_DAC_OVERRIDE):
            if wanted & X_OK and not node.mode & 0o111:
                raise LinuxError(EACCES)
            return
        shift = 6 if creds.fsuid == node.uid else 3 if creds.in_group(node.gid) else 0
        if wanted & ~(node.mode >> shift & 7):
            raise LinuxError(EACCES)

    def directory(self) -> Directory:
        node = self._node()
        if not isinstance(node, DirNode):
            raise LinuxError(ENOTDIR)
        if node is self._at.node:
            return self._at
        return VirtualDirectory(self._at.tree, node, self.path, self._at)

    def stat(self) -> Stat:
        return self._at.tree.stat(self._node(), self.path)

    def statfs(self) -> Statfs:
        self._node()
        flags = ST_VALID | sum(flag for word, flag in _FLAGS.items() if word in self._at.tree.options)
        return Statfs(self._at.tree.magic, _PAGE, 0, 0, 0, 0, 0, 0, 255, _PAGE, flags)

    def access(self, caller: Caller, mode: int, flags: int) -> None:
        self._check(caller, self._node(), mode)

    def readlink(self) -> bytes:
        node = self._node()
        if not isinstance(node, LinkNode):
            raise LinuxError(EINVAL)
        return node.target()

    def mknod(self, mode: int, dev: int, umask: int = 0) -> None:
        raise LinuxError(self._exists_or(ENOENT))

    def symlink(self, target: bytes) -> None:
        raise LinuxError(self._exists_or(ENOENT))

    def rename_to(self, new: Place, flags: int) -> None:
        self.stat()
        if new.mount is not self.mount:
            raise LinuxError(EXDEV)
        new.stat()
        raise LinuxError(EPERM)

    def unlink(self, flags: int) -> None:
        node = self._node()
        if not self._name:
            raise LinuxError(EBUSY if flags & AT_REMOVEDIR else EISDIR)
        if flags & AT_REMOVEDIR and not isinstance(node, DirNode):
            raise LinuxError(ENOTDIR)
        raise LinuxError(EPERM)


class Records(bytes):
    """Content of records. A long read takes whole ones, a page of them at most (seq_read_iter() in fs/seq_file.c).

    There are programs that read on only after a read that filled their page.
    """

    ends: list[int]

    @classmethod
    def of(cls, records: Iterable[bytes]) -> Records:
        """All of them together."""
        records = list(records)
        joined = cls(b"".join(records))
        joined.ends = list(accumulate(map(len, records)))
        return joined

    def length_of_read(self, position: int, size: int) -> int:
        """How much of `size` bytes a read from `position` gives."""
        if size < _PAGE:
            return size
        at = bisect_right(self.ends, position + _PAGE)
        whole = self.ends[at - 1] - position if at else 0
        return whole if whole > 0 else size


def _first(views: Views, length: int) -> list[memoryview]:
    """The first bytes of some views."""
    found = []
    for view in views:
        found.append(view[:length])
        length -= len(found[-1])
    return found


class VirtualFile(OpenFile):
    """An open node; by itself a regular file, or whatever was opened with O_PATH."""

    __slots__ = ("_content", "_place", "_position", "node", "tree")

    has_positions = True

    def __init__(self, tree: VirtualTree, place: VirtualPlace, node: Node, flags: int) -> None:
        super().__init__(flags)
        self.tree = tree
        self.node = node
        self._place = place
        self._content: bytes | None = None
        self._position = 0

    @property
    def path(self) -> bytes:
        return self._place.path

    def stat(self) -> Stat:
        return self.tree.stat(self.node, self.path)

    def place(self) -> Place:
        return self._place

    def directory(self) -> Directory:
        return self._place.directory()

    def _data(self) -> bytes:
        content = self._content
        if content is None:
            node = self.node
            if not isinstance(node, FileNode):
                raise LinuxError(EINVAL)
            content = self._content = node.content()
        return content

    def read(self, caller: Caller, views: Views) -> int:
        if not self._position:
            self._content = None  # as seq_file: from the start, it is looked at anew
        content = self._data() if isinstance(self.node, FileNode) else b""
        if isinstance(content, Records):
            views = _first(views, content.length_of_read(self._position, sum(map(len, views))))
        done = self.pread(caller, views, self._position)
        self._position += done
        return done

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_readable()
        data = self._data()
        done = 0
        for view in views:
            piece = data[offset + done : offset + done + len(view)]
            view[: len(piece)] = piece
            done += len(piece)
            if len(piece) < len(view):
                break
        return done

    def write(self, caller: Caller, views: Views) -> int:
        self.check_writable()
        node = self.node
        if not isinstance(node, FileNode) or node.write is None:
            raise LinuxError(EIO)
        data = b"".join(views)[:_PAGE]
        node.write(data)
        self._position += len(data)
        self._content = None
        return len(data)

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        return self.write(caller, views)

    def seek(self, offset: int, whence: int) -> int:
        self._position = sought(offset, whence, self._position, 0)  # the size is 0, as stat(2) says
        return self._position

    def truncate(self, length: int) -> None:
        if self.flags & O_ACCMODE == O_RDONLY:
            raise LinuxError(EINVAL)

    def set_flags(self, flags: int) -> None:
        self.flags = self.flags & ~SETFL_MASK | flags


class VirtualDirectoryFile(VirtualFile):
    """An open directory of nodes."""

    __slots__ = ("_entries",)

    def __init__(self, tree: VirtualTree, place: VirtualPlace, node: DirNode, flags: int) -> None:
        super().__init__(tree, place, node, flags)
        self._entries: list[tuple[bytes, int, int]] | None = None

    def read(self, caller: Caller, views: Views) -> int:
        raise LinuxError(EISDIR)

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        raise LinuxError(EISDIR)

    def entries(self, caller: Caller, limit: int) -> Sequence[tuple[bytes, int, int, int]]:
        if self._entries is None or not self._position:
            node = self.node
            assert isinstance(node, DirNode)
            path, ino = self.path, self.tree.ino
            above = path[: path.rfind(b"/")] if path != self.tree.mount.path else path
            prefix = path.rstrip(b"/") + b"/"
            dots = [(b".", ino(path), DT_DIR), (b"..", ino(above), DT_DIR)]
            self._entries = [*dots, *((name, ino(prefix + name), kind) for name, kind in node.names())]
        start = self._position
        found = self._entries[start : start + limit]
        return [(name, inode, kind, start + 1 + index) for index, (name, inode, kind) in enumerate(found)]
