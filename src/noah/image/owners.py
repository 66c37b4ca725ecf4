"""The host as the files of an image or a container need it: with the owners that the guest gave them.

Who owns what, and more, stands in files beside the tree. Those of another version of Noah cannot be used, nor can what
is left of them; the user is told so, in one line that says what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from noah.fs.cow import files_of
from noah.fs.form import OTHER_VERSION, FormError
from noah.image.errors import ImageError, NotFoundError
from noah.image.store import SHORT

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.image.container import Container
    from noah.image.store import Image, Store

_BESIDE: Final = ("copies", "paths", "standins")
"""Beside a container's tree."""


def table_of(host: Host, directory: Path) -> bytes:
    """Where it stands who owns what in directory/rootfs; b"" where the host's root lets the host say it."""
    place = directory / "owners"
    return bytes(place) if host.procs.getresuid()[1] != 0 or place.exists() else b""


def host_of(host: Host, directory: Path, image: Path | None = None) -> Host:
    """The host, its files as they are seen in directory/rootfs. image: what that is a copy of. LinuxError."""
    below = bytes(image) if image is not None else b""
    files = files_of(host, table_of(host, directory), bytes(directory), below)
    return host if files is None else files.host_with()


def host_of_image(store: Store, image: Image, *, owned: bool = False) -> Host:
    """The host, its files as they are seen in an image. owned: it must say who owns what. ImageError, LinuxError."""
    try:
        _check_there(image.directory, "rootfs", owned=owned or bool(table_of(store.host, image.directory)))
        host = host_of(store.host, image.directory)
        store.list_inodes(image)
    except FormError as error:
        names = " ".join(image.names) or image.id[:SHORT]
        remedy = f"'noah rmi {names}' removes it; then get it again"
        raise _unusable(f"image {names.partition(' ')[0]}", error, remedy) from None
    return host


def host_of_container(store: Store, container: Container) -> Host:
    """The host, its files as they are seen in a container. ImageError, LinuxError."""
    remedy = f"'noah rm {container.name}' removes it"
    if container.record.get("unusable"):
        raise _unusable(
            f"container {container.name}", FormError(bytes(container.directory / "container.json"), "damaged"), remedy
        )
    try:
        image = store.find(container.record["image"])
    except NotFoundError:
        raise ImageError(f"container {container.name} has lost its image; {remedy}") from None
    owned = any(table_of(store.host, directory) for directory in (image.directory, container.directory))
    host_of_image(store, image, owned=owned)
    try:
        _check_there(container.directory, "rootfs", *_BESIDE, owned=owned)
        if not (container.directory / "paths").stat().st_size:
            raise FormError(bytes(container.directory / "paths"), "empty")
        return host_of(store.host, container.directory, image.directory)
    except FormError as error:
        raise _unusable(f"container {container.name}", error, remedy) from None


def _check_there(directory: Path, *names: str, owned: bool) -> None:
    """What would be made anew must be there. FormError."""
    for name in (*names, "owners") if owned else names:
        if not (directory / name).exists():
            raise FormError(bytes(directory / name), "missing")


def _unusable(what: str, error: FormError, remedy: str) -> ImageError:
    """The one line about an image or a container with such a file. remedy: what to do about it."""
    if error.why == OTHER_VERSION:
        return ImageError(f"{what} was made by another version of Noah; {remedy}")
    file = error.path.rpartition(b"/")[2].decode("utf-8", "replace")
    return ImageError(f"{what} is damaged, or was made by another version of Noah ({file} is {error.why}); {remedy}")
