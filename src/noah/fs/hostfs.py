"""Files of a host directory tree: the root of a guest, and what is bound into it.

Two kinds of roots. A *trusted* one is the host's own `/`: its kernel may resolve whole paths, one host call for each of
the guest's. What it finds is checked for the device of the file systems that the guest must not see (the host's /proc);
then the path is walked. Any other root is always walked: see HostDirectory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi import mount as magic
from noah.abi.errno import EINVAL, ELOOP, ENOENT, ENOSYS, ENOTDIR, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_NO_SYMLINKS
from noah.fs.confine import ancestors
from noah.fs.hostplace import HostPlace
from noah.fs.lastname import last_name
from noah.fs.trusted import TrustedPlace
from noah.vfs.handle import Handle
from noah.vfs.place import Directory, Place, join

if TYPE_CHECKING:
    from noah.fs.terminals import Terminals
    from noah.host.api import Host
    from noah.vfs.mounts import Mount
    from noah.vfs.namespace import FsContext


_TYPES: Final = {
    magic.BTRFS_SUPER_MAGIC: b"btrfs",
    magic.EXT4_SUPER_MAGIC: b"ext4",
    magic.F2FS_SUPER_MAGIC: b"f2fs",
    magic.FUSE_SUPER_MAGIC: b"fuse",
    magic.NFS_SUPER_MAGIC: b"nfs4",
    magic.OVERLAYFS_SUPER_MAGIC: b"overlay",
    magic.SYSFS_MAGIC: b"sysfs",
    magic.DEVPTS_SUPER_MAGIC: b"devpts",
    magic.TMPFS_MAGIC: b"tmpfs",
    magic.V9FS_MAGIC: b"9p",
    magic.XFS_SUPER_MAGIC: b"xfs",
}
"""What /proc/mounts calls the file systems of hosts; any other is ext4 to the guest."""


_WITHOUT_DEVICE: Final = frozenset((b"devpts", b"overlay", b"sysfs", b"tmpfs"))
_OPTIONS: Final = {
    magic.ST_NOSUID: b",nosuid",
    magic.ST_NODEV: b",nodev",
    magic.ST_NOEXEC: b",noexec",
}
_LONG: Final = 4000
"""The host may put a few bytes of its own in front of a path: longer ones than this must be walked."""


class HostTree:
    """A host directory to be mounted, once."""

    __slots__ = (
        "confined",
        "detached",
        "files",
        "handle",
        "hidden",
        "host",
        "host_path",
        "leaps",
        "mount",
        "names_are_fixed",
        "nodes_are_files",
        "options",
        "source",
        "terminals",
        "trusted",
        "type",
    )

    def __init__(self, host: Host, path: bytes, *, trusted: bool = False, confined: bool = False) -> None:
        """ENOENT, ENOTDIR, EACCES as open(2)."""
        files = host.files
        self.host = host
        self.files = files
        self.handle = Handle(files, files.openat(AT_FDCWD, path, O_PATH | O_DIRECTORY))
        self.host_path = (files.fd_path(self.handle.number) or path).rstrip(b"/")
        self.trusted = trusted
        self.confined = confined
        """The guest has a root of its own: see noah.fs.confine."""
        self.detached = False
        """Its files come from outside of the box: there is no way from them to others."""
        self.terminals: Terminals | None = None
        """Set for device nodes of which the guest is to see its own."""
        self.nodes_are_files = False
        """Device nodes are none to the host: see noah.fs.owned."""
        self.names_are_fixed = False
        """Set for a directory of which the guest is given just one file."""
        self.hidden: frozenset[int] = frozenset()
        """Devices of host file systems that mounts of the guest cover."""
        self.leaps = host.caps.openat2
        statfs = files.fstatfs(self.handle.number)
        self.type = _TYPES.get(statfs.type, b"ext4")
        self.source = self.type if self.type in _WITHOUT_DEVICE else b"/dev/root"
        self.options = b"".join(text for flag, text in _OPTIONS.items() if statfs.flags & flag)
        self.mount: Mount  # set when it is mounted

    def root(self, mount: Mount) -> Directory:
        self.mount = mount
        return HostDirectory(self, self.handle, mount.path)

    def host_name(self, path: bytes) -> bytes:
        """Host path of a guest path in this mount."""
        return self.host_path + (path if self.mount.path == b"/" else path[len(self.mount.path) :])

    def identity(self) -> tuple[int, int]:
        """Device and inode of its root."""
        return self.files.fstat(self.handle.number)[:2]

    @property
    def filters(self) -> bool:
        """Whether there may be names that shows() keeps from the guest."""
        return self.terminals is not None

    def shows(self, handle: Handle, name: bytes) -> bool:
        """Whether a name is listed in that directory."""
        return self.terminals is None or self.terminals.shows(handle.number, name)

    def holds(self, handle: Handle) -> bool:
        """Whether a directory is in this tree now. One that was moved out of a bind while somebody was in it is not,
        and going up from there does not meet the tree's root (path_connected() of Linux)."""
        if self.detached:
            return False
        if not self.host_path:
            return True
        path = self.files.fd_path(handle.number)
        if path is None:
            return self.identity() in ancestors(self.files, handle.number)
        if path == self.host_path or path.startswith(self.host_path + b"/"):
            return True
        self.host_path = (self.files.fd_path(self.handle.number) or self.host_path).rstrip(b"/")  # the tree has moved
        return path == self.host_path or path.startswith(self.host_path + b"/")

    def hide(self, path: bytes) -> None:
        """A mount of the guest covers this host path, which is the root of a host file system."""
        try:
            device = self.files.fstatat(AT_FDCWD, path).dev
        except LinuxError:
            return
        if device != self.files.fstat(self.handle.number).dev:
            self.hidden |= {device}

    def place_of(self, handle: Handle, path: bytes) -> Place:
        """The file behind a descriptor."""
        return HostPlace(self, handle, path, b"")

    def directory_of(self, handle: Handle, path: bytes) -> Directory:
        return HostDirectory(self, handle, path, is_current=False)

    def guest_path(self, handle: Handle, path: bytes) -> bytes:
        """Guest path of an open file: where the host says it is now, else `path`, under which it was opened."""
        host_path = self.files.fd_path(handle.number)
        if host_path is None:
            return last_name(self, handle, path)
        if not host_path.startswith(b"/"):
            return host_path  # pipe:[1234]
        if not host_path.startswith(self.host_path + b"/"):
            return self.mount.path if host_path == self.host_path else path
        rest = host_path[len(self.host_path) :]
        return rest if self.mount.path == b"/" else self.mount.path + rest


