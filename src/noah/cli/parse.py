"""The options of a command: as docker(1) reads them, they end where the program begins.

Written by hand because argparse would take longer to load than all that it does here, and because it cannot leave
`--strace PROGRAM` alone when `--strace` may have a value.
"""

from __future__ import annotations

from noah.util.text import printable


class UsageError(Exception):
    """The command line makes no sense. The text names the word that is wrong."""


class Option:
    """`names` without value, with one (`metavar`), or with one that only `--name=VALUE` gives (`optional`)."""

    __slots__ = ("metavar", "names", "optional")

    def __init__(self, *names: str, metavar: str = "", optional: bool = False) -> None:
        self.names = names
        self.metavar = metavar
        self.optional = optional


class Parsed:
    """The values of each option by its first name, in the order given, and the words behind the options."""

    __slots__ = ("ended", "values", "words")

    def __init__(self, words: list[bytes]) -> None:
        self.ended = False  # whether a `--` ended the options
        self.values: dict[str, list[bytes]] = {}
        self.words = words

    def has(self, name: str) -> bool:
        return name in self.values

    def last(self, name: str, default: bytes = b"") -> bytes:
        return self.values[name][-1] if name in self.values else default

    def all(self, name: str) -> list[bytes]:
        return self.values.get(name, [])

    def only(self, *names: str) -> Parsed:
        """Of these options alone, and no words."""
        result = Parsed([])
        result.values = {name: self.values[name] for name in names if name in self.values}
        return result

    def _add(self, option: Option, value: bytes) -> None:
        self.values.setdefault(option.names[0], []).append(value)


def parse(arguments: list[bytes], options: tuple[Option, ...], missing: dict[str, str] | None = None) -> Parsed:
    """Read options up to the first other word or `--`. missing: why there is no such option. Raises UsageError."""
    by_name = {name: option for option in options for name in option.names}
    rest = list(arguments)
    parsed = Parsed(rest)
    while rest and rest[0].startswith(b"-") and rest[0] != b"-":
        word = rest.pop(0)
        if word == b"--":
            parsed.ended = True
            break
        name = printable(word.partition(b"=")[0]) if word.startswith(b"--") else printable(word[:2])
        if missing and name in missing:
            raise UsageError(f"there is no {name}: {missing[name]}")
        if word.startswith(b"--"):
            _long(parsed, word, rest, by_name)
        else:
            _short(parsed, word, rest, by_name)
    return parsed


def parse_all(arguments: list[bytes], options: tuple[Option, ...]) -> Parsed:
    """As parse(), for commands that take no program: options may stand behind other words, too."""
    rest = list(arguments)
    result = Parsed([])
    while True:
        parsed = parse(rest, options)
        for name, values in parsed.values.items():
            result.values.setdefault(name, []).extend(values)
        if not parsed.words or parsed.ended:
            result.words += parsed.words
            return result
        result.words.append(parsed.words[0])
        rest = parsed.words[1:]


def _long(parsed: Parsed, word: bytes, rest: list[bytes], by_name: dict[str, Option]) -> None:
    text, equals, value = word.partition(b"=")
    name = printable(text)
    option = by_name.get(name)
    if option is None:
        raise UsageError(f"unknown option {name}")
    if equals:
        if not option.metavar:
            raise UsageError(f"option {name} takes no value")
        if not value:
            raise UsageError(f"option {name} needs a value ({option.metavar}) behind its =")
    elif option.metavar and not option.optional:
        value = _next(name, option, rest)
    parsed._add(option, value)


def _short(parsed: Parsed, word: bytes, rest: list[bytes], by_name: dict[str, Option]) -> None:
    """`-it` is `-i -t`; `-eK=V` is `-e K=V`."""
    for index, letter in enumerate(word[1:].decode("latin-1"), 2):
        name = f"-{letter}"
        option = by_name.get(name)
        if option is None:
            raise UsageError(f"unknown option {name}")
        if option.metavar and not option.optional:
            parsed._add(option, word[index:] or _next(name, option, rest))
            return
        parsed._add(option, b"")


def _next(name: str, option: Option, rest: list[bytes]) -> bytes:
    if not rest:
        raise UsageError(f"option {name} needs a value ({option.metavar})")
    return rest.pop(0)
