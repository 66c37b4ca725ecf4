"""`noah pull debian`: from a suite's name to an image."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.errno import LinuxError
from noah.host.console import utc
from noah.image.debian import release as releases
from noah.image.debian import sources
from noah.image.debian.dpkg import Unpacked, md5, trigger_files
from noah.image.debian.package import DebFile
from noah.image.debian.release import Release
from noah.image.debian.resolve import Archive, Package, resolve
from noah.image.debian.sources import Mirror
from noah.image.errors import ImageError, NotFoundError, describe
from noah.image.fetch import Fetcher, Wanted
from noah.image.owners import host_of
from noah.image.store import Image, Record, size_of
from noah.image.unpack import Unpacker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from noah.image.progress import Progress
    from noah.image.store import Store

Run = Callable[[Path, list[bytes], "Mapping[bytes, bytes]", Callable[[bytes], None]], int]
"""Runs a program in a root: root, arguments, environment, who is told each line of output; its exit status."""

ARCHES: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "AMD64": "amd64"}
VARIANTS: Final = ("minbase", "standard", "buildd")
_EXTRA: Final = {"minbase": ["apt"], "standard": ["apt"], "buildd": ["apt", "build-essential"]}
_ROLLING: Final = frozenset({"sid", "unstable", "experimental", "rc-buggy"})
_LIB_LINKS: Final = {"amd64": ["lib64"], "arm64": []}
_FIRST: Final = ("base-passwd", "base-files", "libc6", "dpkg")
_ENVIRON: Final = {
    b"DEBIAN_FRONTEND": b"noninteractive",
    b"DEBCONF_NONINTERACTIVE_SEEN": b"true",
    b"LC_ALL": b"C.UTF-8",
    b"PATH": b"/usr/sbin:/usr/bin:/sbin:/bin",
    b"DPKG_MAINTSCRIPT_DEBUG": b"0",
}
_APT: Final = Path("/etc/apt")
_TAIL: Final = 400  # lines of the scripts' output to look back on
_POLICY: Final = b"#!/bin/sh\n# There is no init system: services are started by whoever wants them.\nexit 101\n"


class Request(NamedTuple):
    """What to make. mirror: "" for the one that the host's own apt uses."""

    suite: str
    arch: str
    variant: str = "minbase"
    include: tuple[str, ...] = ()
    mirror: str = ""
    allow_expired: bool = False
    keyrings: tuple[Path, ...] = ()


