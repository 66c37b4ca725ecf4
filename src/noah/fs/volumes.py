"""Directories of the host that a guest is shown beside its root, where the host user cannot give files away.

What belongs to that user belongs to the guest's root, and what is others' is nobody's: as in the containers of ordinary
users elsewhere (user_namespaces(7), with one user mapped). Other owners that the guest's root gives to files there, and
modes that the host user must not have, are kept by file system, for all containers: see noah.fs.ownership.

The host's own programs work on these files, too. They may remove one and make another with its inode number, or change
a mode: what was kept counts only as long as the mode on the host is the one that Noah left there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EEXIST, EPERM, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_PATH, R_OK, W_OK
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT
from noah.fs.owned import OwnedFiles
from noah.fs.ownership import Override, Ownership
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.fs.ownedattr import Asker
    from noah.host.api import Host
    from noah.host.values import Stat

_NOBODY: Final = 65534  # overflowuid, overflowgid: proc_sys_kernel(5)


class VolumeFiles(OwnedFiles):
    """A noah.host.api.Files over another one, for the files of one host file system."""

    def __init__(self, host: Host, owners: Ownership) -> None:
        super().__init__(host, owners)
        self._uid, self._gid = host.procs.getresuid()[1], host.procs.getresgid()[1]

    def _shown(self, stat: Stat) -> Stat:
        if stat.uid == self._uid and self._kept(stat) is not None:
            return super()._shown(stat)
        return stat._replace(uid=0 if stat.uid == self._uid else _NOBODY, gid=0 if stat.gid == self._gid else _NOBODY)

    def _override(self, stat: Stat) -> Override:
        return self._kept(stat) or Override(0, 0, stat.mode)

    def _kept(self, stat: Stat) -> Override | None:
        """The override of a file, if the host has not made another of it. stat: the host's, or as it is shown."""
        own = self.owners.get(stat.ino)
        if own is None or stat.mode == own.mode or own.attributes:  # the mode of one with an access list says less
            return own
        kind = own.mode & S_IFMT
        mode = own.mode & 0o777 | (0o700 if kind == S_IFDIR else 0o600)
        return own if stat.mode & (S_IFMT | 0o777) == kind | mode else None

    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None:
        if mode & S_IFMT in (S_IFCHR, S_IFBLK):
            raise LinuxError(EPERM, "no device nodes among the host's files")
        super().mknodat(dirfd, path, mode, dev)

    def _chown(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int) -> None:
        if self._files.fstatat(dirfd, path, flags).uid != self._uid:
            raise LinuxError(EPERM, "a file of another user of the host")
        super()._chown(dirfd, path, uid, gid, flags)


class Volumes:
    """The views of all directories that a box is shown."""

    def __init__(self, host: Host, directory: bytes) -> None:
        """directory: of the tables."""
        self._host = host
        self._directory = directory
        self._views: dict[bytes, VolumeFiles] = {}

    def host_for(self, path: bytes) -> Host:
        """The host, its files as they are seen below a path. LinuxError."""
        files = self._host.files
        handle = Handle(files, files.openat(AT_FDCWD, path, O_PATH))
        name = b"%x" % (files.fstatfs(handle.number).fsid or files.fstat(handle.number).dev)
        if name not in self._views:
            self._views[name] = VolumeFiles(self._host, self._table(self._directory + b"/" + name))
        return self._views[name].host_with()

    def _table(self, path: bytes) -> Ownership:
        """A new one is there as a whole or not at all: others may open it at this moment."""
        files = self._host.files
        try:
            files.faccessat(AT_FDCWD, path, R_OK | W_OK)
        except LinuxError:
            fresh = path + b"." + self._host.rng.getrandom(8).hex().encode()
            Ownership(self._host, fresh)
            try:
                files.linkat(AT_FDCWD, fresh, AT_FDCWD, path)
            except LinuxError as error:
                if error.errno != EEXIST:
                    raise
            finally:
                files.unlinkat(AT_FDCWD, fresh)
        return Ownership(self._host, path)

    def ask_for(self, asker: Asker) -> None:
        """Whom the files are shown to from now on."""
        for files in self._views.values():
            files.asker = asker
