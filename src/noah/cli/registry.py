"""`noah push`, `noah login` and `noah logout`: registries."""

from __future__ import annotations

import sys
from typing import Final

from noah.cli.command import command, open_store
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError
from noah.util.text import printable

_TLS: Final = Option("--tls-verify", metavar="true|false", optional=True)


@command("PUSH", Option("--quiet", "-q"), _TLS, least=1, most=2, wanted="name an image")
def push(parsed: Parsed) -> int:
    """`noah push IMAGE [DESTINATION]`."""
    from noah.cli.progress import Display
    from noah.image.errors import ImageError
    from noah.image.oci.pack import pack
    from noah.image.oci.reference import parse
    from noah.image.oci.registry import Registry

    store = open_store()
    source, target = printable(parsed.words[0]), printable(parsed.words[-1])
    image = store.find(source)
    reference = parse(target.removeprefix("docker://"))
    if reference.digest:
        raise ImageError(f"{target}: an image is pushed under a tag, not under a digest")
    progress = Display(quiet=parsed.has("--quiet"))
    plain = parsed.last("--tls-verify") == b"false"
    with store.work() as work:
        packed = pack(store, image, work, packed=True)
        Registry(store, reference, progress, plain=plain, actions="pull,push").push(packed)
    if parsed.has("--quiet"):
        return say(f"{reference.name}\n")
    return say(f"{reference.tag}: digest: {packed.manifest.digest} size: {packed.manifest.size}\n")


@command(
    "LOGIN",
    *(Option("--username", "-u", metavar="NAME"), Option("--password", "-p", metavar="PASSWORD")),
    *(Option("--password-stdin"), _TLS),
    most=1,
)
def login(parsed: Parsed) -> int:
    """`noah login [REGISTRY]`."""
    from noah.cli.progress import Display
    from noah.host.helper import ask
    from noah.image.oci import accounts
    from noah.image.oci.auth import Credentials

    registry = _registry(parsed)
    user = printable(parsed.last("--username")) or _ask_user()
    credentials = Credentials(user, _password(parsed, user))
    store = open_store()
    accounts.check(store, registry, credentials, Display(quiet=True), plain=parsed.last("--tls-verify") == b"false")
    path = accounts.keep(registry, credentials, store.host.procs.environ(), ask)
    if path is not None:
        complain(f"the password is kept in {path}, for this user alone but not encrypted")
    return say("Login Succeeded\n")


@command("LOGOUT", most=1)
def logout(parsed: Parsed) -> int:
    """`noah logout [REGISTRY]`."""
    from noah.host.helper import ask
    from noah.image.oci import accounts

    registry = _registry(parsed)
    if accounts.forget(registry, open_store().host.procs.environ(), ask):
        return say(f"Removing login credentials for {registry}\n")
    return say(f"Not logged in to {registry}\n")


def _registry(parsed: Parsed) -> str:
    from noah.image.oci.reference import HUB, registry_of

    return registry_of(printable(parsed.words[0])) if parsed.words else HUB


def _ask_user() -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("say who you are with --username, and the password with --password-stdin")
    say("Username: ")
    return sys.stdin.readline().strip()


def _password(parsed: Parsed, user: str) -> str:
    """From the options, the input, or typed unseen."""
    if parsed.has("--password") and parsed.has("--password-stdin"):
        raise UsageError("--password and --password-stdin: choose one")
    if parsed.has("--password"):
        return printable(parsed.last("--password"))
    if parsed.has("--password-stdin"):
        found = sys.stdin.read().rstrip("\r\n") if sys.stdin is not None else ""
    elif sys.stdin is not None and sys.stdin.isatty():
        from getpass import getpass

        found = getpass(f"Password for {user}: ")
    else:
        raise UsageError("say the password with --password-stdin")
    if not found:
        raise UsageError("the password is empty")
    return found
