"""`noah run IMAGE`, `noah start`, `noah exec`, `noah shell`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from noah.cli.command import command, open_containers
from noah.cli.main import FAILURE, complain, say
from noah.cli.parse import Option, Parsed, UsageError, parse
from noah.cli.run import HELP, STRACE, hooks, launch, settings
from noah.cli.signals import TIME, grace, signal_number, stop_signal
from noah.cli.trouble import FAILED, told
from noah.util.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from noah.api import Options
    from noah.cli.publish import Port
    from noah.image.container import Container, Containers
    from noah.image.inside import Inside
    from noah.image.store import Image, Store
    from noah.image.supervise import Supervisor
    from noah.kernel.box import Box

_EXEC: Final = (
    HELP,
    Option("--detach", "-d"),
    Option("--env", "-e", metavar="NAME=VALUE"),
    Option("--workdir", "-w", metavar="DIR"),
    Option("--user", "-u", metavar="USER[:GROUP]"),
    Option("--interactive", "-i"),
    Option("--tty", "-t"),
    STRACE,
)
_SHELL: Final = (HELP, Option("--user", "-u", metavar="USER[:GROUP]"))
_SHELLS: Final = (b"/bin/bash", b"/bin/sh")


def run_image(name: str, parsed: Parsed) -> int:
    """`noah run IMAGE [PROGRAM...]`: make a container and run it. Trouble with the image is 125, as with docker(1)."""
    from noah.abi.errno import LinuxError
    from noah.image.errors import ImageError, describe

    given = settings(parsed)
    try:
        return _run_image(name, parsed, given)
    except ImageError as error:
        return complain(str(error), FAILURE)
    except (LinuxError, OSError) as error:
        return complain(describe(error), FAILURE)


def _run_image(name: str, parsed: Parsed, given: Options) -> int:
    containers = open_containers()
    _use_platform(parsed)
    image = _image(containers.store, name, parsed)
    words = parsed.words[1:]
    if words[:1] == [b"--"]:
        words = words[1:]
    record = _record(image, name, words, parsed, given)
    if not record["command"]:
        raise UsageError(f"image {name} does not say what to run: name a program")
    container = containers.create(image, record, printable(parsed.last("--name")))
    supervisor = _supervisor(containers, container, given)
    remove = (lambda: containers.remove(container)) if parsed.has("--rm") else None
    if not parsed.has("--detach"):
        return supervisor.run(ended=remove)
    return _detach(supervisor, container, container.id, remove)


def _use_platform(parsed: Parsed) -> None:
    """--platform linux/ARCH[/VARIANT] is docker's way to say --arch."""
    if parsed.has("--platform"):
        said = printable(parsed.last("--platform"))
        system, *rest = said.split("/") if "/" in said else ("linux", said)
        if system != "linux":
            raise UsageError(f"--platform '{said}': programs are those of linux")
        parsed.values["--arch"] = [rest[0].encode()]


def _image(store: Store, name: str, parsed: Parsed) -> Image:
    """The image of that name; what says where it comes from is pulled if it is not there (--pull)."""
    from noah.cli.pull import get, is_source, name_in_store
    from noah.image.errors import NotFoundError

    policy = printable(parsed.last("--pull", b"missing"))
    if policy not in ("missing", "always", "never"):
        raise UsageError(f"--pull '{policy}': choose one of missing, always, never")
    if not is_source(name):
        image = store.find(name)
        arch = image.record.get("architecture")
        if parsed.has("--arch") and arch and arch != printable(parsed.last("--arch")):
            raise UsageError(f"image {name} is for {arch}: pull the other")
        return image
    known = name_in_store(name)
    if policy != "always" and known:
        try:
            return store.find(known)
        except NotFoundError:
            if policy == "never":
                raise
    from noah.cli.progress import Display

    return get(store, name, parsed.only("--arch"), Display())[0]


def _record(image: Image, name: str, words: list[bytes], parsed: Parsed, given: Options) -> dict[str, Any]:
    """What container.json keeps: the image's configuration under what the command line says."""
    config = image.record.get("config") or {}
    entry = [_text(parsed.last("--entrypoint"))] if parsed.has("--entrypoint") else config.get("Entrypoint") or []
    arguments = [_text(word) for word in words]
    if not arguments and not parsed.has("--entrypoint"):
        arguments = config.get("Cmd") or []
    environ = dict(each.partition("=")[::2] for each in config.get("Env") or [])
    for path in parsed.all("--env-file"):
        environ |= _env_file(_text(path))
    environ |= {_text(key): _text(value) for key, value in given.environ.items()}
    return {
        "image_name": name,
        "command": [*entry, *arguments],
        "environ": environ,
        "cwd": _text(given.cwd or b"") or config.get("WorkingDir") or "/",
        "user": _text(given.user) or config.get("User") or "0",
        "volumes": [[_source(source), _text(target), read_only] for source, target, read_only in given.volumes],
        "directories": list(config.get("Volumes") or ()),
        "stop_signal": _stop_signal(parsed) or config.get("StopSignal") or "",
        "hosts": [_host_name(printable(value)) for value in parsed.all("--add-host")],
        "labels": (config.get("Labels") or {})
        | dict(_text(value).partition("=")[::2] for value in parsed.all("--label")),
        "interactive": parsed.has("--interactive"),
        "terminal": parsed.has("--tty"),
        "hostname": _text(given.hostname),
        "read_only": given.read_only,
        "network": given.network,
        "ports": _ports(parsed),
        "proxies": _proxies(parsed),
        "certificates": parsed.has("--host-certs"),
        "engine": given.engine,
        "host": given.host,
    }


