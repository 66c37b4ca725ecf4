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
)


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

    from noah.cli.progress import Display
    from noah.host.select import make_host
    from noah.image.store import open_store

    store = open_store(make_host())
    quiet = parsed.has("--quiet")
    image = _pull(store, source, parsed, Display(quiet=quiet))
    return say(f"{image.id}\n" if quiet else f"{image.names[0]}\n")


def _pull(store: Store, source: str, parsed: Parsed, progress: Progress) -> Image:
    repository, _, suite = source.partition(":")
    if repository != "debian":
        raise UsageError(f"'{source}' is not a source of images; such as debian:bookworm")
    from noah.image.debian.bootstrap import ARCHES, VARIANTS, Bootstrap, Request

    arch = printable(parsed.last("--arch")) or ARCHES.get(store.host.procs.uname().machine.decode(), "amd64")
    variant = printable(parsed.last("--variant", b"minbase"))
    _one_of("--arch", arch, tuple(dict.fromkeys(ARCHES.values())))
    _one_of("--variant", variant, VARIANTS)
    include = printable(b",".join(parsed.all("--include"))).replace(",", " ").split()
    keyrings = tuple(Path(printable(path)) for path in parsed.all("--keyring"))
    mirror = printable(parsed.last("--mirror")) or _variable(store, b"NOAH_DEBIAN_MIRROR")
    request = Request(suite or "stable", arch, variant, tuple(include), mirror, parsed.has("--allow-expired"), keyrings)
    name = printable(parsed.last("--name")) or f"debian:{suite or 'latest'}"
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
