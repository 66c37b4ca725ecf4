"""The host as the files of an image or a container need it: with the owners that the guest gave them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noah.fs.owned import OwnedFiles
from noah.fs.ownership import Ownership

if TYPE_CHECKING:
    from noah.host.api import Host


def table_of(host: Host, directory: Path) -> bytes:
    """Where it stands who owns what in directory/rootfs; b"" where the host's root lets the host say it."""
    place = directory / "owners"
    return bytes(place) if host.procs.getresuid()[1] != 0 or place.exists() else b""


def host_of(host: Host, directory: Path) -> Host:
    """The host, its files as they are seen in directory/rootfs. LinuxError."""
    table = table_of(host, directory)
    return OwnedFiles(host, Ownership(host, table)).host_with() if table else host