def _source(source: bytes) -> str:
    """What a volume shows: its name, or a path of the host, which stays the same wherever the container is started."""
    from noah.image.volumes import is_name

    text = _text(source)
    return text if is_name(text) else str(Path(text).absolute())


def _stop_signal(parsed: Parsed) -> str:
    said = printable(parsed.last("--stop-signal"))
    if said and not signal_number(said):
        raise UsageError(f"--stop-signal '{said}': a signal's number or name, such as TERM")
    return said


def _host_name(text: str) -> str:
    """A line of hosts(5). text: NAME:ADDRESS, docker's order."""
    import ipaddress

    name, _, address = text.replace("=", ":", 1).partition(":")
    address = address.removeprefix("[").removesuffix("]")
    if address == "host-gateway":  # the host is where the container is
        address = "127.0.0.1"
    try:
        ipaddress.ip_address(address)
    except ValueError:
        name = ""
    if not name:
        raise UsageError(f"--add-host '{text}': write NAME:ADDRESS, the address in numbers")
    return f"{address}\t{name}"


def _ports(parsed: Parsed) -> list[Port]:
    if not parsed.has("--publish"):
        return []
    from noah.cli.publish import parse_ports

    return parse_ports(parsed.all("--publish"))


def _proxies(parsed: Parsed) -> bool:
    said = printable(parsed.last("--http-proxy"))
    if said not in ("", "true", "false"):
        raise UsageError(f"--http-proxy '{said}': choose true or false")
    return said != "false"


def _env_file(path: str) -> dict[str, str]:
    """NAME=VALUE a line, or NAME for the host's value; # begins a comment, as with docker(1)."""
    from noah.host.console import environment

    own = environment()
    found = {}
    for line in Path(path).read_text("utf-8", "surrogateescape").splitlines():
        name, equals, value = line.strip().partition("=")
        if name and not name.startswith("#"):
            if equals:
                found[name] = value
            elif _bytes(name) in own:
                found[name] = _text(own[_bytes(name)])
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _options(containers: Containers, container: Container, given: Options | None) -> Options:
    """How a program of this container is started."""
    from noah.api import Options
    from noah.host.console import environment
    from noah.image import lent
    from noah.image.owners import table_of

    record = container.record
    own = environment()
    options = Options() if given is None else given
    options.root = bytes(container.rootfs)
    options.owners = table_of(containers.store.host, container.directory)
    if options.owners:
        options.volume_owners = bytes(containers.store.directory / "owners")
    options.image = bytes(containers.store.image_directory(record["image"]))
    options.environ = lent.proxies(own) if record.get("proxies") else {}
    options.environ |= {_bytes(key): _bytes(value) for key, value in record["environ"].items()}
    if record["volumes"]:
        from noah.image.volumes import NamedVolumes

        place = NamedVolumes(containers).place
        options.volumes = [
            (_bytes(place(source)), _bytes(target), read_only) for source, target, read_only in record["volumes"]
        ]
    if record.get("certificates"):
        options.environ |= lent.certificate_variables()
        options.volumes.append((lent.certificates(own), lent.BUNDLE, True))
    options.cwd = _bytes(record["cwd"])
    options.user = _bytes(record["user"])
    options.read_only = record.get("read_only", False)
    options.network = record.get("network", "host")
    if record.get("ports"):
        from noah.cli.publish import ports_of, to_publish

        options.ports = to_publish(ports_of(container))
    if given is None:
        options.engine, options.host = record["engine"], record["host"]
        hooks(options, verbose=False)
    return options


def _inside(containers: Containers, container: Container) -> Inside:
    """The files of a container that is to be run: if they cannot be used, the status is 125. ImageError."""
    from noah.image.errors import ImageError

    try:
        return containers.inside(container)
    except ImageError as error:
        raise ImageError(str(error), FAILURE) from None


