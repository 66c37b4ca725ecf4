"""Writes the files of archives into a tree, and never outside of it.

Every path is walked as a guest's would be, inside the tree as its root: links and `..` lead nowhere else. Names that
hold a `..` are refused anyhow. Device nodes are made only where they are none to the host (noah.fs.owned): a guest that
is root on its host would else hold a real one.
"""

from __future__ import annotations

import tarfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EEXIST, ENODATA, ENOENT, ENOTDIR, ENOTSUP, EPERM, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_RDONLY,
    O_WRONLY,
)
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, makedev
from noah.fs.hostfs import HostDirectory, HostTree
from noah.fs.owned import are_owned
from noah.image.errors import ImageError, describe
from noah.vfs.mounts import MountTable
from noah.vfs.namespace import FsContext, Walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from noah.host.api import Host
    from noah.host.values import Stat

_CHUNK: Final = 1 << 20
_KEPT: Final = 256  # directories held open
_XATTR: Final = "SCHILY.xattr."
_NS: Final = 1_000_000_000
_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"


class Unpacker:
    """A tree that archives are unpacked into, one after the other."""

    def __init__(self, host: Host, root: bytes, *, layers: bool = False) -> None:
        """layers: archives are layers of an OCI image, in which names may say that others go away."""
        self._files = host.files
        self._scan = host.dirs.scan
        self._emulated = are_owned(host.files)
        self._owners = self._emulated or host.procs.getresuid()[1] == 0
        self._layers = layers
        self._fs = FsContext(MountTable(HostTree(host, root), HostTree(host, b"/")), 0)
        self._open: OrderedDict[bytes, HostDirectory] = OrderedDict()
        self._times: dict[bytes, int] = {}
        self._fresh: set[bytes] = set()  # what this layer has brought

    def unpack(self, tar: tarfile.TarFile, name: str, seen: Callable[[bytes], None] | None = None) -> int:
        """All members; the bytes of the files. seen: is told each member's path, `/` first. ImageError."""
        self._fresh.clear()
        total = 0
        member: tarfile.TarInfo | None = None
        try:
            for member in tar:
                path = _path_of(member, name)
                total += member.size if member.isreg() else 0
                self._member(tar, member, path, name)
                if seen is not None:
                    seen(path)
        except LinuxError as error:
            where = f" ({member.name})" if member is not None else ""
            raise ImageError(f"{name}{where}: {describe(error)}") from None
        except tarfile.TarError as error:
            raise ImageError(f"{name}: a damaged archive: {error}") from None
        return total

    def finish(self) -> None:
        """Set the times of directories, which change with what is put into them."""
        for path, mtime in self._times.items():
            try:
                directory = self._directory(path)
            except LinuxError:
                continue  # a later layer has removed it
            self._files.utimensat(directory.handle.number, b"", (mtime, mtime), AT_EMPTY_PATH)
        self._times.clear()
        self._open.clear()

    def write(self, path: bytes, content: bytes, mode: int = 0o644) -> None:
        """A file of one's own; directories on the way are made. LinuxError."""
        directory, name = self._parent(path)
        self._remove(directory, name, path)
        fd = self._files.openat(directory.handle.number, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
        try:
            self._write_all(fd, content)
            self._files.fchmod(fd, mode)
        finally:
            self._files.close_quietly(fd)

    def symlink(self, path: bytes, target: bytes) -> None:
        """A link, unless the name is taken. LinuxError."""
        directory, name = self._parent(path)
        try:
            self._files.symlinkat(target, directory.handle.number, name)
        except LinuxError as error:
            if error.errno != EEXIST:
                raise

    def mkdir(self, path: bytes, mode: int = 0o755) -> None:
        """A directory, if it is not there. LinuxError."""
        self._make_directory(path, mode)

    # Paths

    def _parent(self, path: bytes) -> tuple[HostDirectory, bytes]:
        head, _, name = path.rpartition(b"/")
        try:
            return self._directory(head or b"/"), name
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
        self._make_directory(head, 0o755)
        return self._directory(head), name

    def _make_directory(self, path: bytes, mode: int) -> None:
        directory, name = self._parent(path)
        if name:
            try:
                self._files.mkdirat(directory.handle.number, name, mode)
                self._files.fchmodat(directory.handle.number, name, mode)
            except LinuxError as error:
                if error.errno != EEXIST:
                    raise

    def _directory(self, path: bytes) -> HostDirectory:
        found = self._open.get(path)
        if found is None:
            walked = Walk(self._fs, self._fs.root, 0).resolve(path, follow=True).directory()
            assert isinstance(walked, HostDirectory)
            found = self._open[path] = walked
            if len(self._open) > _KEPT:
                self._open.popitem(last=False)
        return found

    def _stat(self, directory: HostDirectory, name: bytes) -> Stat | None:
        try:
            return self._files.fstatat(directory.handle.number, name, AT_SYMLINK_NOFOLLOW)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
            return None

    def _remove(self, directory: HostDirectory, name: bytes, path: bytes) -> None:
        """Make room for something else, or follow a whiteout."""
        stat = self._stat(directory, name)
        if stat is None:
            return
        self._open.clear()  # what lay below, or behind this link, is somewhere else now
        self._times.pop(path, None)
        if stat.mode & S_IFMT == S_IFDIR:
            self._empty(self._directory(path), path)
            self._files.unlinkat(directory.handle.number, name, AT_REMOVEDIR)
        else:
            self._files.unlinkat(directory.handle.number, name)

    def _empty(self, directory: HostDirectory, path: bytes, *, keep_fresh: bool = False) -> None:
        fd = self._files.openat(directory.handle.number, b".", O_RDONLY | O_DIRECTORY)
        try:
            names = [name for name, _, _ in self._scan(fd) if name not in (b".", b"..")]
        finally:
            self._files.close_quietly(fd)
        for name in names:
            child = path.rstrip(b"/") + b"/" + name
            if not keep_fresh or child not in self._fresh:
                self._remove(directory, name, child)

    # Members

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: bytes, archive: str) -> None:
        if path == b"/":
            if member.isdir():
                self._attributes(self._directory(b"/"), b"", member, path)
            return
        if self._layers:
            parent, _, name = path.rpartition(b"/")
            if name.startswith(_WHITEOUT):
                if (below := self._below(parent)) is not None:
                    self._whiteout(below, name, parent)
                return
            self._fresh.add(path)
        directory, name = self._parent(path)
        if member.isdir():
            stat = self._stat(directory, name)
            if stat is not None and stat.mode & S_IFMT == S_IFLNK and not self._layers:
                return  # dpkg(1) leaves links to directories as they are
            if stat is None or stat.mode & S_IFMT != S_IFDIR:
                self._remove(directory, name, path)
                self._files.mkdirat(directory.handle.number, name, 0o700)
            self._attributes(directory, name, member, path)
            return
        self._remove(directory, name, path)
        dirfd = directory.handle.number
        if member.isreg():
            content = tar.extractfile(member)
            assert content is not None
            self._file(directory, name, content, member)
        elif member.issym():
            self._files.symlinkat(_encoded(member.linkname), dirfd, name)
            self._attributes(directory, name, member, path)
        elif member.islnk():
            target = _path_of(member, archive, member.linkname)
            source, last = self._parent(target)
            self._files.linkat(source.handle.number, last, dirfd, name)
        elif member.isfifo():
            self._files.mknodat(dirfd, name, S_IFIFO | 0o600)
            self._attributes(directory, name, member, path)
        elif member.isdev() and self._emulated:
            kind = S_IFCHR if member.ischr() else S_IFBLK
            self._files.mknodat(dirfd, name, kind | 0o600, makedev(member.devmajor, member.devminor))
            self._attributes(directory, name, member, path)

    def _below(self, path: bytes) -> HostDirectory | None:
        """A directory of the layers below; None if there is none, or this layer has put something else in its place:
        umoci(1) still lists what was in it."""
        at = b""
        for name in path.split(b"/")[1:]:
            at += b"/" + name
            if at in self._fresh:
                directory, last = self._parent(at)
                stat = self._stat(directory, last)
                if stat is None or stat.mode & S_IFMT != S_IFDIR:
                    return None
        try:
            return self._directory(path or b"/")
        except LinuxError as error:
            if error.errno not in (ENOENT, ENOTDIR):
                raise
            return None

    def _whiteout(self, directory: HostDirectory, name: bytes, parent: bytes) -> None:
        if name == _OPAQUE:
            self._empty(directory, parent or b"/", keep_fresh=True)
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden not in (b"", b".", b"..") and parent + b"/" + hidden not in self._fresh:
            self._remove(directory, hidden, parent + b"/" + hidden)

    def _file(self, directory: HostDirectory, name: bytes, content: IO[bytes], member: tarfile.TarInfo) -> None:
        files = self._files
        fd = files.openat(directory.handle.number, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
        try:
            while chunk := content.read(_CHUNK):
                self._write_all(fd, chunk)
            if self._owners:
                files.fchown(fd, member.uid, member.gid)
            files.fchmod(fd, member.mode & 0o7777)  # after chown(2), which takes set-user-ID bits away
            for key, value in _xattrs(member):
                self._setxattr(fd, key, value)
            mtime = _mtime(member)
            files.futimens(fd, (mtime, mtime))
        finally:
            files.close_quietly(fd)

    def _setxattr(self, fd: int, key: bytes, value: bytes) -> None:
        try:
            self._files.fsetxattr(fd, key, value)
        except LinuxError as error:
            if error.errno not in (ENOTSUP, EPERM, ENODATA):
                raise

    def _write_all(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._files.write(fd, view) :]

    def _attributes(self, directory: HostDirectory, name: bytes, member: tarfile.TarInfo, path: bytes) -> None:
        """Of anything but a regular file."""
        files, dirfd = self._files, directory.handle.number
        flags = AT_SYMLINK_NOFOLLOW if name else AT_EMPTY_PATH
        if self._owners:
            files.fchownat(dirfd, name, member.uid, member.gid, flags)
        mtime = _mtime(member)
        if member.issym():
            files.utimensat(dirfd, name, (mtime, mtime), flags)
            return
        files.fchmodat(dirfd, name, member.mode & 0o7777, flags)
        if member.isdir():
            self._times[path] = mtime
        else:
            files.utimensat(dirfd, name, (mtime, mtime), flags)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _path_of(member: tarfile.TarInfo, archive: str, name: str = "") -> bytes:
    """A member's path from the root of the tree. ImageError for one that would lead out of it."""
    parts = [part for part in _encoded(name or member.name).split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ImageError(f"{archive}: a member's name leads out of the archive: {name or member.name!r}")
    return b"/" + b"/".join(parts)


def _mtime(member: tarfile.TarInfo) -> int:
    return max(0, int(member.mtime * _NS))


def _xattrs(member: tarfile.TarInfo) -> list[tuple[bytes, bytes]]:
    """In pax headers, as GNU tar, libarchive and Go write them."""
    return [
        (_encoded(key[len(_XATTR) :]), _encoded(value))
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    ]
