"""A tree as a tar archive, with owners, times, attributes and hard links as they are."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, BinaryIO, Final

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_NOFOLLOW, O_RDONLY
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, major, minor
from noah.fs.tree import Descent

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat

_CHUNK: Final = 1 << 20
_NS: Final = 1_000_000_000
_TYPES: Final = {
    S_IFREG: tarfile.REGTYPE,
    S_IFDIR: tarfile.DIRTYPE,
    S_IFLNK: tarfile.SYMTYPE,
    S_IFIFO: tarfile.FIFOTYPE,
    S_IFCHR: tarfile.CHRTYPE,
    S_IFBLK: tarfile.BLKTYPE,
}
_XATTR: Final = "SCHILY.xattr."  # in pax headers, as GNU tar, libarchive and Go write them
_HOSTS_OWN: Final = (b"security.selinux", b"security.ima", b"security.evm")


class _Content:
    """A descriptor as the file object that tarfile reads."""

    def __init__(self, host: Host, fd: int) -> None:
        self._files = host.files
        self._fd = fd

    def read(self, count: int = -1) -> bytes:
        return self._files.read(self._fd, count if count >= 0 else _CHUNK)


class Exporter:
    """One archive."""

    def __init__(self, host: Host, output: BinaryIO) -> None:
        self._host = host
        self._files = host.files
        self._links: dict[tuple[int, int], str] = {}
        self._output = output
        self._tar: tarfile.TarFile

    def tree(self, root: bytes) -> None:
        """Write all of a directory. LinuxError, OSError."""
        at = Descent(self._files, AT_FDCWD, root)
        try:
            with tarfile.open(
                fileobj=self._output, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape"
            ) as self._tar:
                self._inside(at)
        finally:
            at.close()

    def _inside(self, at: Descent) -> None:
        above: list[tuple[list[bytes], str]] = []
        names, prefix = self._names(at.fd), ""
        while True:
            if names:
                name = names.pop()
                path = prefix + _text(name)
                if self._add(at.fd, name, path):
                    at.down(name)
                    above.append((names, prefix))
                    names, prefix = self._names(at.fd), path + "/"
            elif above:
                at.up()
                names, prefix = above.pop()
            else:
                return

    def _names(self, fd: int) -> list[bytes]:
        """The last one first."""
        return sorted((name for name, _, _ in self._host.dirs.scan(fd) if name not in (b".", b"..")), reverse=True)

    def _add(self, dirfd: int, name: bytes, path: str) -> bool:
        """Write one file, or a directory without what is in it. Whether it is one."""
        files = self._files
        stat = files.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW)
        member = _member(path, stat)
        if member is None:
            return False
        member.pax_headers = self._xattrs(dirfd, name)
        if not member.isdir() and stat.nlink > 1:
            first = self._links.setdefault((stat.dev, stat.ino), path)
            if first != path:
                member.type, member.linkname, member.size = tarfile.LNKTYPE, first, 0
                self._tar.addfile(member)
                return False
        if member.issym():
            member.linkname = _text(files.readlinkat(dirfd, name))
        if not member.isreg():
            self._tar.addfile(member)
            return member.isdir()
        fd = files.openat(dirfd, name, O_RDONLY | O_NOFOLLOW)
        try:
            self._tar.addfile(member, _Content(self._host, fd))
        finally:
            files.close_quietly(fd)
        return False

    def _xattrs(self, dirfd: int, name: bytes) -> dict[str, str]:
        """Extended attributes that are the file's, and not the host's."""
        files = self._files
        found = {}
        try:
            for key in files.listxattrat(dirfd, name, AT_SYMLINK_NOFOLLOW):
                if key not in _HOSTS_OWN:
                    value = files.getxattrat(dirfd, name, key, AT_SYMLINK_NOFOLLOW)
                    found[_XATTR + _text(key)] = _text(value)
        except LinuxError:
            pass  # this file system has none
        return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _member(path: str, stat: Stat) -> tarfile.TarInfo | None:
    """The head of a file; None for a kind that archives of images do not have."""
    kind = _TYPES.get(stat.mode & S_IFMT)
    if kind is None:
        return None
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = stat.mode & 0o7777
    member.uid, member.gid = stat.uid, stat.gid
    member.mtime = stat.mtime // _NS
    member.size = stat.size if kind == tarfile.REGTYPE else 0
    member.devmajor, member.devminor = major(stat.rdev), minor(stat.rdev)
    return member
