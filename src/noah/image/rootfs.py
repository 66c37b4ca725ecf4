"""`noah pull rootfs:TARBALL`: an archive of a root file system as an image."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from noah.abi.errno import LinuxError
from noah.host.console import utc
from noah.image.errors import ImageError, NotFoundError, describe
from noah.image.inside import Inside
from noah.image.oci.source import Hashed
from noah.image.owners import host_of
from noah.image.store import Image, Record, full_name, size_of
from noah.image.streams import decompressed
from noah.image.unpack import Unpacker

if TYPE_CHECKING:
    from noah.image.progress import Progress
    from noah.image.store import Store

_BLOCK: Final = 1 << 18
_SHELLS: Final = (b"/bin/bash", b"/bin/sh")
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SIGNS: Final = ("bin", "etc", "usr")
_MACHINES: Final = {62: "amd64", 183: "arm64"}  # EM_X86_64, EM_AARCH64 (elf(5))


def pull(store: Store, archive: Path, names: list[str], progress: Progress) -> tuple[Image, bool]:
    """The image under these names, and whether it is new. ImageError, OSError for a full disk."""
    for name in names:
        full_name(name)
    try:
        size = archive.stat().st_size
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{archive}: {(error.strerror or str(error)).lower()}") from None
    with store.lock(f"pull {digest}"):
        try:
            store.find(digest)
        except NotFoundError:
            progress.begin("unpacking", size)
            return _make(store, archive, digest, names, progress), True
        for name in names:
            store.tag(digest, name)
        return store.find(digest), False


def _make(store: Store, archive: Path, digest: str, names: list[str], progress: Progress) -> Image:
    with store.work() as work:
        root = work / "rootfs"
        root.mkdir()
        root.chmod(0o755)
        host = host_of(store.host, work)
        unpacker = Unpacker(host, bytes(root))
        try:
            with archive.open("rb") as raw:
                counted = Hashed(raw, progress.advance)
                with decompressed(counted, str(archive)) as plain:
                    stream = cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", plain), _BLOCK))
                    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, errors="surrogateescape") as tar:
                        unpacker.unpack(tar, str(archive))
                counted.check(f"sha256:{digest}", str(archive))
        except tarfile.TarError as error:
            raise ImageError(f"{archive}: not a tar archive: {error}") from None
        except (LinuxError, OSError) as error:
            raise ImageError(f"{archive}: {describe(error)}") from None
        unpacker.finish()
        progress.end()
        _lift(root, work)
        inside = Inside(host, bytes(root))
        shells = [path for path in _SHELLS if inside.read(path) is not None]
        if not shells:
            raise ImageError(f"{archive}: not a root file system: it has no /bin/sh")
        record: Record = {
            "architecture": _machine(inside.read(shells[0]) or b""),
            "os": "linux",
            "created": utc(),
            "config": {"Cmd": [shells[0].decode()], "Env": [_PATH]},
            "origin": {"kind": "rootfs", "source": str(archive.absolute()), "time": utc()},
            "size": size_of(store.host, root),
        }
        return store.add(work, record, names, digest)


def _lift(root: Path, work: Path) -> None:
    """Archives such as Arch's have the root in a directory of its own."""
    found = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    if len(found) == 1 and found[0].name not in _SIGNS and any((found[0] / name).is_dir() for name in _SIGNS):
        found[0].rename(work / "lifted")
        root.rename(work / "around")
        (work / "lifted").rename(root)


def _machine(program: bytes) -> str:
    return _MACHINES.get(int.from_bytes(program[18:20], "little"), "") if program.startswith(b"\x7fELF") else ""
