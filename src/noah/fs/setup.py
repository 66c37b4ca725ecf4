"""The file systems of a box, put together before its first program starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from noah.abi.errno import EEXIST, LinuxError
from noah.abi.fcntl import AT_FDCWD
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.fs.devfs import DevTree
from noah.fs.hostfile import make_inherited
from noah.fs.hostfs import HostTree
from noah.fs.procfs import ProcTree
from noah.vfs.fdtable import FdTable
from noah.vfs.handle import Handle
from noah.vfs.mounts import FileSystem, MountTable
from noah.vfs.namespace import FsContext, Walk

if TYPE_CHECKING:
    from noah.fs.procview import ProcessView
    from noah.host.api import Host
    from noah.vfs.place import Directory

Bind = tuple[bytes, bytes, bool]
"""-v HOST:GUEST[:ro]: host path, absolute guest path, read-only."""


def make_mounts(host: Host, root: bytes = b"/", binds: Sequence[Bind] = ()) -> MountTable:
    """Mount `root`, what every Linux program expects on top of it, and the binds, for which mount points are made.

    ENOENT, ENOTDIR, EACCES as open(2).
    """
    is_host_root = not root.strip(b"/")
    tree = HostTree(host, root, trusted=is_host_root and not binds)
    mounts = MountTable(tree, HostTree(host, b"/"))
    fs = FsContext(mounts)
    top = mounts.root.root
    mounts.add(top, b"proc", ProcTree(host))
    if is_host_root:
        tree.hide(b"/proc")
        mounts.add(top, b"dev", HostTree(host, b"/dev"))
    else:
        dev = mounts.add(top, b"dev", DevTree(host, HostTree(host, b"/dev"))).root
        for under, name, path, read_only in (
            (dev, b"pts", b"/dev/pts", False),
            (dev, b"shm", b"/dev/shm", False),
            (top, b"sys", b"/sys", True),
        ):
            try:
                mounts.add(under, name, HostTree(host, path), read_only=read_only)
            except LinuxError:
                continue  # not on this host
    for host_path, guest_path, read_only in binds:
        _bind(host, fs, host_path, guest_path, read_only=read_only)
    return mounts


def _bind(host: Host, fs: FsContext, host_path: bytes, guest_path: bytes, *, read_only: bool) -> None:
    """Mount a host directory, or a single file of one."""
    under, name = _mount_point(fs, guest_path)
    if host.files.fstatat(AT_FDCWD, host_path).mode & S_IFMT == S_IFDIR:
        fs.mounts.add(under, name, HostTree(host, host_path), read_only=read_only)
        return
    directory, _, file = host_path.rpartition(b"/")
    tree = HostTree(host, directory or (b"/" if host_path.startswith(b"/") else b"."))
    tree.names_are_fixed = True
    fs.mounts.add(under, name, tree, read_only=read_only).file = file


def _mount_point(fs: FsContext, path: bytes) -> tuple[Directory, bytes]:
    """The directory that a mount point is in, made if it is not there, and the name."""
    at: Directory = fs.root
    names = [name for name in path.split(b"/") if name]
    for name in names[:-1]:
        try:
            at.place(name).mkdir(0o755)
        except LinuxError as error:
            if error.errno != EEXIST:
                raise
        at = Walk(fs, at, 0).resolve(name, follow=True).directory()
    return at, names[-1]


def attach_process(mounts: MountTable, process: ProcessView, release: bytes, version: bytes) -> None:
    """Let /proc show the process that this host process is; release and version are uname(2)'s."""
    proc = mounts.at(b"/proc")
    tree: FileSystem | None = proc.fs if proc is not None else None
    if isinstance(tree, ProcTree):
        tree.attach(process, release, version)


def make_fds(host: Host, mounts: MountTable, limit: int = 1024) -> FdTable:
    """What Noah was started with (Host.inherited) is the first program's, under the same numbers."""
    fds = FdTable(limit)
    tree = mounts.anonymous
    for fd in host.inherited:
        if fd >= limit:
            continue
        kind = host.files.fstat(fd).mode & S_IFMT
        fds.replace(fd, make_inherited(tree, Handle(host.files, fd), host.files.get_flags(fd), kind))
    return fds
