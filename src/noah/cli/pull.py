"""`noah pull`: get an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from noah.cli.main import say
from noah.cli.parse import Option, Parsed, UsageError, parse_all
from noah.cli.run import HELP
from noah.cli.trouble import told
from noah.util.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from noah.image.debian.bootstrap import Bootstrap
    from noah.image.oci.source import Source
    from noah.image.progress import Progress
    from noah.image.store import Image, Store

_OPTIONS: Final = (
    HELP,
    Option("--quiet", "-q"),
    Option("--arch", metavar="amd64|arm64"),
    Option("--variant", metavar="minbase|standard|buildd"),
    Option("--include", metavar="PACKAGE,..."),
    Option("--mirror", metavar="URL"),
    Option("--keyring", metavar="FILE"),
    Option("--allow-expired"),
    Option("--name", metavar="NAME"),
    Option("--tls-verify", metavar="true|false", optional=True),
)
_DEBIAN_ONLY: Final = ("--variant", "--include", "--mirror", "--keyring", "--allow-expired")
_DOCKER: Final = "docker://"
_ROOTFS: Final = "rootfs:"
_FILES: Final = ("oci:", "oci-archive:", "docker-archive:", _ROOTFS)


@told
def pull(words: list[bytes]) -> int:
    """`noah pull SOURCE`."""
    parsed = parse_all(words, _OPTIONS)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.PULL)
    if len(parsed.words) != 1:
        raise UsageError("name one image, such as debian:bookworm" if not parsed.words else "name one image at a time")
    source = printable(parsed.words[0])
    _check(source, parsed)

    from noah.cli.progress import Display
    from noah.host.select import make_host
    from noah.image.store import open_store

    store = open_store(make_host())
    quiet = parsed.has("--quiet")
    image, name = get(store, source, parsed, Display(quiet=quiet))
    return say(f"{image.id}\n" if quiet else f"{name}\n")


def is_source(text: str) -> bool:
    """Whether a name says where an image comes from, and not just what it is called."""
    return text.startswith((_DOCKER, *_FILES))


def name_in_store(source: str) -> str:
    """What an image from there is called; "" if that is not known before it is looked at."""
    if not source.startswith(_DOCKER):
        return ""
    from noah.image.oci.reference import parse

    return parse(source.removeprefix(_DOCKER)).name


def _check(source: str, parsed: Parsed) -> None:
    """UsageError for what is no source, or has options that it does not know."""
    is_debian = source.partition(":")[0] == "debian"
    if not is_debian and not is_source(source):
        raise UsageError(f"'{source}' is not a source of images; write docker://{source} for one of a registry")
    for option in _DEBIAN_ONLY:
        if parsed.has(option) and not is_debian:
            raise UsageError(f"option {option} is for debian only")
    if parsed.has("--tls-verify"):
        _one_of("--tls-verify", printable(parsed.last("--tls-verify")), ("true", "false"))


def get(store: Store, source: str, parsed: Parsed, progress: Progress) -> tuple[Image, str]:
    """The image from a source, and what it is called. ImageError, UsageError."""
    if not is_source(source):
        image = _debian(store, source, parsed, progress)
        return image, image.names[0]
    name = printable(parsed.last("--name"))
    names = [name] if name else []
    if source.startswith(_ROOTFS):
        from noah.image import rootfs
        from noah.image.oci.layout import name_of

        path = Path(source.removeprefix(_ROOTFS))
        names = names or [name_of(path, "")]
        image, fresh = rootfs.pull(store, path, names, progress)
    else:
        from noah.image.oci.pull import Pull

        found = _source(store, source, parsed, progress)
        image, fresh = Pull(store, found, progress).pull(names, _arch(store, parsed), exactly=parsed.has("--arch"))
        names = names or found.names
    progress.note(f"{names[0]}: {'made' if fresh else 'is up to date'}")
    return image, names[0]


def _source(store: Store, text: str, parsed: Parsed, progress: Progress) -> Source:
    if text.startswith(_DOCKER):
        from noah.image.oci.reference import parse
        from noah.image.oci.registry import Registry

        plain = parsed.last("--tls-verify") == b"false"
        return Registry(store, parse(text.removeprefix(_DOCKER)), progress, plain=plain)
    from noah.image.oci.layout import ArchiveTree, DirectoryTree, DockerArchive, OciLayout, split

    kind, _, rest = text.partition(":")
    path, name = split(rest)
    tree = ArchiveTree(path, store) if kind != "oci" else DirectoryTree(path)
    return DockerArchive(tree, path, name) if kind == "docker-archive" else OciLayout(tree, path, name, kind)


def machine(store: Store) -> str:
    """The architecture of this machine."""
    from noah.image.debian.bootstrap import ARCHES

    return ARCHES.get(store.host.procs.uname().machine.decode(), "amd64")


def _arch(store: Store, parsed: Parsed) -> str:
    from noah.image.debian.bootstrap import ARCHES

    arch = printable(parsed.last("--arch")) or machine(store)
    _one_of("--arch", arch, tuple(dict.fromkeys(ARCHES.values())))
    return arch


def _debian(store: Store, source: str, parsed: Parsed, progress: Progress) -> Image:
    from noah.image.debian.bootstrap import VARIANTS, Bootstrap, Request
    from noah.image.store import DOWNLOADS

    suite = source.partition(":")[2]
    variant = printable(parsed.last("--variant", b"minbase"))
    _one_of("--variant", variant, VARIANTS)
    include = printable(b",".join(parsed.all("--include"))).replace(",", " ").split()
    keyrings = tuple(Path(printable(path)) for path in parsed.all("--keyring"))
    mirror = printable(parsed.last("--mirror")) or _variable(store, b"NOAH_DEBIAN_MIRROR")
    arch = _arch(store, parsed)
    request = Request(suite or "stable", arch, variant, tuple(include), mirror, parsed.has("--allow-expired"), keyrings)
    name = printable(parsed.last("--name")) or f"debian:{suite or 'latest'}"
    with store.lock(DOWNLOADS, shared=True):  # nobody throws away what is fetched
        with store.lock(f"pull {name}", wait=False) as free:
            if free:
                return _bootstrap(Bootstrap(store, request, progress, _runner), name, progress)
        progress.note(f"another process pulls {name}: waiting for it")
        with store.lock(f"pull {name}"):
            return _bootstrap(Bootstrap(store, request, progress, _runner), name, progress)


def _bootstrap(bootstrap: Bootstrap, name: str, progress: Progress) -> Image:
    image, fresh = bootstrap.pull([name])
    progress.note(f"{name}: {'made' if fresh else 'is up to date'}")
    return image


def _runner(root: Path, argv: list[bytes], environ: Mapping[bytes, bytes], line: Callable[[bytes], None]) -> int:
    """Run a program in a root."""
    from noah.api import Options, run_beside
    from noah.host.select import make_host
    from noah.image.owners import table_of

    options = Options()
    options.root = bytes(root)
    options.owners = table_of(make_host(), root.parent)
    options.user = b"0"
    options.environ = dict(environ)
    return run_beside(argv, options, line)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} '{value}': choose one of {', '.join(choices)}")


def _variable(store: Store, name: bytes) -> str:
    return printable(store.host.procs.environ().get(name, b""))
