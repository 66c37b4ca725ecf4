"""Control messages (cmsg(3)): their layout, and the descriptors in them, which are others on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from noah.abi.errno import EINVAL, ETOOMANYREFS, LinuxError
from noah.abi.socket import SCM_MAX_FD, SCM_RIGHTS, SOL_SOCKET
from noah.abi.sockstructs import Cmsghdr
from noah.vfs.handle import HostFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile

Adopt: TypeAlias = Callable[[int], "OpenFile"]
_HEAD = Cmsghdr.struct
_INT = 4


def parse(caller: Caller, data: bytes) -> list[tuple[int, int, bytes]]:
    """What a guest sends: (level, type, data), descriptors as the host's. EINVAL, EBADF."""
    messages = []
    at = 0
    while at + _HEAD.size <= len(data):
        length, level, kind = _HEAD.unpack_from(data, at)
        if length < _HEAD.size or at + length > len(data):
            raise LinuxError(EINVAL)
        body = data[at + _HEAD.size : at + length]
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            body = _to_host(caller, body)
        messages.append((level, kind, body))
        at += length + 7 & ~7
    return messages


def _to_host(caller: Caller, body: bytes) -> bytes:
    count = len(body) // _INT
    if count > SCM_MAX_FD:
        raise LinuxError(EINVAL)
    host = bytearray()
    for index in range(count):
        fd = int.from_bytes(body[_INT * index : _INT * index + _INT], "little", signed=True)
        file = caller.fds.get(fd)
        if not isinstance(file, HostFile):
            raise LinuxError(ETOOMANYREFS, "files that Noah makes up cannot be sent")
        file.files.settle(file.fd)
        host += file.fd.to_bytes(_INT, "little")
    return bytes(host)


def pack(
    caller: Caller, messages: Sequence[tuple[int, int, bytes]], room: int, adopt: Adopt, *, cloexec: bool
) -> tuple[bytes, bool]:
    """What a guest receives: the bytes for msg_control, and whether something did not fit.

    adopt: makes the file for a host descriptor that came in a message.
    """
    found = bytearray()
    truncated = False
    for level, kind, body in messages:
        space = room - len(found) - _HEAD.size
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            body, cut = _to_guest(caller, body, max(0, space) // _INT, adopt, cloexec=cloexec)
            truncated |= cut
            if not body:
                continue
        if space < 0:
            truncated = True
            break
        if len(body) > space:
            truncated = True
            body = body[:space]
        found += _HEAD.pack(_HEAD.size + len(body), level, kind) + body
        found += bytes(min(-len(body) % 8, room - len(found)))
    return bytes(found), truncated


def _to_guest(caller: Caller, body: bytes, room: int, adopt: Adopt, *, cloexec: bool) -> tuple[bytes, bool]:
    """Install received descriptors; those for which there is no room are closed."""
    guest = bytearray()
    count = len(body) // _INT
    cut = False
    for index in range(count):
        file = adopt(int.from_bytes(body[_INT * index : _INT * index + _INT], "little"))
        if cut or index >= room:
            file.release()
            cut = True
            continue
        try:
            guest += caller.fds.install(file, cloexec=cloexec).to_bytes(_INT, "little")
        except LinuxError:  # EMFILE
            cut = True
    return bytes(guest), cut
