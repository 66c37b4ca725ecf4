"""Options of the command line."""

from __future__ import annotations

import pytest

from noah.cli.parse import Option, UsageError, parse

OPTIONS = (
    Option("--help", "-h"),
    Option("--env", "-e", metavar="NAME=VALUE"),
    Option("--interactive", "-i"),
    Option("--tty", "-t"),
    Option("--strace", metavar="FILE", optional=True),
)


def split(line: str) -> list[bytes]:
    return [word.encode() for word in line.split()]


@pytest.mark.parametrize(
    ("line", "values", "words"),
    [
        ("", {}, ""),
        ("program -e x", {}, "program -e x"),
        ("-- -e x", {}, "-e x"),
        ("-", {}, "-"),
        ("-e A=1 --env B=2 --env=C=3 -eD=4 p", {"--env": "A=1 B=2 C=3 D=4"}, "p"),
        ("-it p", {"--interactive": "", "--tty": ""}, "p"),
        ("-ite A=1 p", {"--interactive": "", "--tty": "", "--env": "A=1"}, "p"),
        ("--strace p", {"--strace": ""}, "p"),
        ("--strace=log p", {"--strace": "log"}, "p"),
        ("-e -- p", {"--env": "--"}, "p"),
        ("-i -- --", {"--interactive": ""}, "--"),
    ],
)
def test_parse(line: str, values: dict[str, str], words: str) -> None:
    parsed = parse(split(line), OPTIONS)
    assert parsed.values == {name: split(text) or [b""] for name, text in values.items()}
    assert parsed.words == split(words)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--no-such", "unknown option --no-such"),
        ("-x", "unknown option -x"),
        ("-ix", "unknown option -x"),
        ("-e", "option -e needs a value (NAME=VALUE)"),
        ("--env", "option --env needs a value (NAME=VALUE)"),
        ("--env=", "option --env needs a value (NAME=VALUE) behind its ="),
        ("--tty=1", "option --tty takes no value"),
        ("--strace=", "option --strace needs a value (FILE) behind its ="),
    ],
)
def test_usage_errors_name_the_word(line: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(split(line), OPTIONS)
    assert str(caught.value) == complaint


def test_words_are_bytes() -> None:
    parsed = parse([b"-e", b"A=\xff\n", b"\xfe", b""], OPTIONS)
    assert parsed.last("--env") == b"A=\xff\n"
    assert parsed.words == [b"\xfe", b""]
    with pytest.raises(UsageError, match="unknown option"):
        parse([b"--\xff"], OPTIONS)
    with pytest.raises(UsageError, match="unknown option"):
        parse([b"-\xff"], OPTIONS)
