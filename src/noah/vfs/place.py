"""Place and Directory: what a path walk works with, implemented by every file system of noah.fs.

A Directory is a step of a walk. A Place is its end: a file by name in its directory, which may not exist; the calls
that take a path are its methods. The defaults answer as a read-only file system that keeps what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from noah.abi.errno import (
    EACCES,
    EADDRINUSE,
    ECONNREFUSED,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOTDIR,
    ENOTSUP,
    EPERM,
    EXDEV,
    LinuxError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.host.values import Stat, Statfs, Statx
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile
    from noah.vfs.handle import Handle
    from noah.vfs.mounts import Mount
    from noah.vfs.namespace import FsContext

Times: TypeAlias = tuple[int, int] | None
"""utimensat(2): access and modification in ns, TIME_NOW or TIME_OMIT; None is now for both."""

DELETED: Final = b" (deleted)"
"""What Linux appends to the path of a file that was removed."""


def join(directory: bytes, name: bytes) -> bytes:
    """Guest path of a name in a directory."""
    return b"/" + name if directory == b"/" else directory + b"/" + name


class Place:
    """The end of a path walk. Modes are as the caller asked for them: its umask counts unless a directory has a default
    access control list (umask(2))."""

    __slots__ = ("mount",)

    def __init__(self, mount: Mount) -> None:
        self.mount = mount

    @property
    def path(self) -> bytes:
        """Guest path from the box's root, without links as far as known."""
        return b"/"

    def sibling(self, name: bytes) -> Place | None:
        """The file of that name in the same directory; None: to be walked to."""
        return None

    def open(self, caller: Caller, flags: int, mode: int) -> OpenFile:
        """With O_NOFOLLOW a symbolic link at the end is ELOOP (with O_PATH: the link itself)."""
        raise LinuxError(EACCES)

    def directory(self) -> Directory:
        """The place as the start of other walks: chdir(2), chroot(2)."""
        raise LinuxError(ENOTDIR)

    def stat(self) -> Stat:
        raise LinuxError(ENOENT)

    def statx(self, flags: int, mask: int) -> tuple[Stat, Statx | None]:
        """flags: AT_STATX_*. No Statx: there is nothing to tell beyond Stat."""
        return self.stat(), None

    def statfs(self) -> Statfs:
        raise LinuxError(ENOENT)

    def access(self, caller: Caller, mode: int, flags: int) -> None:
        """flags: AT_EACCESS."""
        self.stat()

    def readlink(self) -> bytes:
        self.stat()
        raise LinuxError(EINVAL)

    def socket_path(self) -> tuple[Handle, bytes]:
        """What to connect(2) to, as the host has it, with its NUL; valid as long as the handle lives."""
        self.stat()
        raise LinuxError(ECONNREFUSED)

    def new_socket_path(self) -> tuple[Handle, bytes]:
        """What to bind(2) to. EADDRINUSE, EROFS."""
        raise LinuxError(EADDRINUSE if self._exists_or(EPERM) == EEXIST else EPERM)

    def bind(self, bind: Callable[[], None], umask: int) -> None:
        """Have bind(2) make a socket at new_socket_path()."""
        raise LinuxError(self._exists_or(EPERM))

    def chmod(self, mode: int) -> None:
        self.stat()
        raise LinuxError(EPERM)

    def chown(self, uid: int, gid: int) -> None:
        """-1 leaves an id as it is."""
        self.stat()
        raise LinuxError(EPERM)

    def utimens(self, times: Times) -> None:
        self.stat()
        raise LinuxError(EPERM)

    def truncate(self, length: int) -> None:
        self.stat()
        raise LinuxError(EINVAL)

    def mkdir(self, mode: int, umask: int = 0) -> None:
        raise LinuxError(self._exists_or(ENOENT))

    def mknod(self, mode: int, dev: int, umask: int = 0) -> None:
        raise LinuxError(self._exists_or(EPERM))

    def symlink(self, target: bytes) -> None:
        raise LinuxError(self._exists_or(EPERM))

    def unlink(self, flags: int) -> None:
        """flags: AT_REMOVEDIR."""
        self.stat()
        raise LinuxError(EPERM)

    def link_to(self, new: Place) -> None:
        """Make `new` another name of this file."""
        raise LinuxError(EXDEV)

    def rename_to(self, new: Place, flags: int) -> None:
        """flags: RENAME_*."""
        raise LinuxError(EXDEV)

    def getxattr(self, name: bytes) -> bytes:
        self.stat()
        raise LinuxError(ENOTSUP)

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self.stat()
        raise LinuxError(ENOTSUP)

    def listxattr(self) -> list[bytes]:
        self.stat()
        return []

    def removexattr(self, name: bytes) -> None:
        self.stat()
        raise LinuxError(ENOTSUP)

    def _exists_or(self, errno: int) -> int:
        try:
            self.stat()
        except LinuxError:
            return errno
        return EEXIST


class Directory:
    """A directory that a walk has reached."""

    __slots__ = ("_path", "mount")

    refuses_links = False
    """Opening a symbolic link in it fails: ELOOP, or ENOTDIR with O_DIRECTORY."""

    def __init__(self, mount: Mount, path: bytes) -> None:
        self.mount = mount
        self._path = path

    @property
    def path(self) -> bytes:
        """Guest path from the box's root, without links."""
        return self._path

    def child_path(self, name: bytes) -> bytes:
        return join(self.path, name)

    def enter(self, name: bytes) -> Directory | Place | bytes:
        """The next step: the directory of that name, or what the symbolic link of that name leads to (see link()).

        ENOENT, ENOTDIR, EACCES.
        """
        raise LinuxError(ENOENT)

    def link(self, name: bytes) -> Place | bytes | None:
        """What the symbolic link of that name leads to: a path, or for links that are none (proc(5)) the file itself.

        None for anything that is no symbolic link, or does not exist.
        """
        return None

    def seen(self, name: bytes) -> Place | None:
        """The file of that name, if a look at it tells that it is no symbolic link, or not there.

        What was seen is the answer when it is asked for its status next. None: ask link().
        """
        return None

    def leap(self, fs: FsContext, names: list[bytes], index: int) -> tuple[Directory, int] | None:
        """Take several steps at once, from names[index] on but never the last: the directory, and how far it is.

        None: go by single steps.
        """
        return None

    def shortcut(self, fs: FsContext, path: bytes, *, follow: bool) -> Place | None:
        """Leave a whole path to the host, where that is known to be right."""
        return None

    def up(self) -> Directory:
        """The parent, inside the same mount."""
        raise LinuxError(ENOENT)

    def current_path(self, root: Directory) -> bytes:
        """getcwd(2): the path as seen from `root`. ENOENT for a directory that was removed."""
        return self.path

    def shown_path(self, root: Directory) -> bytes:
        """What /proc shows: the same, or where it was (prepend_path() and d_path() of Linux)."""
        try:
            return self.current_path(root)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
            return self.path.removesuffix(DELETED) + DELETED

    def is_same(self, other: Directory) -> bool:
        return self is other

    def place(self, name: bytes, *, slash: bool = False) -> Place:
        """The file of that name; the directory itself for b"". slash: the path ended with one."""
        raise LinuxError(ENOENT)
