"""The `noah` command: its subcommands, and how it fails.

Exit statuses are docker's: 125 for errors of Noah itself, 126 and 127 for programs that cannot be executed or found.
Little is imported here (not even typing): an interrupt before main() runs shows the interpreter's traceback.
"""

from __future__ import annotations

import gc
import sys

from noah.host.interrupt import restore_default
from noah.host.leave import leave

FAILURE = 125
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE
COMMANDS = {
    "run": "run",
    "trace": "run",
    "report": "report",
    "doctor": "doctor",
    "pull": "pull",
    "images": "images",
    "rmi": "images",
    "tag": "images",
    "history": "inspect",
    "save": "save",
    "load": "save",
    "push": "registry",
    "login": "registry",
    "logout": "registry",
    "inspect": "inspect",
    "ps": "ps",
    "stop": "signals",
    "kill": "signals",
    "wait": "signals",
    "rename": "ps",
    "port": "publish",
    "top": "look",
    "diff": "look",
    "attach": "logs",
    "rm": "signals",
    "logs": "logs",
    "start": "container",
    "restart": "container",
    "exec": "container",
    "shell": "container",
    "cp": "copy",
    "export": "copy",
    "commit": "copy",
    "container prune": "prune",
    "image prune": "prune",
    "system prune": "prune",
    "volume create": "volume",
    "volume inspect": "volume",
    "volume ls": "volume",
    "volume prune": "prune",
    "volume rm": "volume",
}
_FUNCTIONS = {
    "exec": "execute",
    "container prune": "prune_containers",
    "image prune": "prune_images",
    "system prune": "prune_system",
    "volume create": "create",
    "volume inspect": "inspect",
    "volume ls": "ls",
    "volume prune": "prune_volumes",
    "volume rm": "rm",
}
"""Of commands whose names are taken in Python, or are two words."""
GROUPS = {
    "container": {"ls": "ps", "list": "ps"},
    "image": {"ls": "images", "list": "images", "rm": "rmi"},
    "system": {},
    "volume": {"list": "volume ls"},
}
"""docker's longer ways to say a command: `noah container NAME` is NAME, or what stands here."""

"""The module of each command, which has a function of its name."""


def script() -> None:
    """Entry point of the `noah` script."""
    leave(main())


def main() -> int:
    """What the script does: the exit status, unless the process becomes a guest."""
    restore_default()
    gc.disable()  # nothing that is loaded goes away again: noah.api.start() switches it on
    try:
        status = _command(sys.argv[1:])
        for file in (sys.stdout, sys.stderr):
            if file is not None:
                file.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter complains about it at its end
        return BROKEN_PIPE
    except Exception as error:
        return _report(error)


def _command(words: list[str]) -> int:
    # Imported one by one: the start of `noah run` is what users wait for most often.
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("--help", "-h", "help"):
        from noah.cli import help

        return say(help.MAIN)
    if name in ("--version", "-V", "version"):
        from noah import __version__

        return say(f"noah {__version__}\n")
    if name in GROUPS and rest and not rest[0].startswith("-"):
        word, *rest = rest
        long = f"{name} {word}"
        name = long if long in COMMANDS else GROUPS[name].get(word, word if name in ("container", "image") else long)
    if name not in COMMANDS:
        what = "an option" if name.startswith("-") else "a command"
        text = f"{name!r} is not {what} of Noah" if name else "a command is missing, such as run, pull or images"
        return complain(f"{text}; see 'noah --help'")
    from noah.host import bundle

    bundle.use()
    from noah.cli.parse import UsageError

    try:
        return _dispatch(name, rest)
    except UsageError as error:
        return complain(f"{error}; see 'noah {name} --help'")


def _dispatch(name: str, rest: list[str]) -> int:
    import importlib

    from noah.host.console import arguments

    function = getattr(importlib.import_module(f"noah.cli.{COMMANDS[name]}"), _FUNCTIONS.get(name, name))
    status: int = function(arguments(rest))
    return status


def say(text: str) -> int:
    """Print; the exit status 0. A caller that has closed stdout does not want to know."""
    if sys.stdout is not None:
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def complain(text: str, status: int = FAILURE) -> int:
    """One line on stderr; the exit status that goes with it."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"noah: {text}\n")
        except OSError:
            pass  # nobody is left to be told
    return status


def _report(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in (5, 28):  # EIO, ENOSPC: the same on every host
        sys.stdout = None
        return complain(f"cannot write the output: {error.strerror}")
    from noah.host.console import variable

    if variable("NOAH_DEBUG"):
        import traceback

        traceback.print_exception(error)
    text = str(error).replace("\n", " ")[:200]
    return complain(f"internal error: {type(error).__name__}: {text}; run with NOAH_DEBUG=1 for the traceback")
