"""Where a descriptor that came from elsewhere belongs in the guest's tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.stat import S_IFDIR
from noah.fs.confine import ancestors
from noah.fs.hostfs import HostTree

if TYPE_CHECKING:
    from noah.vfs import handle
    from noah.vfs.mounts import MountTable


def tree_of(mounts: MountTable, fd: int, kind: int) -> handle.HostTree:
    """The innermost tree of host files that holds a host descriptor, so that a file keeps what its mount forbids; the
    anonymous one if no tree does, or none is known to."""
    files = mounts.anonymous.files
    trees = [mount.fs for mount in mounts.all() if isinstance(mount.fs, HostTree)]
    paths = {each: each.fd_path(fd) for each in {files, *(tree.files for tree in trees)}}  # a container has its own
    if paths[files] is not None:
        within = [tree for tree in trees if ((paths[tree.files] or b"") + b"/").startswith(tree.host_path + b"/")]
        return max(within, key=lambda tree: len(tree.host_path), default=mounts.anonymous)
    if kind == S_IFDIR:
        by_root = {files.fstat(tree.handle.number)[:2]: tree for tree in trees}  # as the host numbers them
        for identity in ancestors(files, fd):
            if identity in by_root:
                return by_root[identity]
    return mounts.anonymous
