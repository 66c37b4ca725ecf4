"""Files of a host directory that is a file system of its own to the guest.

Stands between a file system and the host's Files. Programs compare st_dev to learn what is beside what: rename(2) and
link(2) work within one number, and a data base takes files on the device of /dev/shm for memory. So all that tells of
the file system says the same: stat(2), statx(2), statfs(2), and by way of them /proc/PID/maps and mountinfo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from noah.host.api import Files, Host
    from noah.host.values import Stat, Statfs


class ApartFiles:
    """A noah.host.api.Files over another one. What is not said here is the other's."""

    def __init__(self, host: Host, device: int, magic: int) -> None:
        """device: st_dev; magic: f_type."""
        self._host = host
        self._files = host.files
        self._device = device
        self._magic = magic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def host_with(self) -> Host:
        """The host with these files."""
        return self._host._replace(files=cast("Files", self))

    def fstat(self, fd: int) -> Stat:
        return self._files.fstat(fd)._replace(dev=self._device)

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        return self._files.fstatat(dirfd, path, flags)._replace(dev=self._device)

    def fstatfs(self, fd: int) -> Statfs:
        return self._files.fstatfs(fd)._replace(type=self._magic, fsid=self._device)
