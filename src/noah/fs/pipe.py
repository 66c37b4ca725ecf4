"""Pipes (pipe(7)): the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.fcntl import O_RDONLY, O_WRONLY
from noah.fs.handle import Handle
from noah.fs.hostfs import anonymous
from noah.fs.stream import StreamFile

if TYPE_CHECKING:
    from noah.vfs.caller import Caller


def make_pipe(caller: Caller, flags: int) -> tuple[StreamFile, StreamFile]:
    """flags: O_NONBLOCK, O_DIRECT. The read end and the write end."""
    files = caller.host.files
    read_end, write_end = files.pipe(flags)
    tree = anonymous(caller.fs.mounts)
    return (
        StreamFile(tree, Handle(files, read_end), b"pipe:", O_RDONLY | flags),
        StreamFile(tree, Handle(files, write_end), b"pipe:", O_WRONLY | flags),
    )