class HostDirectory(Directory):
    """A directory held by a host descriptor."""

    __slots__ = ("_is_current", "handle", "tree")

    def __init__(self, tree: HostTree, handle: Handle, path: bytes, *, is_current: bool = True) -> None:
        """path: not what it is now, but what it was when somebody opened it, unless is_current."""
        super().__init__(tree.mount, path)
        self.tree = tree
        self.handle = handle
        self._is_current = is_current

    @property
    def path(self) -> bytes:
        # Asked for only by who needs it: the host may have to say it.
        if not self._is_current:
            self._path = self.tree.guest_path(self.handle, self._path)
            self._is_current = True
        return self._path

    refuses_links = True

    def shortcut(self, fs: FsContext, path: bytes, *, follow: bool) -> Place | None:
        tree = self.tree
        if not tree.trusted or fs.root is not self.mount.root or len(path) > _LONG:
            return None
        mounts = fs.mounts
        if path.startswith(b"/"):
            dirfd = AT_FDCWD
            covered = mounts.leads_to_mount(b"/" + path.lstrip(b"/").partition(b"/")[0])
        else:
            dirfd = self.handle.number
            covered = mounts.leads_to_mount(self.child_path(path.partition(b"/")[0]))
        if covered or (b".." in path and not mounts.tops.isdisjoint(path.split(b"/"))):
            return None
        return TrustedPlace(self, fs, path, dirfd, follow=follow)

    def leap(self, fs: FsContext, names: list[bytes], index: int) -> tuple[Directory, int] | None:
        """One openat2(2) for all names up to the last, a `..` or a mount point, if there is no link among them."""
        tree = self.tree
        stop = index
        mounts = fs.mounts
        last = len(names) - 1
        while stop < last and (name := names[stop]) != b"..":
            if name in mounts.names and mounts.at(self.child_path(b"/".join(names[index : stop + 1]))) is not None:
                break
            stop += 1
        if stop - index < 2 or not tree.leaps:
            return None
        path = b"/".join(names[index:stop])
        try:
            fd = tree.files.openat2_in_root(self.handle.number, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
        except LinuxError as error:
            if error.errno == ELOOP:
                return None
            if error.errno == ENOSYS:
                tree.leaps = False
                return None
            raise
        return self._below(fd, path), stop

    def enter(self, name: bytes) -> Directory | Place | bytes:
        files = self.tree.files
        try:
            fd = files.openat(self.handle.number, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
        except LinuxError as error:
            if error.errno not in (ENOTDIR, ELOOP):
                raise
            target = self.link(name)
            if target is None:
                raise LinuxError(ENOTDIR) from None
            return target
        return self._below(fd, name)

    def _below(self, fd: int, path: bytes) -> HostDirectory:
        tree = self.tree
        return HostDirectory(tree, Handle(tree.files, fd), join(self._path, path), is_current=self._is_current)

    def link(self, name: bytes) -> bytes | None:
        try:
            return self.tree.files.readlinkat(self.handle.number, name)
        except LinuxError as error:
            if error.errno in (EINVAL, ENOENT):
                return None
            raise

    def seen(self, name: bytes) -> Place | None:
        place = HostPlace(self.tree, self.handle, self._path, self._shown_name(name))
        return place if place.look() else None

    def up(self) -> Directory:
        files = self.tree.files
        handle = Handle(files, files.openat(self.handle.number, b"..", O_PATH | O_DIRECTORY))
        if not self.tree.holds(handle):
            raise LinuxError(ENOENT)
        path = self._path[: self._path.rfind(b"/")] or b"/"
        return HostDirectory(self.tree, handle, path, is_current=self._is_current)

    def is_same(self, other: Directory) -> bool:
        if self is other:
            return True
        if not isinstance(other, HostDirectory) or other.mount is not self.mount:
            return False
        files = self.tree.files
        return files.fstat(self.handle.number)[:2] == files.fstat(other.handle.number)[:2]

    def current_path(self, root: Directory) -> bytes:
        tree = self.tree
        status = tree.files.fstat(self.handle.number)
        if not status.nlink:
            raise LinuxError(ENOENT)
        path = tree.guest_path(self.handle, self._path)
        if root.path != b"/":
            if path != root.path and not path.startswith(root.path + b"/"):
                return b"(unreachable)" + path
            path = path[len(root.path) :] or b"/"
        return path

    def place(self, name: bytes, *, slash: bool = False) -> Place:
        return HostPlace(self.tree, self.handle, self._path, self._shown_name(name), slash=slash)

    def _shown_name(self, name: bytes) -> bytes:
        terminals = self.tree.terminals
        if terminals is not None and not terminals.shows(self.handle.number, name):
            return name + b" of the host"  # a name that is not there
        return name
