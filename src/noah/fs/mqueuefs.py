"""/dev/mqueue (mq_overview(7)): the POSIX message queues of the box, to be listed, read and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENOENT, ENOTDIR, LinuxError
from noah.abi.fcntl import AT_REMOVEDIR, DT_REG
from noah.abi.mount import MQUEUE_MAGIC
from noah.abi.time import CLOCK_REALTIME
from noah.fs import devicenumbers
from noah.fs.virtual import DirNode, FileNode, Node, VirtualDirectory, VirtualPlace, VirtualTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noah.fs.procview import ProcessView
    from noah.host.api import Host
    from noah.vfs.mounts import Mount
    from noah.vfs.place import Directory, Place

_SIZE: Final = 80  # FILENT_SIZE


class QueueNode(FileNode):
    """A queue."""

    __slots__ = ()

    size = _SIZE


class MqueueTree(VirtualTree):
    """The file system. It is empty until attach() says which process looks at it."""

    __slots__ = ("process",)

    def __init__(self, host: Host) -> None:
        clock = host.clock
        root = DirNode(self._child, self._names, 0o1777)
        super().__init__(
            root, b"mqueue", MQUEUE_MAGIC, devicenumbers.MQUEUE, lambda: clock.clock_gettime(CLOCK_REALTIME)
        )
        self.process: ProcessView | None = None

    def attach(self, process: ProcessView) -> None:
        self.process = process

    def root(self, mount: Mount) -> Directory:
        self.mount = mount
        return MqueueDirectory(self, self.root_node, mount.path, None)

    def _child(self, name: bytes) -> Node | None:
        found = self.process.mqueues() if self.process is not None else ()
        queue = next((each for each in found if each.name == name), None)
        if queue is None:
            return None
        return QueueNode(lambda: self._content(name), queue.mode, queue.owner)

    def _content(self, name: bytes) -> bytes:
        found = self.process.mqueues() if self.process is not None else ()
        for each in found:
            if each.name == name:
                return each.content
        raise LinuxError(ENOENT)

    def _names(self) -> Sequence[tuple[bytes, int]]:
        found = self.process.mqueues() if self.process is not None else ()
        return [(each.name, DT_REG) for each in found]


class MqueueDirectory(VirtualDirectory):
    """Its root."""

    __slots__ = ()

    def place(self, name: bytes, *, slash: bool = False) -> Place:
        return QueuePlace(self, name, slash=slash)


class QueuePlace(VirtualPlace):
    """A name there: unlink(2) is mq_unlink(3)."""

    __slots__ = ()

    def unlink(self, flags: int) -> None:
        tree = self._at.tree
        assert isinstance(tree, MqueueTree)
        if not self._name or tree.process is None:
            super().unlink(flags)
        elif flags & AT_REMOVEDIR:
            self._node()
            raise LinuxError(ENOTDIR)
        else:
            tree.process.mq_unlink(self._name)
