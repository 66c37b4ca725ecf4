"""The host as the files of an image or a container need it: with the owners that the guest gave them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noah.fs.cow import files_of

if TYPE_CHECKING:
    from noah.host.api import Host


def table_of(host: Host, directory: Path) -> bytes:
    """Where it stands who owns what in directory/rootfs; b"" where the host's root lets the host say it."""
    place = directory / "owners"
    return bytes(place) if host.procs.getresuid()[1] != 0 or place.exists() else b""


def host_of(host: Host, directory: Path, image: Path | None = None) -> Host:
    """The host, its files as they are seen in directory/rootfs. image: what that is a copy of. LinuxError."""
    below = bytes(image) if image is not None else b""
    files = files_of(host, table_of(host, directory), bytes(directory), below)
    return host if files is None else files.host_with()
