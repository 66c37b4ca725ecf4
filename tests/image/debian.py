"""A small archive of Debian's kind, made by the test: packages, indices, a signature."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from pathlib import Path
from typing import Final

from pysequoia import SignatureMode, Tsk, sign

DATE: Final = "Sat, 01 Jan 2028 00:00:00 UTC"


class Deb:
    """What a package is made of."""

    def __init__(self, name: str, fields: dict[str, str] | None = None, files: dict[str, bytes] | None = None) -> None:
        base = {"Package": name, "Version": "1.0", "Architecture": "amd64", "Maintainer": "Tests", "Description": name}
        self.fields = base | (fields or {})
        self.name = name
        self.files = files or {}
        self.links: dict[str, str] = {}
        self.control: dict[str, bytes] = {}
        self.compression = "xz"

    def paragraph(self) -> str:
        return "".join(f"{name}: {value}\n" for name, value in self.fields.items())

    def build(self) -> bytes:
        control = {"control": self.paragraph().encode(), **self.control}
        members = [("debian-binary", b"2.0\n")]
        members.append((f"control.tar.{self.compression}", self._tar(control, {}, mode=0o755)))
        members.append((f"data.tar.{self.compression}", self._tar(self.files, self.links)))
        return ar(members)

    def _tar(self, files: dict[str, bytes], links: dict[str, str], mode: int = 0o644) -> bytes:
        data = tar_of(files, links, mode=mode)
        if self.compression == "xz":
            return lzma.compress(data, preset=0)
        if self.compression == "zst":
            from backports import zstd

            return zstd.compress(data)
        import gzip

        return gzip.compress(data)


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None, mode: int = 0o644) -> bytes:
    """A tar archive as dpkg-deb writes it: `./` first, each directory before what is in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        seen = set()

        def directory(path: str) -> None:
            if path in seen:
                return
            if path != ".":
                directory(path.rpartition("/")[0])
            seen.add(path)
            member = tarfile.TarInfo(path + "/")
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, 1_000_000
            tar.addfile(member)

        directory(".")
        for name, content in files.items():
            directory(f"./{name}".rpartition("/")[0])
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode, member.mtime = len(content), mode, 1_000_000
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            directory(f"./{name}".rpartition("/")[0])
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.linkname, member.mode, member.mtime = tarfile.SYMTYPE, target, 0o777, 1_000_000
            tar.addfile(member)
    return buffer.getvalue()


def ar(members: list[tuple[str, bytes]]) -> bytes:
    """ar(5)."""
    found = b"!<arch>\n"
    for name, content in members:
        found += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        found += content + b"\n" * (len(content) % 2)
    return found


class Mirror:
    """An archive in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = Tsk.generate("Archive <archive@example.org>")
        self.keyring = directory.parent / "keyring.asc"
        self.keyring.parent.mkdir(exist_ok=True)
        self.keyring.write_text(str(self.key.extract_certificate()))

    @property
    def url(self) -> str:
        return self.directory.as_uri()

    def publish(self, suite: str, debs: list[Deb], **fields: str) -> None:
        """Write packages, index and signed release."""
        entries = []
        for deb in debs:
            content = deb.build()
            path = f"pool/{deb.name}_{deb.fields['Version']}.deb"
            self._write(path, content)
            digest = hashlib.sha256(content).hexdigest()
            entries.append(f"{deb.paragraph()}Filename: {path}\nSize: {len(content)}\nSHA256: {digest}\n")
        index = lzma.compress("\n".join(entries).encode(), preset=0)
        self._write(f"dists/{suite}/main/binary-amd64/Packages.xz", index)
        base = {"Origin": "Tests", "Suite": suite, "Codename": suite, "Date": DATE}
        digest = hashlib.sha256(index).hexdigest()
        release = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in (base | fields).items())
        release += f"SHA256:\n {digest} {len(index)} main/binary-amd64/Packages.xz\n"
        self._write(f"dists/{suite}/InRelease", self.sign(release))

    def sign(self, text: str) -> bytes:
        return sign(self.key.signer(), text.encode(), mode=SignatureMode.CLEAR)

    def _write(self, path: str, content: bytes) -> None:
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
