"""`noah run` and `noah trace`: from words to noah.api.Options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from noah.cli.main import FAILURE, complain, say
from noah.cli.parse import Option, Parsed, UsageError, parse
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.api import Options

HELP: Final = Option("--help", "-h")
COMMON: Final = (
    HELP,
    Option("--root", metavar="DIR"),
    Option("--volume", "-v", metavar="HOST:GUEST[:ro]"),
    Option("--env", "-e", metavar="NAME=VALUE"),
    Option("--workdir", "-w", metavar="DIR"),
    Option("--user", "-u", metavar="USER[:GROUP]"),
    Option("--interactive", "-i"),
    Option("--tty", "-t"),
    Option("--rm"),
    Option("--hostname", metavar="NAME"),
    Option("--network", metavar="host|none"),
    Option("--read-only"),
    Option("--engine", metavar="auto|kvm|emulator"),
    Option("--host", metavar="auto|linux|posix"),
    Option("--verbose"),
)
_CONTAINER: Final = (
    Option("--name", metavar="NAME"),
    Option("--detach", "-d"),
    Option("--entrypoint", metavar="PROGRAM"),
    Option("--env-file", metavar="FILE"),
    Option("--publish", "-p", metavar="PORT"),
    Option("--pull", metavar="missing|always|never"),
    Option("--arch", metavar="amd64|arm64"),
    Option("--http-proxy", metavar="true|false", optional=True),
    Option("--host-certs"),
    Option("--platform", metavar="linux/ARCH"),
    Option("--add-host", metavar="NAME:ADDRESS"),
    Option("--label", "-l", metavar="NAME=VALUE"),
    Option("--mount", metavar="type=bind,source=HOST,target=GUEST[,readonly]"),
    Option("--stop-signal", metavar="SIGNAL"),
    Option("--init"),
    Option("--shm-size", metavar="SIZE"),
)
_RIGHTS: Final = "programs may do what the user who runs Noah may do"
_LIMITS: Final = "Noah limits nobody; have the host do it (ulimit, systemd-run)"
_UNKNOWN: Final = {
    "--privileged": _RIGHTS,
    "--cap-add": _RIGHTS,
    "--cap-drop": _RIGHTS,
    "--security-opt": _RIGHTS,
    "--device": _RIGHTS,
    "--gpus": _RIGHTS,
    "--memory": _LIMITS,
    "-m": _LIMITS,
    "--cpus": _LIMITS,
    "--pids-limit": _LIMITS,
    "--ulimit": _LIMITS,
    "--restart": "nobody watches containers; 'noah start' runs one again",
    "--tmpfs": "show a directory of the host: --volume HOST:GUEST",
    "--dns": "names are resolved as on the host",
}
"""Options of docker's that Noah does not have, and why."""
_HOSTNAME: Final = rb"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
_HOSTNAME_MOST: Final = 64
STRACE: Final = Option("--strace", metavar="FILE", optional=True)
_RUN: Final = (*COMMON, *_CONTAINER, STRACE)
_TRACE: Final = (*COMMON, Option("-c"), Option("-C"), Option("-f"), Option("-o", metavar="FILE"))


def run(words: list[bytes]) -> int:
    """`noah run`."""
    parsed = parse(words, _RUN, _UNKNOWN)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.RUN)
    if image := image_of(parsed):
        from noah.cli.container import run_image

        return run_image(image, parsed)
    return launch(parsed.words, options_from(parsed))


def image_of(parsed: Parsed) -> str:
    """The image that `noah run` shall run; "" if it is a program: behind `--`, with --root, or a word that is none."""
    if parsed.ended or parsed.has("--root") or not parsed.words or parsed.words[0][:1] in (b"/", b"."):
        return ""
    from noah.cli.pull import is_source
    from noah.host.select import make_host
    from noah.image.errors import ImageError, NotFoundError
    from noah.image.store import open_store

    name = printable(parsed.words[0])
    if is_source(name):
        return name
    try:
        open_store(make_host()).find(name)
    except NotFoundError:
        options = [option.names[0] for option in _CONTAINER if parsed.has(option.names[0])]
        return name if ":" in name or options else ""
    except ImageError:
        return ""
    return name


def trace(words: list[bytes]) -> int:
    """`noah trace`."""
    parsed = parse(words, _TRACE)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.TRACE)
    options = options_from(parsed)
    path = parsed.last("-o") or None
    from noah.trace.strace import Strace
    from noah.trace.summary import Summary

    if parsed.has("-C"):
        options.tracer = Summary(path, Strace(path))
    elif parsed.has("-c"):
        options.tracer = Summary(path)
    else:
        options.tracer = Strace(path)
    return launch(parsed.words, options)


def options_from(parsed: Parsed) -> Options:
    """What `noah run`'s options say of a program. Raises UsageError."""
    if not parsed.words:
        raise UsageError("a program to run is missing")
    options = settings(parsed)
    options.root = parsed.last("--root", b"/")
    if options.root.strip(b"/"):
        options.volumes[:0] = _names_of_hosts(options)
    return options