def _supervisor(
    containers: Containers, container: Container, given: Options | None, argv: Sequence[bytes] = ()
) -> Supervisor:
    from noah.image.container import refresh
    from noah.image.supervise import Supervisor

    host = containers.store.host
    options = _options(containers, container, given)
    words = list(argv) or [_bytes(word) for word in container.record["command"]]

    def become(box: Box, loaded: Callable[[], None]) -> NoReturn:
        status = FAILURE
        try:
            options.box = lambda host: box
            options.started = loaded
            status = launch(words, options)
        finally:
            host.procs._exit(status)

    hostname = str(container.record.get("hostname", ""))
    options.hostname = _bytes(hostname)
    if container.record["volumes"]:
        from noah.image.volumes import NamedVolumes

        NamedVolumes(containers).fill_all(container)
    refresh(_inside(containers, container), hostname, container.record.get("hosts", ()))
    return Supervisor(host, containers, container, become)


def _detach(supervisor: Supervisor, container: Container, said: str, remove: Callable[[], None] | None = None) -> int:
    """Run in the background and print what identifies the container; one line if it does not start."""
    status, trouble = supervisor.detach(ended=remove)
    if status:
        return complain(trouble.removeprefix("noah: ") or f"container {container.name} did not start", status)
    return say(f"{said}\n")


@command("START", Option("--attach", "-a"), Option("--interactive", "-i"), least=1)
def start(parsed: Parsed) -> int:
    """`noah start CONTAINER...`: run them again, in the background."""
    attached = parsed.has("--attach") or parsed.has("--interactive")
    if attached and len(parsed.words) > 1:
        raise UsageError("name one container")
    containers = open_containers()
    if attached:
        return _supervisor(containers, containers.find(printable(parsed.words[0])), None).run()
    return _start_each(containers, parsed.words)


@command("RESTART", TIME, least=1)
def restart(parsed: Parsed) -> int:
    """`noah restart CONTAINER...`: end those that run, and run them again in the background."""
    from noah.image.errors import ImageError
    from noah.image.supervise import stop

    seconds = grace(parsed)
    containers = open_containers()
    for word in parsed.words:
        try:
            container = containers.find(printable(word))
        except ImageError:
            continue  # it is told of below
        stop(containers.store.host, containers, container, seconds, stop_signal(container))
    return _start_each(containers, parsed.words)


def _start_each(containers: Containers, words: list[bytes]) -> int:
    from noah.image.errors import ImageError

    status = 0
    for word in words:
        try:
            container = containers.find(printable(word))
            if containers.state(container).status == "running":
                say(f"{printable(word)}\n")
            else:
                supervisor = _supervisor(containers, container, None)
                status = _detach(supervisor, container, printable(word)) or status
        except ImageError as error:
            status = complain(str(error), error.status)
    return status


@told
def execute(words: list[bytes]) -> int:
    """`noah exec CONTAINER PROGRAM...`: run a program in a running container."""
    parsed = parse(words, _EXEC)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.EXEC)
    if len(parsed.words) < 2:
        raise UsageError("name a container and a program")
    given = settings(parsed)
    containers = open_containers()
    container = containers.find(printable(parsed.words[0]))
    if containers.state(container).status != "running":
        return complain(f"container {container.name} is not running", FAILED)
    words = parsed.words[1:]
    if parsed.has("--detach"):
        from noah.image.supervise import leave

        if not leave(containers.store.host):
            return 0
    return _join(containers, container, words[1:] if words[0] == b"--" else words, given)


def _join(containers: Containers, container: Container, words: list[bytes], given: Options) -> int:
    """Become another program of a running container."""
    from noah.image.supervise import box_of

    _inside(containers, container)
    options = _options(containers, container, None)
    options.environ |= given.environ
    options.cwd = given.cwd or options.cwd
    options.user = given.user or options.user
    options.tracer = given.tracer
    options.box = lambda host: box_of(host, container)
    return launch(words, options)


@told
def shell(words: list[bytes]) -> int:
    """`noah shell [CONTAINER]`: a login shell in the last container, or in the one that is named."""
    parsed = parse(words, _SHELL)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.SHELL)
    if len(parsed.words) > 1:
        raise UsageError("name one container")
    from noah.image.errors import NotFoundError

    given = settings(parsed)
    containers = open_containers()
    found = containers.all()
    if not parsed.words and not found:
        raise NotFoundError("there is no container yet; make one with 'noah run IMAGE'")
    container = containers.find(printable(parsed.words[0])) if parsed.words else found[0]
    inside = _inside(containers, container)
    program = next((path for path in _SHELLS if inside.read(path) is not None), _SHELLS[-1])
    argv = [program, b"-l"]
    if containers.state(container).status == "running":
        return _join(containers, container, argv, given)
    if given.user:
        container.record["user"] = _text(given.user)
    return _supervisor(containers, container, None, argv).run()
