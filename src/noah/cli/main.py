"""The `noah` command."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from noah.api import Options, StartError, start


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """docker's exit status for its own errors is 125, and one line is enough."""
        sys.stderr.write(f"noah: {message}; see '{self.prog} --help'\n")
        raise SystemExit(125)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="noah", description="Run unmodified Linux programs.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run a program")
    run.add_argument("--root", default="/")
    run.add_argument("--engine", default="auto")
    run.add_argument("--host", default="auto")
    run.add_argument("-w", "--workdir")
    run.add_argument("-e", "--env", action="append", default=[])
    run.add_argument("--strace", nargs="?", const="")
    run.add_argument("program", nargs=argparse.REMAINDER)
    return parser


def main() -> int:
    """Entry point of the `noah` script."""
    arguments = _parser().parse_args()
    options = Options()
    options.root = _bytes(arguments.root)
    options.engine = arguments.engine
    options.host = arguments.host
    if arguments.workdir:
        options.cwd = _bytes(arguments.workdir)
    if arguments.env:
        options.environ = dict(_bytes(item).split(b"=", 1) for item in arguments.env)  # type: ignore[misc]
    if arguments.strace is not None:
        from noah.trace.strace import Strace

        options.tracer = Strace(_bytes(arguments.strace) or None)
    program = arguments.program
    if program and program[0] == "--":
        program = program[1:]
    try:
        start([_bytes(word) for word in program], options)
    except StartError as error:
        sys.stderr.write(f"noah: {error}\n")
        return error.status
