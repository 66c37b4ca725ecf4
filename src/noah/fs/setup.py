"""The file systems of a box, put together before its first program starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from noah.abi.errno import EEXIST, ENOENT, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_PATH
from noah.abi.mount import TMPFS_MAGIC
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.fs import devicenumbers
from noah.fs.apart import ApartFiles
from noah.fs.devfs import DevTree
from noah.fs.hostfile import make_inherited
from noah.fs.hostfs import HostDirectory, HostTree
from noah.fs.mqueuefs import MqueueTree
from noah.fs.owned import are_owned
from noah.fs.procfs import ProcTree
from noah.fs.sysfs import SysTree
from noah.fs.terminals import TerminalFiles, Terminals
from noah.fs.virtual import EmptyTree
from noah.vfs.fdtable import FdTable
from noah.vfs.handle import Handle
from noah.vfs.mounts import FileSystem, MountTable
from noah.vfs.namespace import FsContext, Walk

if TYPE_CHECKING:
    from noah.fs.procview import ProcessView
    from noah.fs.volumes import Volumes
    from noah.host.api import Host
    from noah.vfs.place import Directory

_STANDARD: Final = 3

Bind = tuple[bytes, bytes, bool]
"""-v HOST:GUEST[:ro]: host path, absolute guest path, read-only."""

_MASKED: Final = (
    *(b"firmware", b"fs/bpf", b"fs/pstore", b"kernel/config", b"kernel/debug", b"kernel/security", b"kernel/tracing"),
    b"devices/virtual/powercap",
    b"fs/cgroup",
)
"""What is below /sys and shows more of the host than its hardware; container engines cover the same. The control groups
are the host's own: a runtime that finds none has all processors and all memory, as is true in a box."""


def make_mounts(
    host: Host,
    root: bytes = b"/",
    binds: Sequence[Bind] = (),
    view: Host | None = None,
    shared: Volumes | None = None,
) -> MountTable:
    """Mount `root`, what every Linux program expects on top of it, and the binds, for which mount points are made.

    view: the host as the files of `root` are seen, if that differs. shared: as those of the binds are, if they do.
    ENOENT, ENOTDIR, EACCES as open(2).
    """
    is_host_root = not root.strip(b"/")
    inside = host if view is None else view
    tree = HostTree(inside, root, trusted=is_host_root and not binds, confined=not is_host_root)
    tree.nodes_are_files = are_owned(inside.files)
    anonymous = HostTree(host, b"/")
    anonymous.detached = not is_host_root
    mounts = MountTable(tree, anonymous)
    fs = FsContext(mounts)
    top = mounts.root.root
    mounts.add(top, b"proc", ProcTree(host))
    if is_host_root:
        tree.hide(b"/proc")
        mounts.add(top, b"dev", HostTree(host, b"/dev"))
    else:
        terminals = Terminals(host)
        at_dev = host
        if are_owned(inside.files):
            terminals.owned = TerminalFiles(host, terminals, cast(Any, inside.files))
            at_dev = terminals.owned.host_with()
        nodes = HostTree(at_dev, b"/dev")
        nodes.terminals = anonymous.terminals = terminals
        dev = mounts.add(top, b"dev", DevTree(host, nodes)).root
        try:
            pts = HostTree(at_dev, b"/dev/pts")
            pts.terminals = terminals
            pts.type = pts.source = b"devpts"  # whatever the host calls it
            pts.options = b",nosuid,noexec"
            mounts.add(dev, b"pts", pts)
        except LinuxError:
            pass  # not on this host
        for fd in host.inherited[:_STANDARD]:
            terminals.keep(host.files.fstat(fd))
        _mount_shm(inside, mounts, tree, dev)
        mounts.add(dev, b"mqueue", MqueueTree(host))
        _mount_sys(host, mounts, fs)
    for host_path, guest_path, read_only in binds:
        seen = host if shared is None else shared.host_for(host_path)
        _bind(seen, fs, host_path, guest_path, read_only=read_only)
    return mounts


