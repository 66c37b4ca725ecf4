"""Files of a host directory tree: the root of a guest, and what is bound into it.

Two kinds of roots. A *trusted* one is the host's own `/`: its kernel may resolve whole paths, one host call for each of
the guest's. What it finds is checked for the device of the file systems that the guest must not see (the host's /proc);
then the path is walked. Any other root is always walked: see HostDirectory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi import mount as magic
from noah.abi.errno import (
    EADDRINUSE,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    EPERM,
    EROFS,
    EXDEV,
    LinuxError,
)
from noah.abi.fcntl import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    RENAME_EXCHANGE,
    RESOLVE_NO_SYMLINKS,
    W_OK,
    X_OK,
)
from noah.abi.socket import UNIX_PATH_MAX
from noah.abi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from noah.fs.confine import ancestors, check_access, check_change, check_device, check_new_device
from noah.fs.hostfile import make_file, make_inherited, open_host
from noah.fs.lastname import last_name, locate
from noah.fs.pathfile import NamedFile
from noah.vfs.handle import Handle, HostFile
from noah.vfs.namespace import Walk
from noah.vfs.place import Directory, Place, Times, join

if TYPE_CHECKING:
    from noah.fs.terminals import Terminals
    from noah.host.api import Host
    from noah.host.values import Stat, Statfs, Statx
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile
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


class HostPlace(Place):
    """A name in a host directory, never followed if it is a link; b"" is the descriptor's own file."""

    __slots__ = ("_base", "_dirfd", "_flags", "_handle", "_name", "_seen", "_slash", "_tree")

    def __init__(self, tree: HostTree, handle: Handle, base: bytes, name: bytes, *, slash: bool = False) -> None:
        self.mount = tree.mount
        self._tree = tree
        self._handle = handle  # keeps the descriptor open
        self._dirfd = handle.number
        self._base = base
        self._name = name
        self._flags = AT_SYMLINK_NOFOLLOW if name else AT_EMPTY_PATH
        self._slash = slash  # the path asked for a directory
        self._seen: Stat | int = 0  # its status, or the error of asking for it, to be told once

    @property
    def path(self) -> bytes:
        return join(self._base, self._name) if self._name else self._base

    def sibling(self, name: bytes) -> Place | None:
        if not self._name or self._tree.filters:
            return None
        return HostPlace(self._tree, self._handle, self._base, name)

    # Looking

    def open(self, caller: Caller, flags: int, mode: int) -> OpenFile:
        if flags & O_PATH and not self._tree.host.caps.o_path:
            return self._open_path(flags)
        if self.mount.read_only and not flags & O_PATH:
            flags = self._read_only(flags)
        if flags & O_TRUNC:
            self._check_idle(caller)
        if self._tree.detached and not self._name and not flags & O_PATH:
            check_access(self._tree.files, self._dirfd, flags)
        if self._name:
            nofollow = O_NOFOLLOW if self._flags & AT_SYMLINK_NOFOLLOW else 0
            fd = open_host(caller, self._tree.files, self._dirfd, self._name, flags | nofollow, mode)
        elif flags & (O_CREAT | O_TMPFILE) == O_CREAT:  # a descriptor's link in /proc: it exists, whatever it is
            if self.stat().mode & S_IFMT == S_IFDIR:
                raise LinuxError(EISDIR)
            fd = self._reopen(caller, flags & ~O_CREAT)
        elif flags & O_TMPFILE == O_TMPFILE:
            fd = open_host(caller, self._tree.files, self._dirfd, b".", flags, mode)
        else:
            fd = self._reopen(caller, flags)
        handle = Handle(self._tree.files, fd)
        stat = self._tree.files.fstat(fd)
        self._check(stat)
        if not flags & O_PATH:
            if self._tree.terminals is not None:
                self._tree.terminals.opened(fd)
            if self._tree.confined:
                check_device(stat)
            if flags & O_ACCMODE != O_RDONLY:
                caller.check_not_running(stat)
        kind = stat.mode & S_IFMT
        if not self._name and not self._tree.host.caps.proc_fd and kind != S_IFDIR and self._located() is None:
            return make_inherited(self._tree, handle, flags, kind, self._base)  # the same description: see Files.reopen
        return make_file(caller, self._tree, handle, self.path, flags, stat)

    def _reopen(self, caller: Caller, flags: int) -> int:
        tree = self._tree
        if (found := self._located()) is not None:
            return open_host(caller, tree.files, found[0].number, found[1], flags | O_NOFOLLOW, 0)
        return tree.files.reopen(self._dirfd, flags & ~O_NOFOLLOW | O_NONBLOCK)

    def _located(self) -> tuple[Handle, bytes] | None:
        """Where to open an open file again, if its name is the only way."""
        if self._name or self._tree.host.caps.proc_fd or not self._base.startswith(b"/"):
            return None
        return locate(self._tree, self._handle, self._base)

    def _open_path(self, flags: int) -> OpenFile:
        """O_PATH on a host without it."""
        files = self._tree.files
        stat = self.stat()
        kind = stat.mode & S_IFMT
        kept = flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW)
        if kind == S_IFDIR:
            return HostFile(self._tree, self._enter(), self.path, kept)
        if self._slash or flags & O_DIRECTORY:
            raise LinuxError(ENOTDIR)
        if not self._name:
            return HostFile(self._tree, self._handle, self._base, kept)
        if kind == S_IFREG:
            try:
                handle = Handle(files, files.openat(self._dirfd, self._name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
                return HostFile(self._tree, handle, self.path, kept)
            except LinuxError:
                pass  # it may not be read
        return NamedFile(self, stat, kept)

    def _check_idle(self, caller: Caller) -> None:
        """Before the host throws the contents away: see Caller.check_not_running()."""
        try:
            stat = self.stat()
        except LinuxError:
            return  # the open itself says why
        caller.check_not_running(stat)

    def _read_only(self, flags: int) -> int:
        """What a read-only mount leaves of open flags, or EROFS."""
        try:
            kind = self.stat().mode & S_IFMT
        except LinuxError:
            if flags & O_CREAT:
                raise LinuxError(EROFS) from None
            raise
        if flags & O_CREAT and flags & O_EXCL:
            raise LinuxError(EEXIST)
        if flags & O_TMPFILE == O_TMPFILE:
            raise LinuxError(EROFS)
        if flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC:
            if kind == S_IFDIR:
                raise LinuxError(EISDIR)
            if kind == S_IFREG:
                raise LinuxError(EROFS)
        return flags & ~(O_CREAT | O_EXCL)

    def _check(self, stat: Stat) -> None:
        """Whether this may be what the path leads to; HiddenFileError if it must be walked."""

    def directory(self) -> Directory:
        tree = self._tree
        if not self._name:
            if self.stat().mode & S_IFMT != S_IFDIR:
                raise LinuxError(ENOTDIR)
            return HostDirectory(tree, self._handle, self.path, is_current=False)
        handle = self._enter()
        return HostDirectory(tree, handle, self.path, is_current=False)

    def _enter(self) -> Handle:
        """A handle of the directory that this is."""
        if not self._name:
            return self._handle
        files = self._tree.files
        nofollow = O_NOFOLLOW if self._flags & AT_SYMLINK_NOFOLLOW else 0
        handle = Handle(files, files.openat(self._dirfd, self._name, O_PATH | O_DIRECTORY | nofollow))
        self._check(files.fstat(handle.number))
        return handle

    def stat(self) -> Stat:
        if self._seen:
            seen, self._seen = self._seen, 0
            if isinstance(seen, int):
                raise LinuxError(seen)
            return seen
        stat = self._tree.files.fstatat(self._dirfd, self._name, self._flags)
        self._check(stat)
        return stat

    def look(self) -> bool:
        """Take its status down: False for a symbolic link, or if there is another error than ENOENT."""
        try:
            self._seen = stat = self.stat()
        except LinuxError as error:
            self._seen = error.errno
            return error.errno == ENOENT
        return stat.mode & S_IFMT != S_IFLNK

    def statx(self, flags: int, mask: int) -> tuple[Stat, Statx | None]:
        return self.stat(), self._tree.files.statx(self._dirfd, self._name, self._flags | flags, mask)

    def statfs(self) -> Statfs:
        files = self._tree.files
        if not self._name:
            return files.fstatfs(self._dirfd)
        if not self._tree.host.caps.o_path and self.stat().mode & S_IFMT != S_IFDIR:
            return files.fstatfs(self._dirfd)  # opening a device or a FIFO would not be without effect
        nofollow = O_NOFOLLOW if self._flags & AT_SYMLINK_NOFOLLOW else 0
        handle = Handle(files, files.openat(self._dirfd, self._name, O_PATH | nofollow))
        self._check(files.fstat(handle.number))
        return files.fstatfs(handle.number)

    def access(self, caller: Caller, mode: int, flags: int) -> None:
        if mode & W_OK and self.mount.read_only and self.stat().mode & S_IFMT in (S_IFREG, S_IFDIR, S_IFLNK):
            raise LinuxError(EROFS)
        self._tree.files.faccessat(self._dirfd, self._name, mode, flags | self._flags)

    def readlink(self) -> bytes:
        if not self._name and self.stat().mode & S_IFMT != S_IFLNK:
            raise LinuxError(EINVAL)
        return self._tree.files.readlinkat(self._dirfd, self._name)

    def socket_path(self) -> tuple[Handle, bytes]:
        files = self._tree.files
        if self._tree.nodes_are_files:  # else the host looks at it
            files.faccessat(self._dirfd, self._name, W_OK, AT_EACCESS | self._flags)
        if not self._name or not self._tree.host.caps.proc_fd:
            return self._handle, self._host_name(self._handle, b"")
        nofollow = O_NOFOLLOW if self._flags & AT_SYMLINK_NOFOLLOW else 0
        handle = Handle(files, files.openat(self._dirfd, self._name, O_PATH | nofollow))
        return handle, self._host_name(handle, b"")

    def new_socket_path(self) -> tuple[Handle, bytes]:
        try:
            name = self._new_name()
        except LinuxError as error:
            raise LinuxError(EADDRINUSE if error.errno == EEXIST else error.errno) from None
        files = self._tree.files
        if self._tree.nodes_are_files:
            files.faccessat(self._dirfd, b"", W_OK | X_OK, AT_EACCESS | AT_EMPTY_PATH)
        if name.startswith(b"/") and len(name) < UNIX_PATH_MAX:
            return self._handle, name + b"\0"  # a whole path: the host's peers see it as the guest's would
        head, slash, last = name.rpartition(b"/")
        if not slash:
            files.settle(self._dirfd)
            return self._handle, self._own_name(self._handle, name)
        handle = Handle(files, files.openat(self._dirfd, head or b"/", O_PATH | O_DIRECTORY))
        return handle, self._own_name(handle, last)

    def _own_name(self, handle: Handle, name: bytes) -> bytes:
        """A name that tells this socket from those of other processes, if there is room for it."""
        path = self._host_name(handle, name)
        longer = path.replace(b"/proc/self/", b"/proc/%d/" % self._tree.host.procs.getpid(), 1)
        return longer if len(longer) <= UNIX_PATH_MAX else path

    def _host_name(self, handle: Handle, name: bytes) -> bytes:
        # HOST: without /proc/self/fd there is no name for a descriptor; the path that was walked is the next best
        if self._tree.host.caps.proc_fd:
            path = b"/proc/self/fd/%d" % handle.number
            return (path + b"/" + name if name else path) + b"\0"
        return self._tree.host_name(self.path) + b"\0"

    # Changing

    def _check_writable(self) -> None:
        if self.mount.read_only:
            raise LinuxError(EROFS)
        tree = self._tree
        if tree.terminals is None or (tree.detached and self._name) or tree.terminals.owns(self.stat()):
            return
        if not tree.detached:
            raise LinuxError(EPERM, "a device of the host")
        check_change(tree.files, self._dirfd)

    def adopt_socket(self, mode: int) -> None:
        self._tree.files.adopt(self._dirfd, self._name, mode)

    def chmod(self, mode: int) -> None:
        self._check_writable()
        self._tree.files.fchmodat(self._dirfd, self._name, mode, self._flags)
        if self._tree.terminals is not None:
            self._tree.terminals.keep(self.stat())

    def chown(self, uid: int, gid: int) -> None:
        self._check_writable()
        self._tree.files.fchownat(self._dirfd, self._name, uid, gid, self._flags)
        if self._tree.terminals is not None:
            self._tree.terminals.keep(self.stat())

    def utimens(self, times: Times) -> None:
        self._check_writable()
        self._tree.files.utimensat(self._dirfd, self._name, times, self._flags)

    def truncate(self, length: int) -> None:
        if self.mount.read_only:
            raise LinuxError(EROFS)
        files = self._tree.files
        if not self._flags:
            files.truncateat(self._dirfd, self._name, length)
            return
        kind = self.stat().mode & S_IFMT
        if kind != S_IFREG:
            raise LinuxError(EISDIR if kind == S_IFDIR else EINVAL)
        if self._name:
            # Who is quick could put a FIFO there in between.
            handle = Handle(files, files.openat(self._dirfd, self._name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK))
        else:
            if self._tree.detached:
                check_access(files, self._dirfd, O_WRONLY)
            handle = Handle(files, files.reopen(self._dirfd, O_WRONLY))
        files.ftruncate(handle.number, length)

    # Names

    def _new_name(self, *, directory: bool = False) -> bytes:
        """Before a name is made: EEXIST, EROFS, and ENOENT for `name/` that is to be no directory."""
        if not self._name or self._tree.names_are_fixed:
            raise LinuxError(EEXIST)
        if (self._slash and not directory) or self.mount.read_only:
            try:
                self.stat()
            except LinuxError as error:
                raise LinuxError(EROFS if self.mount.read_only and error.errno == ENOENT else error.errno) from None
            raise LinuxError(EEXIST)
        return self._name

    def mkdir(self, mode: int) -> None:
        self._tree.files.mkdirat(self._dirfd, self._new_name(directory=True), mode)

    def mknod(self, mode: int, dev: int) -> None:
        name = self._new_name()
        if self._tree.confined and not self._tree.nodes_are_files:
            check_new_device(mode, dev)
        self._tree.files.mknodat(self._dirfd, name, mode, dev)

    def symlink(self, target: bytes) -> None:
        self._tree.files.symlinkat(target, self._dirfd, self._new_name())

    def unlink(self, flags: int) -> None:
        if not self._name or self._tree.names_are_fixed:
            raise LinuxError(EBUSY if flags & AT_REMOVEDIR else EISDIR)
        self._check_writable()
        if self._slash and not flags & AT_REMOVEDIR:
            raise LinuxError(EISDIR if self.stat().mode & S_IFMT == S_IFDIR else ENOTDIR)
        self._tree.files.unlinkat(self._dirfd, self._name, flags)

    def link_to(self, new: Place) -> None:
        if not isinstance(new, HostPlace) or new.mount is not self.mount:
            raise LinuxError(EXDEV)
        name = new._new_name()
        if self._flags & AT_EMPTY_PATH:
            flags = AT_EMPTY_PATH
        else:
            flags = 0 if self._flags & AT_SYMLINK_NOFOLLOW else AT_SYMLINK_FOLLOW
        self._tree.files.linkat(self._dirfd, self._name, new._dirfd, name, flags)

    def rename_to(self, new: Place, flags: int) -> None:
        if not isinstance(new, HostPlace) or new.mount is not self.mount:
            raise LinuxError(EXDEV)
        if not self._name or not new._name or self._tree.names_are_fixed:
            raise LinuxError(EBUSY)
        self._check_writable()
        if self._slash or new._slash:
            if self.stat().mode & S_IFMT != S_IFDIR:
                raise LinuxError(ENOTDIR)
            if flags & RENAME_EXCHANGE and new._slash and new.stat().mode & S_IFMT != S_IFDIR:
                raise LinuxError(ENOTDIR)
        self._tree.files.renameat2(self._dirfd, self._name, new._dirfd, new._name, flags)

    # Extended attributes

    def getxattr(self, name: bytes) -> bytes:
        return self._tree.files.getxattrat(self._dirfd, self._name, name, self._flags)

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self._check_writable()
        self._tree.files.setxattrat(self._dirfd, self._name, name, value, flags, self._flags)

    def listxattr(self) -> list[bytes]:
        return self._tree.files.listxattrat(self._dirfd, self._name, self._flags)

    def removexattr(self, name: bytes) -> None:
        self._check_writable()
        self._tree.files.removexattrat(self._dirfd, self._name, name, self._flags)


class HiddenFileError(Exception):
    """The host led a whole path into a file system that the guest must not see."""


class TrustedPlace(HostPlace):
    """A whole path for the host to resolve. If it ends in a hidden file system, it is walked instead."""

    __slots__ = ("_at", "_fs")

    def __init__(self, at: HostDirectory, fs: FsContext, path: bytes, dirfd: int, *, follow: bool) -> None:
        self.mount = at.mount
        self._tree = at.tree
        self._handle = at.handle
        self._dirfd = dirfd
        self._base = at.path
        self._name = path
        self._flags = 0 if follow else AT_SYMLINK_NOFOLLOW
        self._slash = False
        self._seen = 0
        self._at = at
        self._fs = fs

    @property
    def path(self) -> bytes:
        return self._name if self._name.startswith(b"/") else join(self._base, self._name)

    def sibling(self, name: bytes) -> Place | None:
        return None  # its own name is a path

    def _check(self, stat: Stat) -> None:
        if stat.dev in self._tree.hidden:
            raise HiddenFileError

    def _walked(self) -> Place:
        return Walk(self._fs, self._at, 0).resolve(self._name, follow=not self._flags)

    def open(self, caller: Caller, flags: int, mode: int) -> OpenFile:
        try:
            if not flags & O_PATH or self._tree.host.caps.o_path:
                return super().open(caller, flags, mode)
        except HiddenFileError:
            pass
        return self._walked().open(caller, flags, mode)

    def directory(self) -> Directory:
        try:
            return super().directory()
        except HiddenFileError:
            return self._walked().directory()

    def stat(self) -> Stat:
        try:
            return super().stat()
        except HiddenFileError:
            return self._walked().stat()

    def statx(self, flags: int, mask: int) -> tuple[Stat, Statx | None]:
        stat = self._tree.files.fstatat(self._dirfd, self._name, self._flags)
        if stat.dev in self._tree.hidden:
            return self._walked().statx(flags, mask)
        return stat, self._tree.files.statx(self._dirfd, self._name, self._flags | flags, mask)

    def statfs(self) -> Statfs:
        try:
            return super().statfs()
        except HiddenFileError:
            return self._walked().statfs()

    def access(self, caller: Caller, mode: int, flags: int) -> None:
        files = self._tree.files
        files.faccessat(self._dirfd, self._name, mode, flags | self._flags)
        if self._tree.hidden and files.fstatat(self._dirfd, self._name, self._flags).dev in self._tree.hidden:
            self._walked().access(caller, mode, flags)

    def readlink(self) -> bytes:
        files = self._tree.files
        target = files.readlinkat(self._dirfd, self._name)
        if self._tree.hidden and files.fstatat(self._dirfd, self._name, self._flags).dev in self._tree.hidden:
            return self._walked().readlink()
        return target
