"""FsContext: where a process is in the tree of files (fs_struct), and how paths lead to files (path_resolution(7)).

A path is never joined to a string of the host: a walk goes from directory to directory, each held by the file system's
own handle, so it cannot leave the root. Where the host's kernel can be trusted with more than one step, it gets them:
see Directory.leap() and Directory.shortcut().
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EEXIST, EISDIR, ELOOP, ENOENT, ENOTDIR, EXDEV, LinuxError
from noah.abi.fcntl import (
    AT_EACCESS,
    AT_FDCWD,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    X_OK,
)
from noah.abi.limits import MAXSYMLINKS
from noah.vfs.place import Directory, Place

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile
    from noah.vfs.mounts import MountTable

_DOTS: Final = (b"", b".", b"..")
_BOUNDED: Final = RESOLVE_BENEATH | RESOLVE_IN_ROOT


class FsContext:
    """Working directory, root and umask: what threads share with CLONE_FS."""

    __slots__ = ("cwd", "mounts", "root", "umask")

    def __init__(self, mounts: MountTable, umask: int = 0o022) -> None:
        self.mounts = mounts
        self.root: Directory = mounts.root.root
        self.cwd: Directory = self.root
        self.umask = umask

    def copy(self) -> FsContext:
        other = FsContext(self.mounts, self.umask)
        other.root = self.root
        other.cwd = self.cwd
        return other

    def start(self, caller: Caller, dirfd: int, path: bytes) -> Directory:
        """Where the walk of a path begins. ENOENT for an empty one; EBADF, ENOTDIR for a dirfd that is no directory."""
        if not path:
            raise LinuxError(ENOENT)
        if path.startswith(b"/"):
            return self.root
        if dirfd == AT_FDCWD:
            return self.cwd
        return caller.fds.get(dirfd).directory()

    def resolve(self, caller: Caller, dirfd: int, path: bytes, *, follow: bool = True, resolve: int = 0) -> Place:
        """Where a path leads. The last name may not exist; a symbolic link there is followed only with `follow`.

        resolve: RESOLVE_* (openat2(2)).
        """
        start = self.start(caller, dirfd, path)
        if not resolve:
            place = start.shortcut(self, path, follow=follow)
            if place is not None:
                return place
            if b"/" not in path and path not in _DOTS and path not in self.mounts.names:
                place = start.seen(path) if follow else start.place(path)
                if place is not None:
                    return place
        return Walk(self, start, resolve).resolve(path, follow=follow)

    def parent(self, caller: Caller, dirfd: int, path: bytes) -> Place:
        """A name to be made, removed or renamed: the last symbolic link is never followed, not even before a `/`."""
        start = self.start(caller, dirfd, path)
        place = start.shortcut(self, path, follow=False)
        if place is not None:
            return place
        walk = Walk(self, start, 0)
        head, _, last = path.rstrip(b"/").rpartition(b"/")
        if last in (b".", b".."):
            at = walk.resolve(head or (b"/" if path.startswith(b"/") else b"."), follow=True).directory()
            return at.place(last)
        at, name, slash = walk.parent(path)
        return at.place(name, slash=slash)

    def parent_near(
        self, caller: Caller, dirfd: int, path: bytes, first: Place, first_dirfd: int, first_path: bytes
    ) -> Place:
        """As parent(), for a call's second path: mostly it is in the directory of the first, which was not followed."""
        head, slash, name = path.rpartition(b"/")
        first_head, first_slash, first_name = first_path.rpartition(b"/")
        if (
            (head, slash) == (first_head, first_slash)
            and ((slash and not head) or dirfd == first_dirfd or head.startswith(b"/"))
            and name not in _DOTS
            and first_name not in _DOTS
            and name not in self.mounts.names
        ):
            place = first.sibling(name)
            if place is not None:
                return place
        return self.parent(caller, dirfd, path)

    def open(self, caller: Caller, dirfd: int, path: bytes, flags: int, mode: int = 0, *, resolve: int = 0) -> OpenFile:
        """open(2) without a descriptor. mode: with O_CREAT or O_TMPFILE, umask not yet applied."""
        mode &= 0o7777
        follow = not flags & O_NOFOLLOW and flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL
        start = self.start(caller, dirfd, path if not resolve & RESOLVE_IN_ROOT else path.lstrip(b"/") or b".")
        if not resolve:
            place = start.shortcut(self, path, follow=follow)
            if place is not None:
                return place.open(caller, flags, mode)
        walk = Walk(self, start, resolve)
        if flags & O_CREAT:
            at, name, slash = walk.parent(path)
            if slash and name:
                raise LinuxError(EISDIR)
            while follow and name:
                target = at.link(name)
                if target is None:
                    break
                if not isinstance(target, bytes):
                    return walk.jump(target).open(caller, flags, mode)
                at, name, slash = walk.parent_of_link(at, target)
                if slash:
                    raise LinuxError(EISDIR)
            if not name:
                raise LinuxError(EEXIST if flags & O_EXCL else EISDIR)
            return at.place(name).open(caller, flags, mode)
        if follow and not flags & O_PATH:
            return walk.open(caller, path, flags)
        return walk.resolve(path, follow=follow).open(caller, flags, mode)

    def directory(self, caller: Caller, dirfd: int, path: bytes) -> Directory:
        """A directory to stay in: chdir(2), chroot(2)."""
        place = self.resolve(caller, dirfd, path)
        directory = place.directory()
        place.access(caller, X_OK, AT_EACCESS)
        return directory