def _mount_shm(host: Host, mounts: MountTable, tree: HostTree, dev: Directory) -> None:
    """/dev/shm is the directory of that name in the root: the host's own has files of other programs.

    To the guest it is a tmpfs, as on any Linux: MariaDB takes a log on the same device for persistent memory.
    """
    at = mounts.root.root
    try:
        for name in (b"dev", b"shm"):
            try:
                at.place(name).mkdir(0o755)
            except LinuxError as error:
                if error.errno != EEXIST:
                    raise
            found = at.enter(name)
            if not isinstance(found, HostDirectory):
                return  # a link
            at = found
        try:
            at.place(b"").chmod(0o1777)
        except LinuxError:
            pass  # somebody else's directory
    except LinuxError:
        return  # a root that may not be written to and has no such directory
    apart = ApartFiles(host, devicenumbers.SHM, TMPFS_MAGIC).host_with()
    mounts.add(dev, b"shm", HostTree(apart, tree.host_path + b"/dev/shm", confined=True))


def _mount_sys(host: Host, mounts: MountTable, fs: FsContext) -> None:
    top = mounts.root.root
    try:
        if not host.caps.proc:
            raise LinuxError(ENOENT)
        top = mounts.add(top, b"sys", HostTree(host, b"/sys", confined=True), read_only=True).root
    except LinuxError:  # not on this host
        mounts.add(top, b"sys", SysTree(host), read_only=True)
        return
    for path in _MASKED:
        head, _, name = path.rpartition(b"/")
        try:
            under = Walk(fs, top, 0).resolve(head or b".", follow=True).directory()
            if under.place(name).stat().mode & S_IFMT == S_IFDIR:
                mounts.add(under, name, EmptyTree(host), read_only=True)
        except LinuxError:
            continue  # not on this host


def _bind(host: Host, fs: FsContext, host_path: bytes, guest_path: bytes, *, read_only: bool) -> None:
    """Mount a host directory, or a single file of one."""
    under, name = _mount_point(fs, guest_path)
    if host.files.fstatat(AT_FDCWD, host_path).mode & S_IFMT == S_IFDIR:
        tree = HostTree(host, host_path, confined=fs.mounts.anonymous.detached)
        tree.nodes_are_files = are_owned(host.files)
        fs.mounts.add(under, name, tree, read_only=read_only)
        return
    host_path = _real_path(host, host_path)
    directory, _, file = host_path.rpartition(b"/")
    tree = HostTree(host, directory or (b"/" if host_path.startswith(b"/") else b"."))
    tree.names_are_fixed = True
    tree.nodes_are_files = are_owned(host.files)
    fs.mounts.add(under, name, tree, read_only=read_only).file = file


def _real_path(host: Host, path: bytes) -> bytes:
    """Without symbolic links, which would be looked for in the guest's tree; as it is where the host cannot tell."""
    handle = Handle(host.files, host.files.openat(AT_FDCWD, path, O_PATH))
    return host.files.fd_path(handle.number) or path


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
    queues = mounts.at(b"/dev/mqueue")
    if queues is not None and isinstance(queues.fs, MqueueTree):
        queues.fs.attach(process)


def make_fds(host: Host, mounts: MountTable, limit: int = 1024) -> FdTable:
    """What Noah was started with (Host.inherited) is the first program's, under the same numbers. A program with a root
    of its own gets the standard ones only, as in a container."""
    tree = mounts.anonymous
    count = _STANDARD if tree.detached else limit
    fds = FdTable(limit)
    for fd in host.inherited:
        if fd >= count:
            continue
        kind = host.files.fstat(fd).mode & S_IFMT
        fds.replace(fd, make_inherited(tree, Handle(tree.files, fd), host.files.get_flags(fd), kind))
    return fds
