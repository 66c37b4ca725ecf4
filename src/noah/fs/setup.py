"""The file systems of a box, put together before its first program starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from noah.abi.errno import LinuxError
from noah.abi.stat import S_IFMT
from noah.fs.handle import Handle
from noah.fs.hostfile import make_inherited
from noah.fs.hostfs import HostTree, anonymous
from noah.vfs.fdtable import FdTable
from noah.vfs.mounts import MountTable

if TYPE_CHECKING:
    from noah.host.api import Host

Bind = tuple[bytes, bytes, bool]
"""-v HOST:GUEST[:ro]: host path, guest path, read-only."""


def make_mounts(host: Host, root: bytes = b"/", binds: Iterable[Bind] = ()) -> MountTable:
    """Mount `root` and what every Linux program expects on top of it. ENOENT, ENOTDIR, EACCES as open(2)."""
    tree = HostTree(host, root, trusted=not root.strip(b"/"))
    return MountTable(tree, HostTree(host, b"/"))


def make_fds(host: Host, mounts: MountTable, limit: int = 1024) -> FdTable:
    """Descriptors 0, 1 and 2 of the host process are the first program's."""
    fds = FdTable(limit)
    tree = anonymous(mounts)
    for fd in range(3):
        try:
            kind = host.files.fstat(fd).mode & S_IFMT
        except LinuxError:
            continue
        fds.replace(fd, make_inherited(tree, Handle(host.files, fd), host.files.get_flags(fd), kind))
    return fds
