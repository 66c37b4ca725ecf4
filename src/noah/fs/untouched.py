"""Directories of an image that a copy shows as they are, because nothing in them has been changed: noah.fs.cow.

Whoever opens a stand-in that is not filled gets the image's directory itself, and from there on walks through the image
as through any tree. Before anything is changed in there, the stand-ins on the way are filled, and the copy's directory
takes the place of the image's under the same descriptor. Other processes see by a word in shared memory that this has
happened somewhere, and look after their own descriptors before they use one again.

A directory of the image that has no filled stand-in has the same path in both trees: who moves a directory of the copy
fills all below it, and who removes one fills that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.capability import CAP_DAC_READ_SEARCH
from noah.abi.errno import EACCES, EBADF, EBUSY, LinuxError
from noah.abi.fcntl import (
    AT_FDCWD,
    AT_REMOVEDIR,
    DT_DIR,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_TRUNC,
    SEEK_CUR,
    SEEK_SET,
)
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.fs.cowcopies import TRIES, CowCopies
from noah.fs.tree import walk

if TYPE_CHECKING:
    from noah.host.api import Host

_NO_LINK: Final = O_DIRECTORY | O_NOFOLLOW
_MAKING: Final = O_CREAT | O_EXCL | O_TRUNC
_DIRECTORY: Final = O_PATH | O_DIRECTORY | O_NOFOLLOW
_KEPT: Final = O_PATH | O_ACCMODE  # of the flags of a directory's descriptor, when it is made anew


class Untouched(CowCopies):
    """A part of a noah.host.api.Files over another one: which descriptors are of the image's directories."""

    def __init__(self, host: Host, image: bytes, copy: bytes, *, owners: bool) -> None:
        super().__init__(host, image, copy, owners=owners)
        self._untouched: dict[int, bytes] = {}
        """Descriptors of the image's directories: the path in both trees, `.` or `./...`."""
        self._listed: dict[int, int] = {}
        """Descriptors of which a part has been listed: of the copy's directory, which means the same otherwise."""
        self._filled: dict[int, bytes] = {}
        """Descriptors of filled stand-ins: the path where they were made."""
        self._shortcuts: set[bytes] = set()
        """Paths that lead from a filled stand-in to one of the image's directories, until any of these is replaced."""
        self._generation = 0
        self._root = -1
        self._image_path = self._raw.fd_path(self._image) or b"\0"

    def __del__(self) -> None:
        self._raw.close_quietly(getattr(self, "_root", -1))
        super().__del__()

    # What descriptors mean

    def _now(self, fd: int) -> int:
        """To look at a directory: what to use for its descriptor."""
        if self._stand_ins.generation != self._generation:
            self._catch_up()
        return self._listed.get(fd, fd)

    def _mine(self, fd: int) -> int:
        """To change something in a directory, or what it is: the same, and it is the copy's from now on. LinuxError."""
        if self._untouched or self._listed:
            fd = self._now(fd)
            for _ in range(TRIES):
                path = self._untouched.get(fd)
                if path is None:
                    return fd
                self._raw.close_quietly(self._fill_way(path))
                fd = self._now(fd)
            raise LinuxError(EBUSY)  # whatever goes on there: nothing may be changed in the image
        return fd

    def catch_up(self) -> None:
        """Before a directory is listed by its descriptor: see what other processes have changed."""
        if self._stand_ins.generation != self._generation:
            self._catch_up()

    def settle(self, fd: int) -> None:
        """Have a directory's descriptor mean the copy's, for others who use it. LinuxError."""
        self._mine(fd)
        self._rewound(fd)

    def _catch_up(self) -> None:
        """Some directory of the image has got a filled stand-in since the last look."""
        generation = self._stand_ins.generation
        self._shortcuts.clear()
        for fd, path in tuple(self._untouched.items()):
            self._follow(fd, path)
        self._generation = generation & ~1  # an odd one is another one the next time, too

    def _follow(self, fd: int, path: bytes) -> None:
        raw = self._raw
        try:
            image = raw.fstat(fd).ino
            replaced = self._stand_ins.replaced(image)
            if replaced is None:
                if image not in self._inodes:  # closed behind our back, and something else now
                    self._untouched.pop(fd, None)
                return
            position = 0
            flags = raw.get_flags(fd) & _KEPT
            if not flags & O_PATH:
                position = raw.lseek(fd, 0, SEEK_CUR)
        except LinuxError as error:
            if error.errno != EBADF:
                raise
            self._untouched.pop(fd, None)
            return
        own = self._find_own(path, replaced, flags)
        self._untouched.pop(fd, None)
        if position:
            self._listed[fd] = own
            return
        if replaced:
            self._filled[fd] = path
        try:
            raw.replace(fd, own)
        finally:
            raw.close_quietly(own)

    def _find_own(self, path: bytes, inode: int, flags: int) -> int:
        """A descriptor of the filled stand-in that has a number; of an empty directory without a name, if it is gone.

        path: where it was made.
        """
        with self._as_host_user():
            return self._find(path, inode, flags)

    def _find(self, path: bytes, inode: int, flags: int) -> int:
        raw = self._raw
        if inode:
            try:
                fd = self._go(path)
            except LinuxError:
                fd = -1
            if fd >= 0 and raw.fstat(fd).ino == inode:
                if flags & O_PATH:
                    return fd
                try:
                    return raw.openat(fd, b".", flags | O_DIRECTORY)
                finally:
                    raw.close_quietly(fd)
            raw.close_quietly(fd)
            for directory, name, number, kind in walk(self.host, b".", dirfd=self._top()):
                if number == inode and kind == DT_DIR:  # it was moved
                    return raw.openat(directory, name, flags | O_DIRECTORY | O_NOFOLLOW)
        gone = self._copy + b"/copies/" + self.host.rng.getrandom(8).hex().encode()
        raw.mkdirat(AT_FDCWD, gone, 0o700)
        try:
            return raw.openat(AT_FDCWD, gone, flags | O_DIRECTORY)
        finally:
            raw.unlinkat(AT_FDCWD, gone, AT_REMOVEDIR)

    def _fill_way(self, path: bytes) -> int:
        """A directory of the copy, which is filled as all on the way to it. LinuxError."""
        with self._as_host_user():
            return self._go(path, fill=True)

    def _go(self, path: bytes, *, fill: bool = False) -> int:
        """A directory of the copy, without links on the way. LinuxError."""
        raw = self._raw
        fd = raw.dup(self._top())
        try:
            for name in path.split(b"/")[1:]:
                if fill:
                    self._fill(fd, raw.fstat(fd).ino)
                inside = raw.openat(fd, name, _DIRECTORY)
                raw.close_quietly(fd)
                fd = inside
            if fill:
                self._fill(fd, raw.fstat(fd).ino)
        except LinuxError:
            raw.close_quietly(fd)
            raise
        return fd

    def _fill_below(self, fd: int) -> None:
        """Fill a directory and all in it, before it gets another path. What the guest has made is never in the way."""
        raw = self._raw

        def fill(directory: int, name: bytes) -> bool:
            inside = raw.openat(directory, name, _DIRECTORY)
            try:
                return self._fill_if(inside)
            finally:
                raw.close_quietly(inside)

        if self._fill_if(fd):
            for _ in walk(self.host, b".", fill, dirfd=fd):
                pass

    def _fill_if(self, fd: int) -> bool:
        """Fill a directory if it is a stand-in. Whether it is one: only they can have others in them."""
        inode = self._raw.fstat(fd).ino
        self._fill(fd, inode)
        return self._stand_ins.get(inode) is not None

    # Descriptors come and go

    def _enter(self, fd: int, inode: int, flags: int) -> int:
        """What to use instead of a descriptor of the copy's directory that has just been opened."""
        raw = self._raw
        self._untouched.pop(fd, None)
        self._filled.pop(fd, None)
        stand_in = self._stand_ins.get(inode)
        if stand_in is None:
            return fd
        path = self._paths.get(stand_in.place)
        if stand_in.names and self._stand_ins.replaced(stand_in.image) is not None:
            self._fill(fd, inode)  # somebody was killed just before it could say so
        elif stand_in.names:
            try:
                untouched = self._open_image(path, flags & ~_MAKING | _NO_LINK)
            finally:
                raw.close_quietly(fd)
            self._note(untouched, path)
            self._shortcuts.add(path)
            return untouched
        self._filled[fd] = path
        return fd

    def _open_image(self, path: bytes, flags: int) -> int:
        """A directory of the image, of which the stand-in has just been opened."""
        raw = self._raw
        try:
            return raw.openat(self._image, path, flags)
        except LinuxError as error:
            if error.errno != EACCES:
                raise
        with self._as_host_user():  # the way to it was another one
            return raw.openat(self._image, path, flags)

    def _note(self, fd: int, path: bytes) -> None:
        """A descriptor is of one of the image's directories."""
        self._untouched[fd] = path
        self._filled.pop(fd, None)

    def _short(self, dirfd: int, path: bytes, flags: int, resolve: int = 0) -> int:
        """A directory below a filled stand-in, if it is known to be the image's, by one step through that; else -1.

        Only for who may search all directories. path: one name, or as openat2(2) resolves it.
        """
        whole = self._filled[dirfd] + b"/" + path
        asker = self._asker
        if whole not in self._shortcuts or not (asker is None or asker.creds.capable(CAP_DAC_READ_SEARCH)):
            return -1
        try:
            if resolve:
                fd = self._raw.openat2_in_root(self._image, whole, flags | _NO_LINK, 0, resolve)
            else:
                fd = self._raw.openat(self._image, whole, flags | _NO_LINK)
        except LinuxError:
            return -1
        self._note(fd, whole)
        return fd

    def _step(self, dirfd: int, path: bytes, flags: int, resolve: int) -> int:
        """The same for what is not known yet, and for all; path: as openat2(2) resolves it."""
        whole = self._filled[dirfd] + b"/" + path
        raw = self._raw
        try:
            fd = raw.openat2_in_root(self._image, whole, flags | _NO_LINK, 0, resolve)
        except LinuxError:
            return -1
        if self._stand_ins.replaced(raw.fstat(fd).ino) is not None:
            raw.close_quietly(fd)
            return -1
        self._note(fd, whole)
        self._shortcuts.add(whole)
        return fd

    def _above(self, fd: int, path: bytes, flags: int) -> int:
        """`..` of one of the image's directories."""
        raw = self._raw
        if path == b".":
            return raw.openat(self._top(), b"..", flags)
        path = path.rpartition(b"/")[0]
        above = raw.openat(fd, b"..", flags)
        replaced = self._stand_ins.replaced(raw.fstat(above).ino)
        if replaced is None:
            self._note(above, path)
            return above
        raw.close_quietly(above)
        own = self._find_own(path, replaced, flags)
        self._untouched.pop(own, None)
        self._filled[own] = path
        return own

    def _rewound(self, fd: int) -> None:
        """A listing begins anew: nothing keeps it from being the copy's."""
        own = self._listed.pop(fd, None)
        if own is not None:
            try:
                self._raw.replace(fd, own)
            finally:
                self._raw.close_quietly(own)

    def _forget(self, fd: int) -> None:
        self._untouched.pop(fd, None)
        self._filled.pop(fd, None)
        own = self._listed.pop(fd, None)
        if own is not None:
            self._raw.close_quietly(own)

    def flock(self, fd: int, operation: int) -> None:
        self.settle(fd)  # other containers lock the image's
        self._inner.flock(fd, operation)

    def notify(self, fd: int, events: int) -> None:
        self.settle(fd)
        self._inner.notify(fd, events)

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        if self._listed and whence == SEEK_SET and offset == 0:
            self._rewound(fd)
        return self._inner.lseek(fd, offset, whence)

    def dup(self, fd: int, minimum: int = 0) -> int:
        new = self._inner.dup(fd, minimum)
        if fd in self._untouched:
            self._untouched[new] = self._untouched[fd]
        elif fd in self._listed:
            self._listed[new] = self._raw.dup(self._listed[fd])
        if fd in self._filled:
            self._filled[new] = self._filled[fd]
        return new

    def close(self, fd: int) -> None:
        self._forget(fd)
        self._inner.close(fd)

    def close_quietly(self, fd: int) -> None:
        self._forget(fd)
        self._inner.close_quietly(fd)

    # Paths

    def fd_path(self, fd: int) -> bytes | None:
        """In the copy, also of what is the image's. A directory that came from another process is noticed here."""
        fd = self._now(fd)
        path = self._raw.fd_path(fd)
        below = _below(path, self._image_path)
        if below is None:
            return path
        if fd not in self._untouched and self._raw.fstat(fd).mode & S_IFMT == S_IFDIR:
            self._note(fd, b"." + below)
            self._generation = 0
        return self._copy_path() + below

    def _path_inside(self, fd: int) -> bytes | None:
        """As in self._untouched, of any file; None if the host does not say it."""
        path = self.fd_path(fd)
        below = _below(path, self._copy_path())
        return None if below is None else b"." + below

    def _copy_path(self) -> bytes:
        """Where the host says that the copy is now; no path if it does not say it."""
        return self._raw.fd_path(self._top()) or b"\0"

    def _top(self) -> int:
        """A descriptor of the copy's root, which may be one that is not filled."""
        if self._root < 0:
            with self._as_host_user():
                self._root = self._raw.openat(AT_FDCWD, self._copy + b"/rootfs", O_PATH | O_DIRECTORY)
        return self._root


def _below(path: bytes | None, root: bytes) -> bytes | None:
    """The rest of a path behind that of a root."""
    if path is None or not path.startswith(root):
        return None
    rest = path[len(root) :]
    return rest if not rest or rest.startswith(b"/") else None