def _names_of_hosts(options: Options) -> list[tuple[bytes, bytes, bool]]:
    """The host's resolv.conf(5) for a root of its own, which may have none or one of another place; hosts(5) if it has
    none. As a container engine does it, but to be read only."""
    from noah.host.console import is_directory, is_file

    shown: list[tuple[bytes, bytes, bool]] = []
    if not is_directory(options.root + b"/etc"):
        return shown
    for path in (b"/etc/resolv.conf", b"/etc/hosts"):
        has_own = path == b"/etc/hosts" and is_file(options.root + path)
        if is_file(path) and not has_own and all(guest != path for _, guest, _ in options.volumes):
            shown.append((path, path, True))
    return shown


def settings(parsed: Parsed) -> Options:
    """What options say of how to run, whatever it is. Raises UsageError."""
    _choice(parsed, "--network")
    _choice(parsed, "--engine")
    _choice(parsed, "--host")
    workdir = parsed.last("--workdir")
    if parsed.has("--workdir") and not workdir.startswith(b"/"):
        raise UsageError(f"working directory '{printable(workdir)}' is no absolute path")
    volumes = [_volume(value) for value in parsed.all("--volume")]
    volumes += [_mount(value) for value in parsed.all("--mount")]
    environ = _environ(parsed.all("--env"))

    from noah.api import Options  # the most of Noah: not before the command line is known to make sense

    options = Options()
    options.volumes = volumes
    options.environ = environ
    options.cwd = workdir or None
    options.user = parsed.last("--user")
    options.hostname = _hostname(parsed.last("--hostname"))
    options.read_only = parsed.has("--read-only")
    options.network = printable(parsed.last("--network", b"host"))
    options.engine = printable(parsed.last("--engine", b"auto"))
    options.host = printable(parsed.last("--host", b"auto"))
    hooks(options, verbose=parsed.has("--verbose"))
    if parsed.has("--strace"):
        from noah.trace.strace import Strace

        options.tracer = Strace(parsed.last("--strace") or None)
    return options


def launch(words: list[bytes], options: Options) -> int:
    """Become the program; the exit status if that cannot be."""
    from noah.api import StartError, start
    from noah.trace.output import TraceError

    try:
        start(words, options)
    except StartError as error:
        return complain(str(error), error.status)
    except TraceError as error:
        return complain(str(error), FAILURE)


def hooks(options: Options, *, verbose: bool) -> None:
    """Where reports go: what is missing is noted for `noah report`, Noah's own mistakes are logged."""
    from noah.host.console import ErrorOutput, variable
    from noah.trace.report import Bugs, Missed

    errors = ErrorOutput()
    options.on_missing = Missed(errors if verbose or variable("NOAH_VERBOSE") else None)
    options.on_bug = Bugs(errors, strict=bool(variable("NOAH_STRICT")))


def _choice(parsed: Parsed, name: str) -> None:
    metavar = next(option.metavar for option in COMMON if name in option.names)
    value = printable(parsed.last(name, metavar.split("|")[0].encode()))
    if value not in metavar.split("|"):
        _refuse(name, value, f"choose one of {', '.join(metavar.split('|'))}")


def _hostname(name: bytes) -> bytes:
    """hostname(7): labels of letters, digits and hyphens; as long as uname(2) has room for."""
    if name and (len(name) > _HOSTNAME_MOST or not re.fullmatch(_HOSTNAME, name)):
        _refuse("--hostname", printable(name), "letters, digits, hyphens and dots, at most 64")
    return name


def _volume(value: bytes) -> tuple[bytes, bytes, bool]:
    """HOST:GUEST[:ro] as (host path, guest path, read-only)."""
    parts = value.split(b":")
    if len(parts) not in (2, 3) or not parts[0]:
        _refuse("--volume", printable(value), "write HOST:GUEST or HOST:GUEST:ro")
    mode = parts[2] if len(parts) == 3 else b"rw"
    if mode not in (b"ro", b"rw"):
        _refuse("--volume", printable(value), f"'{printable(mode)}' is neither ro nor rw")
    if not parts[1].startswith(b"/"):
        _refuse("--volume", printable(value), "the guest's path must be absolute")
    return parts[0], parts[1], mode == b"ro"


def _mount(value: bytes) -> tuple[bytes, bytes, bool]:
    """As docker(1) has it: type=bind,source=HOST,target=GUEST,readonly."""
    said = dict(part.partition(b"=")[::2] for part in value.split(b","))
    source = said.pop(b"source", b"") or said.pop(b"src", b"")
    target = said.pop(b"target", b"") or said.pop(b"dst", b"") or said.pop(b"destination", b"")
    read_only = any(said.pop(name, None) in (b"", b"true", b"1") for name in (b"readonly", b"ro"))
    kind = said.pop(b"type", b"bind")
    if kind != b"bind" or said or not source or not target.startswith(b"/"):
        _refuse("--mount", printable(value), "write type=bind,source=HOST,target=GUEST, and readonly if it is")
    return source, target, read_only


def _environ(values: list[bytes]) -> dict[bytes, bytes]:
    """NAME=VALUE, or NAME for the host's value; a NAME that the host does not have stays unset, as with docker."""
    from noah.host.console import environment

    own = environment()
    result = {}
    for value in values:
        name, equals, content = value.partition(b"=")
        if not name:
            _refuse("--env", printable(value), "the name is empty")
        if equals:
            result[name] = content
        elif name in own:
            result[name] = own[name]
    return result


def _refuse(option: str, value: str, why: str) -> NoReturn:
    raise UsageError(f"{option} '{value}': {why}")
