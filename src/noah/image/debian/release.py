"""InRelease: what an archive says of itself, and the signature that makes it believable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.image.debian.control import Paragraph, parse, words
from noah.image.errors import ImageError

if TYPE_CHECKING:
    from pysequoia import Cert

SHIPPED: Final = Path(__file__).with_name("keyring.asc")
HOSTS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""The host's own copy, which it may keep more current than Noah's."""


class Release(NamedTuple):
    """What the signed text says."""

    url: str
    fields: Paragraph
    files: dict[str, tuple[str, int]]  # SHA-256 and size by path

    @property
    def by_hash(self) -> bool:
        return self.fields.get("acquire-by-hash", "").lower() == "yes"

    @property
    def codename(self) -> str:
        return self.fields.get("codename", "")


def read_keys(paths: Sequence[Path]) -> list[Cert]:
    """Certificates out of keyrings, armored or not. ImageError."""
    from pysequoia import Cert  # 10 MB: not before it is needed

    found = []
    for path in paths:
        try:
            found += Cert.split_bytes(path.read_bytes())
        except OSError as error:
            raise ImageError(f"keyring {path}: {error.strerror}") from None
        except RuntimeError:
            raise ImageError(f"keyring {path}: not a keyring of OpenPGP") from None
    return found


def verify(url: str, data: bytes, keys: list[Cert]) -> Release:
    """The release that InRelease's text is, if one of the keys has signed it. ImageError."""
    import pysequoia

    try:
        signed = pysequoia.verify(data, store=lambda ids: keys).bytes or b""
    except Exception as error:  # pysequoia raises whatever suits it
        why = str(error).split("\n", 1)[0].lower().removesuffix(".").removeprefix("signature verification failed: ")
        raise ImageError(f"{url}: wrong signature: {why}; nothing of it is used") from None
    fields = parse(signed.decode("utf-8", "replace"))
    files = {}
    for line in fields.get("sha256", "").split("\n"):
        if len(parts := words(line)) == 3 and parts[1].isdigit():
            files[parts[2]] = (parts[0], int(parts[1]))
    return Release(url, fields, files)


def check_dates(release: Release, now: datetime) -> None:
    """ImageError for one that has expired: a mirror that is not kept, or one that somebody replays."""
    until = release.fields.get("valid-until", "")
    if not until:
        return
    try:
        over = parsedate_to_datetime(until) < now
    except ValueError:
        raise ImageError(f"{release.url}: Valid-Until is no date: {until}") from None
    if over:
        raise ImageError(f"{release.url}: expired on {until}; --allow-expired accepts it all the same")


def check_name(release: Release, suite: str) -> None:
    """ImageError if what is signed is another suite than the one that was asked for."""
    names = {release.fields.get("suite"), release.fields.get("codename")}
    if suite not in names:
        shown = " or ".join(sorted(name for name in names if name))
        raise ImageError(f"{release.url}: this is the index of {shown}, not of {suite}")
