"""Files in memory without a name (memfd_create(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.fcntl import O_LARGEFILE, O_RDWR
from noah.fs.hostfile import RegularFile
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.vfs.caller import Caller


def make_memory_file(caller: Caller, name: bytes, flags: int) -> RegularFile:
    """flags: MFD_*."""
    tree = caller.fs.mounts.anonymous
    handle = Handle(tree.files, caller.host.files.memfd_create(name, flags))
    return RegularFile(tree, handle, b"/memfd:" + name + b" (deleted)", O_RDWR | O_LARGEFILE)
