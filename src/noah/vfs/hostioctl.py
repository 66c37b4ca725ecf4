"""Requests of ioctl(2) that the host answers as they are: their numbers and structures are Linux' everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi import ioctl as cmd
from noah.abi.errno import ENOTTY, EOPNOTSUPP, EROFS, LinuxError
from noah.abi.structs import FileCloneRange

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.handle import HostFile

_INT: Final = 4
_LONG: Final = 8
_IFREQ: Final = 40

# Bytes of the argument. Those whose number does not tell are listed with their size.
_SIZES: Final[dict[int, int]] = {
    cmd.FIGETBSZ: _INT,
    cmd.FIOQSIZE: _LONG,
    cmd.FS_IOC_GETFLAGS: _LONG,  # the number says long, kernels and programs take an int
    cmd.FS_IOC_SETFLAGS: _LONG,
    cmd.FS_IOC_GETVERSION: _LONG,
    cmd.FS_IOC_FSGETXATTR: 28,
    cmd.FS_IOC_FSSETXATTR: 28,
    cmd.FS_IOC_GETFSLABEL: 256,
    cmd.BLKROGET: _INT,
    cmd.BLKGETSIZE: _LONG,
    cmd.BLKRAGET: _LONG,
    cmd.BLKSSZGET: _INT,
    cmd.BLKBSZGET: _LONG,
    cmd.BLKGETSIZE64: _LONG,
    cmd.BLKIOMIN: _INT,
    cmd.BLKIOOPT: _INT,
    cmd.BLKALIGNOFF: _INT,
    cmd.BLKPBSZGET: _INT,
    cmd.BLKDISCARDZEROES: _INT,
    cmd.BLKROTATIONAL: 2,
    cmd.RNDGETENTCNT: _INT,
    cmd.SIOCATMARK: _INT,
    cmd.SIOCOUTQ: _INT,
    cmd.SIOCGIFNAME: _IFREQ,
    cmd.SIOCGIFFLAGS: _IFREQ,
    cmd.SIOCGIFADDR: _IFREQ,
    cmd.SIOCGIFDSTADDR: _IFREQ,
    cmd.SIOCGIFBRDADDR: _IFREQ,
    cmd.SIOCGIFNETMASK: _IFREQ,
    cmd.SIOCGIFMETRIC: _IFREQ,
    cmd.SIOCGIFMTU: _IFREQ,
    cmd.SIOCGIFHWADDR: _IFREQ,
    cmd.SIOCGIFINDEX: _IFREQ,
    cmd.SIOCGIFTXQLEN: _IFREQ,
    cmd.SIOCGIFMAP: _IFREQ,
}
_CHANGING: Final = (cmd.FS_IOC_SETFLAGS, cmd.FS_IOC_FSSETXATTR)  # a descriptor for reading is enough for these
KNOWN: Final = frozenset(_SIZES) | {cmd.FICLONE, cmd.FICLONERANGE}
"""For the others ENOTTY is not Linux' answer, but Noah's."""


def host_ioctl(file: HostFile, caller: Caller, request: int, argument: int) -> int:
    """ENOTTY for what is not known to be safe to pass on."""
    ttys = caller.host.ttys
    if request == cmd.FICLONE:
        return ttys.ioctl_passthrough(file.fd, request, _host_fd(caller, argument))
    if request == cmd.FICLONERANGE:
        size = FileCloneRange.struct.size
        fd, *rest = FileCloneRange.struct.unpack(caller.mem.read(argument, size))
        return ttys.ioctl_passthrough(
            file.fd, request, bytearray(FileCloneRange.struct.pack(_host_fd(caller, fd), *rest))
        )
    if request in _CHANGING:
        if file.tree.mount.read_only:
            raise LinuxError(EROFS)
        is_lent = getattr(file.files, "is_lent", None)  # noah.fs.cow
        if is_lent is not None and is_lent(file.fd):
            raise LinuxError(EOPNOTSUPP, "flags of a file that the image has, too")
    length = _SIZES.get(request)
    if length is None:
        raise LinuxError(ENOTTY)
    buffer = bytearray(caller.mem.read(argument, length))
    before = bytes(buffer)
    result = ttys.ioctl_passthrough(file.fd, request, buffer)
    if buffer != before:
        caller.mem.write(argument, buffer)
    return result


def _host_fd(caller: Caller, fd: int) -> int:
    """A descriptor in an argument as the host's. -1, which is EBADF there too, for what has none."""
    return caller.fds.get(fd & 0xFFFF_FFFF).poll_fd