class Walk:
    """One path resolution: counts links, knows its bounds."""

    __slots__ = ("_fs", "_links", "_resolve", "_root", "_start")

    def __init__(self, fs: FsContext, start: Directory, resolve: int) -> None:
        self._fs = fs
        self._start = start
        self._root = start if resolve & RESOLVE_IN_ROOT else fs.root
        self._resolve = resolve
        self._links = 0

    def resolve(self, path: bytes, *, follow: bool) -> Place:
        at, name, slash = self.parent(path)
        return self._end(at, name, slash, follow=follow)

    def _end(self, at: Directory, name: bytes, slash: bool, *, follow: bool) -> Place:
        while name:
            if slash:
                return self._step(at, name).place(b"")
            if not follow:
                return at.place(name)
            place = at.seen(name)
            if place is not None:
                return place
            target = at.link(name)
            if target is None:
                return at.place(name)
            if not isinstance(target, bytes):
                return self.jump(target)
            at, name, slash = self.parent_of_link(at, target)
        return at.place(b"")

    def open(self, caller: Caller, path: bytes, flags: int) -> OpenFile:
        """Open what a path leads to, links followed, without O_CREAT and O_PATH: most that is opened is no link."""
        at, name, slash = self.parent(path)
        while at.refuses_links and name and not slash:
            try:
                return at.place(name).open(caller, flags, 0)
            except LinuxError as error:
                if error.errno not in (ELOOP, ENOTDIR):
                    raise
                target = at.link(name)
                if not isinstance(target, bytes):
                    raise
            at, name, slash = self.parent_of_link(at, target)
        return self._end(at, name, slash, follow=True).open(caller, flags, 0)

    def parent(self, path: bytes) -> tuple[Directory, bytes, bool]:
        """Walk all but the last name: the directory, the name, whether a `/` follows it.

        The name is b"" if the path ends in the directory itself: `/`, `.`, `..`, a mount point.
        """
        if path.startswith(b"/"):
            if self._resolve & RESOLVE_BENEATH:
                raise LinuxError(EXDEV)
            return self._walk(self._root, path)
        return self._walk(self._start, path)

    def parent_of_link(self, at: Directory, target: bytes) -> tuple[Directory, bytes, bool]:
        """As parent(), for the target of a symbolic link in `at`."""
        self._links += 1
        if self._links > MAXSYMLINKS or self._resolve & RESOLVE_NO_SYMLINKS:
            raise LinuxError(ELOOP)
        if not target:
            raise LinuxError(ENOENT)
        if target.startswith(b"/"):
            if self._resolve & RESOLVE_BENEATH:
                raise LinuxError(EXDEV)
            at = self._root
        return self._walk(at, target)

    def jump(self, target: Place) -> Place:
        """Follow a link that is no path (proc(5))."""
        self._links += 1
        if self._links > MAXSYMLINKS or self._resolve & (RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS):
            raise LinuxError(ELOOP)
        if self._resolve & _BOUNDED:
            raise LinuxError(EXDEV)
        return target

    def _walk(self, at: Directory, path: bytes) -> tuple[Directory, bytes, bool]:
        names = [name for name in path.split(b"/") if name and name != b"."]
        slash = path.endswith(b"/")
        mounts = self._fs.mounts
        index = 0
        count = len(names)
        last = count - 1 if not path.endswith(b"/.") else count  # `a/.` is in a, while `a` is in its parent
        while index < count:
            name = names[index]
            if name == b"..":
                at = self._up(at)
                index += 1
                continue
            mount = mounts.at(at.child_path(name)) if name in mounts.names else None
            if mount is not None:
                if self._resolve & RESOLVE_NO_XDEV:
                    raise LinuxError(EXDEV)
                at = mount.root
                index += 1
                if mount.file:
                    if index < count:
                        raise LinuxError(ENOTDIR)
                    return at, mount.file, slash
                continue
            if index == last:
                return at, name, slash
            taken = at.leap(self._fs, names, index)
            if taken is not None:
                at, index = taken
                continue
            at = self._step(at, name)
            index += 1
        return at, b"", slash

    def _step(self, at: Directory, name: bytes) -> Directory:
        """Into the directory of that name, through links."""
        while True:
            if not name:
                return at
            found = at.enter(name)
            if isinstance(found, Directory):
                return found
            if isinstance(found, Place):
                return self.jump(found).directory()
            at, name, _ = self.parent_of_link(at, found)

    def _up(self, at: Directory) -> Directory:
        while True:
            if at.is_same(self._root):
                if self._resolve & RESOLVE_BENEATH:
                    raise LinuxError(EXDEV)
                return at
            if self._resolve & RESOLVE_BENEATH and at.is_same(self._start):
                raise LinuxError(EXDEV)
            if not at.is_same(at.mount.root):
                return at.up()
            if at.mount.under is None:
                return at
            if self._resolve & RESOLVE_NO_XDEV:
                raise LinuxError(EXDEV)
            return at.mount.under