class Bootstrap:
    """One pull."""

    def __init__(self, store: Store, request: Request, progress: Progress, run: Run, apt: Path = _APT) -> None:
        """apt: where the host's own apt is configured, if it has one. ImageError."""
        self._store = store
        self._request = request
        self._progress = progress
        self._run = run
        settings = sources.read_settings(apt)
        self._fetch = Fetcher(store, progress, sources.proxies(settings))
        self._dates_count = sources.checks_dates(settings) and not request.allow_expired
        self._mirror = choose(request.mirror, sources.find_mirror(sources.read_sources(apt)))
        keyrings = request.keyrings or (releases.SHIPPED, *(path for path in (releases.HOSTS,) if path.exists()))
        self._keys = releases.read_keys(keyrings)

    def pull(self, names: list[str]) -> tuple[Image, bool]:
        """The image under these names and its codename, and whether it is new. ImageError, OSError for a full disk."""
        request = self._request
        self._progress.note(f"{request.suite}: from {self._mirror.main}")
        found = self._releases()
        codename = found[0][1].codename or request.suite
        names = list(dict.fromkeys([*names, f"debian:{codename}"])) if request.variant == "minbase" else names
        recipe = self._recipe(found)
        for image in self._store.images():
            if image.record.get("origin", {}).get("recipe") == recipe:
                for name in names:
                    self._store.tag(image.id, name)
                return self._store.find(image.id), False
        packages = self._choose_packages(found)
        files = self._download(packages)
        with self._store.work() as work:
            root = work / "rootfs"
            root.mkdir()
            root.chmod(0o755)
            unpacked = self._unpack(root, packages, files)
            self._prepare(root, found, unpacked)
            self._configure(root, unpacked)
            self._tidy(root)
            record: Record = {
                "architecture": request.arch,
                "os": "linux",
                "created": utc(),
                "config": {
                    "Cmd": ["bash"],
                    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                },
                "origin": {
                    "kind": "debian",
                    "recipe": recipe,
                    "mirror": self._mirror.main,
                    "packages": {package.name: package.version for package in packages},
                },
                "size": size_of(self._store.host, root),
            }
            return self._store.add(work, record, names), True

    # The archive

    def _releases(self) -> list[tuple[str, Release]]:
        """The suite's index, and those of its updates as far as there are any."""
        suite = self._request.suite
        main = self._release(self._mirror.main, suite)
        found = [(self._mirror.main, main)]
        codename = main.codename
        if codename in _ROLLING or suite in _ROLLING:
            return found
        wanted = [(self._mirror.main, f"{codename}-updates")]
        if self._mirror.security:
            wanted.append((self._mirror.security, f"{codename}-security"))
        for url, other in wanted:
            try:
                found.append((url, self._release(url, other)))
            except NotFoundError:
                self._progress.note(f"{other}: not at {url}")
        return found

    def _release(self, mirror: str, suite: str) -> Release:
        url = f"{mirror}/dists/{suite}/InRelease"
        release = releases.verify(url, self._fetch.read(url), self._keys)
        releases.check_name(release, suite)
        if self._dates_count:
            releases.check_dates(release, datetime.now(UTC))
        return release

    def _recipe(self, found: list[tuple[str, Release]]) -> str:
        """What decides how the image comes out."""
        request = self._request
        parts = [request.arch, request.variant, *sorted(request.include), self._mirror.main, self._mirror.security]
        parts += [f"{release.fields.get('codename')} {release.fields.get('date')}" for _, release in found]
        parts += [release.files[path][0] for _, release in found if (path := self._index_of(release)) in release.files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _index_of(self, release: Release) -> str:
        return f"main/binary-{self._request.arch}/Packages.xz"

    def _choose_packages(self, found: list[tuple[str, Release]]) -> list[Package]:
        archive = Archive()
        wanted = []
        for _, release in found:
            path = self._index_of(release)
            if path not in release.files:
                raise ImageError(f"{release.url}: there are no packages for {self._request.arch}")
            digest, size = release.files[path]
            directory = f"{release.url.removesuffix('InRelease')}{path.rpartition('/')[0]}"
            name = f"by-hash/SHA256/{digest}" if release.by_hash else "Packages.xz"
            wanted.append(Wanted(f"{directory}/{name}", digest, size))
        self._progress.begin("package lists", sum(each.size for each in wanted))
        for (base, release), file in zip(found, self._fetch.get_all(wanted), strict=True):
            try:
                archive.add(base, lzma.decompress(file.read_bytes()).decode("utf-8", "replace"))
            except lzma.LZMAError as error:
                raise ImageError(f"{release.url}: the list of packages is damaged: {error}") from None
        self._progress.end()
        request = self._request
        core = archive.core(important=request.variant == "standard")
        return resolve(archive, [*core, *_EXTRA[request.variant], *request.include])

    def _download(self, packages: list[Package]) -> list[Path]:
        wanted = []
        for package in packages:
            fields = package.fields
            if not {"filename", "sha256", "size"} <= fields.keys() or not fields["size"].isdigit():
                raise ImageError(f"the list of packages says too little of {package.name}")
            wanted.append(Wanted(f"{package.base}/{fields['filename']}", fields["sha256"], int(fields["size"])))
        self._progress.begin(f"{len(packages)} packages", sum(each.size for each in wanted))
        files = self._fetch.get_all(wanted)
        self._progress.end()
        return files

    # The tree

    def _unpack(self, root: Path, packages: list[Package], files: list[Path]) -> list[Unpacked]:
        unpacker = Unpacker(host_of(self._store.host, root.parent), bytes(root))
        found = []
        try:
            for name in ("bin", "sbin", "lib", *_LIB_LINKS.get(self._request.arch, [])):
                unpacker.mkdir(f"/usr/{name}".encode())
                unpacker.symlink(f"/{name}".encode(), f"usr/{name}".encode())
            self._progress.begin("unpacking", len(files), "packages")
            for package, path in zip(packages, files, strict=True):
                deb = DebFile(path, package.fields["filename"].rpartition("/")[2])
                paths: list[bytes] = []
                control = deb.control()
                if "control" not in control:
                    raise ImageError(f"{deb.name}: a damaged package: it has no control file")
                with deb.data() as tar:
                    unpacker.unpack(tar, deb.name, paths.append)
                found.append(Unpacked(control, paths))
                self._progress.advance(1)
            self._database(root, unpacker, found)
            unpacker.finish()
        except (LinuxError, OSError) as error:
            raise ImageError(f"unpacking: {describe(error)}") from None
        except (KeyError, tarfile.TarError) as error:
            raise ImageError(f"unpacking: a damaged package: {error}") from None
        self._progress.end()
        return found

    def _database(self, root: Path, unpacker: Unpacker, packages: list[Unpacked]) -> None:
        """dpkg's own notes."""

        def place(path: bytes) -> Path:
            return root / path.decode("utf-8", "surrogateescape").lstrip("/")

        def is_file(path: bytes) -> bool:
            return place(path).is_file() and not place(path).is_symlink()

        def digest(path: bytes) -> str:
            return md5(place(path).read_bytes())

        unpacker.write(b"/var/lib/dpkg/info/format", b"1\n")
        status = []
        for package in packages:
            conffiles = {path: digest(path) for path in package.conffiles()}
            digests = {}
            if "md5sums" not in package.control:
                digests = {path: digest(path) for path in package.paths if path not in conffiles and is_file(path)}
            for path, (content, mode) in package.info(digests).items():
                unpacker.write(path, content, mode)
            status.append(package.status(conffiles))
        unpacker.write(b"/var/lib/dpkg/status", b"\n".join([*status, b""]))
        for name in (b"available", b"diversions"):
            unpacker.write(b"/var/lib/dpkg/" + name, b"")
        unpacker.write(b"/var/lib/dpkg/cmethopt", b"apt apt\n")
        unpacker.mkdir(b"/var/lib/dpkg/updates")
        unpacker.mkdir(b"/var/lib/dpkg/triggers")
        for path, content in trigger_files(packages).items():
            unpacker.write(path, content)

    def _prepare(self, root: Path, found: list[tuple[str, Release]], packages: list[Unpacked]) -> None:
        """What debootstrap(8) puts there before scripts can run, and where apt finds the archive."""
        unpacker = Unpacker(host_of(self._store.host, root.parent), bytes(root))
        if any(package.name == "mawk" for package in packages):
            unpacker.symlink(b"/usr/bin/awk", b"mawk")  # base-files asks for it before mawk is configured
        unpacker.write(b"/usr/sbin/policy-rc.d", _POLICY, 0o755)
        unpacker.write(b"/etc/apt/sources.list.d/debian.sources", self._sources(found).encode())
        if not self._dates_count:
            unpacker.write(b"/etc/apt/apt.conf.d/90expired", b'Acquire::Check-Valid-Until "false";\n')
        unpacker.finish()

    def _sources(self, found: list[tuple[str, Release]]) -> str:
        signed = "/usr/share/keyrings/debian-archive-keyring.gpg"
        by_mirror: dict[str, list[str]] = {}
        for base, release in found:
            suite = release.url.rpartition("/dists/")[2].removesuffix("/InRelease")
            by_mirror.setdefault(base, []).append(suite)
        paragraphs = [
            f"Types: deb\nURIs: {base}\nSuites: {' '.join(suites)}\nComponents: main\nSigned-By: {signed}\n"
            for base, suites in by_mirror.items()
        ]
        return "\n".join(paragraphs)

    def _configure(self, root: Path, packages: list[Unpacked]) -> None:
        """Run the packages' scripts in the order of debootstrap(8)."""
        script = root / "var/lib/dpkg/noah-configure"
        script.write_text(_script(packages), "utf-8")
        tail: list[str] = []

        def line(text: bytes) -> None:
            shown = text.decode("utf-8", "replace").rstrip()
            tail.append(shown)
            del tail[:-_TAIL]
            if shown.startswith("Setting up "):
                self._progress.advance(1)

        self._progress.begin("configuring", len(packages), "packages")
        status = self._run(root, [b"/bin/sh", b"/var/lib/dpkg/noah-configure"], _ENVIRON, line)
        if status:
            self._progress.end()
            for shown in tail[-30:]:
                self._progress.note(f"  {shown}")
            raise ImageError(f"configuring the packages failed (exit status {status}); above is what was said last")
        script.unlink()
        self._progress.end()

    def _tidy(self, root: Path) -> None:
        """Traces of the making."""
        for name in (
            "var/lib/dpkg/status-old",
            "var/lib/dpkg/diversions-old",
            "var/log/dpkg.log",
            "var/log/alternatives.log",
        ):
            (root / name).unlink(missing_ok=True)


def _script(packages: list[Unpacked]) -> str:
    """For /bin/sh in the new root."""
    by_name = {package.name: package for package in packages}
    first = [by_name[name] for name in _FIRST if name in by_name]
    lines = ["set -e", "export DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT="]
    for package in [*first, *(package for package in packages if package not in first)]:
        if package.has_preinst:
            arch = package.fields.get("architecture", "")
            lines.append(
                f"DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE={package.name} DPKG_MAINTSCRIPT_ARCH={arch}"
                f" DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 /var/lib/dpkg/info/{package.id}.preinst install"
            )
    for package in first:
        lines.append(f"dpkg --force-depends --configure {package.id}")
    lines.append("dpkg --configure --pending")
    return "\n".join(lines) + "\n"


def choose(mirror: str, own: Mirror) -> Mirror:
    """The mirror named, else the one that the host's own apt uses. ImageError if there is none."""
    main = mirror.rstrip("/") or own.main
    if not main:
        raise ImageError("no mirror of Debian's archive is known here: name one by --mirror URL or $NOAH_DEBIAN_MIRROR")
    return Mirror(main, ("" if mirror else own.security) or sources.beside(main))
