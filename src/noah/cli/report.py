"""`noah report`: what programs asked for and did not get."""

from __future__ import annotations

from noah.cli.main import say
from noah.cli.parse import Option, UsageError, parse
from noah.cli.run import COMMON, launch, options_from


def report(words: list[bytes]) -> int:
    """`noah report`: the list, or a run with its own list at the end."""
    parsed = parse(words, (*COMMON, Option("--clear")))
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.REPORT)
    from noah.trace.report import MISSING, Missed, table_of
    from noah.trace.state import clear, read

    if parsed.words:
        if parsed.has("--clear"):
            raise UsageError("--clear and a program to run do not go together")
        options = options_from(parsed)
        assert isinstance(options.on_missing, Missed)
        options.tracer = options.on_missing.of_one_run()
        return launch(parsed.words, options)
    from noah.host.select import make_host

    host = make_host()
    if parsed.has("--clear"):
        clear(host, MISSING)
        return 0
    lines = read(host, MISSING)
    nothing = "Nothing: no program has asked for anything that Noah does not have."
    for line in table_of(lines) if lines else [nothing]:
        say(line + "\n")
    return 0
