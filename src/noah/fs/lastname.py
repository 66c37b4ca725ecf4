"""Names of open files on a host that does not tell them: what they were opened as, as long as that is what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import ELOOP, LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_NOFOLLOW, O_PATH
from noah.abi.limits import MAXSYMLINKS
from noah.abi.stat import S_IFIFO, S_IFMT, S_IFSOCK
from noah.vfs.handle import Handle
from noah.vfs.place import DELETED, join

if TYPE_CHECKING:
    from noah.fs.hostfs import HostTree

_ANONYMOUS: Final = {S_IFIFO: b"pipe", S_IFSOCK: b"socket"}


def last_name(tree: HostTree, handle: Handle, path: bytes) -> bytes:
    """What Linux would call the file that was opened as `path`. One that was moved keeps that name."""
    stat = tree.files.fstat(handle.number)
    if not path.startswith(b"/"):
        kind = _ANONYMOUS.get(stat.mode & S_IFMT)
        return b"%s:[%d]" % (kind, stat.ino) if kind is not None and path in (b"", kind + b":") else path
    if not stat.nlink:
        return path if path.endswith(DELETED) else path + DELETED
    found = locate(tree, handle, path)
    if found is None:
        return path
    return join(tree.guest_path(found[0], path[: path.rfind(b"/")] or b"/"), found[1])


def locate(tree: HostTree, handle: Handle, path: bytes) -> tuple[Handle, bytes] | None:
    """The directory and the name of an open file, if the path that it was opened as still leads to it."""
    files = tree.files
    try:
        directory, name = _follow(tree, path) if tree.trusted else _walk(tree, path)
        if name and files.fstatat(directory.number, name, AT_SYMLINK_NOFOLLOW)[:2] == files.fstat(handle.number)[:2]:
            return directory, name
    except LinuxError:
        pass
    return None


def _walk(tree: HostTree, path: bytes) -> tuple[Handle, bytes]:
    """A path that has no links: it was walked before."""
    handle = tree.handle
    *directories, name = path.removeprefix(tree.mount.path).strip(b"/").split(b"/")
    for directory in directories:
        number = tree.files.openat(handle.number, directory, O_PATH | O_DIRECTORY | O_NOFOLLOW)
        handle = Handle(tree.files, number)
    return handle, name


def _follow(tree: HostTree, path: bytes) -> tuple[Handle, bytes]:
    files = tree.files
    path = tree.host_name(path)
    for _ in range(MAXSYMLINKS):
        head, _, name = path.rpartition(b"/")
        handle = Handle(files, files.openat(AT_FDCWD, head + b"/", O_PATH | O_DIRECTORY))
        try:
            target = files.readlinkat(handle.number, name)
        except LinuxError:
            return handle, name
        path = target if target.startswith(b"/") else head + b"/" + target
    raise LinuxError(ELOOP)
