"""Extended attributes: POSIX has none."""

from __future__ import annotations

from noah.abi.errno import EOPNOTSUPP, LinuxError


class PosixXattrs:
    """See noah.host.api.Files."""

    __slots__ = ()

    def fgetxattr(self, fd: int, name: bytes) -> bytes:
        raise LinuxError(EOPNOTSUPP)

    def fsetxattr(self, fd: int, name: bytes, value: bytes, flags: int = 0) -> None:
        raise LinuxError(EOPNOTSUPP)

    def flistxattr(self, fd: int) -> list[bytes]:
        raise LinuxError(EOPNOTSUPP)

    def fremovexattr(self, fd: int, name: bytes) -> None:
        raise LinuxError(EOPNOTSUPP)

    def getxattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> bytes:
        raise LinuxError(EOPNOTSUPP)

    def setxattrat(self, dirfd: int, path: bytes, name: bytes, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        raise LinuxError(EOPNOTSUPP)

    def listxattrat(self, dirfd: int, path: bytes, flags: int = 0) -> list[bytes]:
        raise LinuxError(EOPNOTSUPP)

    def removexattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> None:
        raise LinuxError(EOPNOTSUPP)
