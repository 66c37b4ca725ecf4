"""Pipes (pipe(7)): the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.fcntl import O_RDONLY, O_WRONLY
from noah.vfs.handle import Handle
from noah.vfs.stream import StreamFile

if TYPE_CHECKING:
    from noah.vfs.caller import Caller


def make_pipe(caller: Caller, flags: int) -> tuple[StreamFile, StreamFile]:
    """flags: O_NONBLOCK, O_DIRECT. The read end and the write end."""
    files = caller.host.files
    read_end, write_end = files.pipe(flags)
    tree = caller.fs.mounts.anonymous
    return (
        StreamFile(tree, Handle(files, read_end), b"pipe:", O_RDONLY | flags),
        StreamFile(tree, Handle(files, write_end), b"pipe:", O_WRONLY | flags),
    )
