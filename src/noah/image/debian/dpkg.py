"""The database that dpkg(1) keeps under /var/lib/dpkg, as it stands when packages are unpacked and not yet configured.

What dpkg writes while it unpacks (src/main/unpack.c, lib/dpkg/dump.c): a paragraph in `status`, files named after the
package in `info`, and who is interested in which triggers. Conffiles are in place already, so dpkg finds no *.dpkg-new
when it configures and keeps the digests that stand in `status`.
"""

from __future__ import annotations

import hashlib
from typing import Final

from noah.image.debian.control import Paragraph, parse

INFO: Final = b"/var/lib/dpkg/info/"
_SCRIPTS: Final = frozenset({"preinst", "postinst", "prerm", "postrm", "config"})
_NOT_KEPT: Final = "control"
_ORDER: Final = (
    ["package", "essential", "protected", "status", "priority", "section", "installed-size", "maintainer"],
    ["architecture", "multi-arch", "source", "version", "replaces", "provides", "depends", "pre-depends"],
    ["recommends", "suggests", "breaks", "conflicts", "enhances", "conffiles", "description"],
)
_FIRST: Final = [name for row in _ORDER for name in row]
_AWAITED: Final = {"interest", "interest-await"}
_NOT_AWAITED: Final = {"interest-noawait"}


class Unpacked:
    """A package whose files are in the tree."""

    def __init__(self, control: dict[str, tuple[bytes, int]], paths: list[bytes]) -> None:
        """control: the files about the package; paths: its files, `/` first."""
        self.control = control
        self.paths = paths
        self.fields: Paragraph = parse(control["control"][0].decode("utf-8", "replace"))
        self.name = self.fields["package"]
        arch = self.fields.get("architecture", "")
        self.id = f"{self.name}:{arch}" if self.fields.get("multi-arch") == "same" else self.name
        """How the database names it."""

    @property
    def has_preinst(self) -> bool:
        return "preinst" in self.control

    def conffiles(self) -> list[bytes]:
        """Paths; not those that a new version shall remove."""
        text = self.control.get("conffiles", (b"", 0))[0]
        return [line.strip() for line in text.split(b"\n") if line.strip().startswith(b"/")]

    def info(self, digests: dict[bytes, str]) -> dict[bytes, tuple[bytes, int]]:
        """Content and mode of the files in `info`. digests: MD5 by path, for a package that brings none."""
        base = INFO + self.id.encode()
        listed = b"".join((path if path != b"/" else b"/.") + b"\n" for path in self.paths)
        found = {base + b".list": (listed, 0o644)}
        for name, (content, mode) in self.control.items():
            if name != _NOT_KEPT:
                found[base + b"." + name.encode()] = (content, mode if name in _SCRIPTS else 0o644)
        if "md5sums" not in self.control and digests:
            lines = [f"{digests[path]}  ".encode() + path[1:] + b"\n" for path in self.paths if path in digests]
            found[base + b".md5sums"] = (b"".join(lines), 0o644)
        return found

    def interests(self) -> list[tuple[bytes, bytes]]:
        """Triggers and the words that say who wants them."""
        found = []
        for line in self.control.get("triggers", (b"", 0))[0].decode("utf-8", "replace").split("\n"):
            parts = line.partition("#")[0].split()
            if len(parts) == 2 and parts[0] in _AWAITED | _NOT_AWAITED:
                suffix = "/noawait" if parts[0] in _NOT_AWAITED else ""
                found.append((parts[1].encode(), f"{self.id}{suffix}".encode()))
        return found

    def status(self, conffiles: dict[bytes, str]) -> bytes:
        """The paragraph in `status`. conffiles: MD5 by path."""
        fields = dict(self.fields)
        fields["status"] = "install ok unpacked"
        if conffiles:
            fields["conffiles"] = "".join(f"\n {path.decode()} {digest}" for path, digest in conffiles.items())
        names = [name for name in _FIRST if name in fields] + [name for name in fields if name not in _FIRST]
        return "".join(f"{_spelt(name)}:{_value(fields[name])}\n" for name in names).encode()


def _spelt(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _value(value: str) -> str:
    return value if value.startswith("\n") else f" {value}"


def trigger_files(packages: list[Unpacked]) -> dict[bytes, bytes]:
    """The files under /var/lib/dpkg/triggers."""
    by_file: list[bytes] = []
    named: dict[bytes, list[bytes]] = {}
    for package in packages:
        for trigger, who in package.interests():
            if trigger.startswith(b"/"):
                by_file.append(trigger + b" " + who + b"\n")
            else:
                named.setdefault(trigger, []).append(who + b"\n")
    found = {b"/var/lib/dpkg/triggers/" + trigger: b"".join(lines) for trigger, lines in named.items()}
    if by_file:
        found[b"/var/lib/dpkg/triggers/File"] = b"".join(by_file)
    return found


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
