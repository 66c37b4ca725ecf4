"""/proc/PID/mounts and mountinfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import LinuxError
from noah.abi.stat import major, minor

if TYPE_CHECKING:
    from noah.vfs.mounts import Mount
    from noah.vfs.namespace import FsContext


def _escape(text: bytes) -> bytes:
    for char in b"\\ \t\n":
        text = text.replace(bytes((char,)), b"\\%03o" % char)
    return text


def _visible(fs: FsContext) -> list[tuple[Mount, bytes]]:
    """Mounts that the process can reach from its root, with their paths from there."""
    root = fs.root.path
    if root == b"/":
        return [(mount, mount.path) for mount in fs.mounts.all()]
    prefix = root + b"/"
    return [(mount, mount.path[len(root) :]) for mount in fs.mounts.all() if mount.path.startswith(prefix)]


def _options(mount: Mount) -> bytes:
    return (b"ro" if mount.read_only else b"rw") + mount.fs.options + b",relatime"


def mounts(fs: FsContext) -> bytes:
    return b"".join(
        b"%s %s %s %s 0 0\n" % (_escape(mount.fs.source), _escape(path), mount.fs.type, _options(mount))
        for mount, path in _visible(fs)
    )


def mountinfo(fs: FsContext) -> bytes:
    lines = []
    for mount, path in _visible(fs):
        try:
            device = mount.root.place(b"").stat().dev
        except LinuxError:
            device = 0
        parent = mount.under.mount.id if mount.under is not None else 0
        numbers = (mount.id, parent, major(device), minor(device))
        tail = (_escape(path), _options(mount), mount.fs.type, _escape(mount.fs.source), _options(mount)[:2])
        lines.append(b"%d %d %d:%d / %s %s - %s %s %s\n" % (*numbers, *tail))
    return b"".join(lines)


def mountstats(fs: FsContext) -> bytes:
    return b"".join(
        b"device %s mounted on %s with fstype %s\n" % (_escape(mount.fs.source), _escape(path), mount.fs.type)
        for mount, path in _visible(fs)
    )
