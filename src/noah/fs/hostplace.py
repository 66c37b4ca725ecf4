"""Files of a host directory tree by name: what system calls do to them, as calls of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import EADDRINUSE, EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS, EXDEV, LinuxError
from noah.abi.fcntl import (
    AT_EACCESS,
    AT_EMPTY_PATH,
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
    W_OK,
    X_OK,
)
from noah.abi.socket import UNIX_PATH_MAX
from noah.abi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from noah.fs.confine import check_access, check_change, check_device, check_new_device
from noah.fs.hostfile import Masked, make_file, make_inherited, open_host
from noah.fs.lastname import locate
from noah.fs.pathfile import NamedFile
from noah.vfs.handle import Handle, HostFile
from noah.vfs.place import Directory, Place, Times, join

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.fs.hostfs import HostTree
    from noah.host.values import Stat, Statfs, Statx
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile


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
            return tree.directory_of(self._handle, self.path)
        return tree.directory_of(self._enter(), self.path)

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

    def _check_changeable(self) -> None:
        """Before what a file is gets changed: if it is not there, that comes first."""
        if self.mount.read_only:
            self.stat()
        self._check_writable()

    def _check_writable(self) -> None:
        if self.mount.read_only:
            raise LinuxError(EROFS)
        tree = self._tree
        if tree.terminals is None or (tree.detached and self._name) or tree.terminals.owns(self.stat()):
            return
        if not tree.detached:
            raise LinuxError(EPERM, "a device of the host")
        check_change(tree.files, self._dirfd)

    def bind(self, bind: Callable[[], None], umask: int) -> None:
        with Masked(self._tree.files, umask):
            bind()
            self._tree.files.adopt(self._dirfd, self._name, 0o777 & ~umask)

    def chmod(self, mode: int) -> None:
        self._check_changeable()
        self._tree.files.fchmodat(self._dirfd, self._name, mode, self._flags)
        if self._tree.terminals is not None:
            self._tree.terminals.keep(self.stat())

    def chown(self, uid: int, gid: int) -> None:
        self._check_changeable()
        self._tree.files.fchownat(self._dirfd, self._name, uid, gid, self._flags)
        if self._tree.terminals is not None:
            self._tree.terminals.keep(self.stat())

    def utimens(self, times: Times) -> None:
        self._check_changeable()
        self._tree.files.utimensat(self._dirfd, self._name, times, self._flags)

    def truncate(self, length: int) -> None:
        if self.mount.read_only:
            self.stat()
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

    def mkdir(self, mode: int, umask: int = 0) -> None:
        name = self._new_name(directory=True)
        with Masked(self._tree.files, umask):
            self._tree.files.mkdirat(self._dirfd, name, mode)

    def mknod(self, mode: int, dev: int, umask: int = 0) -> None:
        name = self._new_name()
        if self._tree.confined and not self._tree.nodes_are_files:
            check_new_device(mode, dev)
        with Masked(self._tree.files, umask):
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
        self._check_changeable()
        self._tree.files.setxattrat(self._dirfd, self._name, name, value, flags, self._flags)

    def listxattr(self) -> list[bytes]:
        return self._tree.files.listxattrat(self._dirfd, self._name, self._flags)

    def removexattr(self, name: bytes) -> None:
        self._check_changeable()
        self._tree.files.removexattrat(self._dirfd, self._name, name, self._flags)
