"""Which packages belong to a system: the closure of dependencies over what the archive has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from noah.image.debian.control import Paragraph, paragraphs, parse, words
from noah.image.debian.version import compare, satisfies
from noah.image.errors import ImageError

_NAME: Final = re.compile(r"^Package: (\S+)$", re.MULTILINE)
_PROVIDES: Final = re.compile(r"^Provides: (.+)$", re.MULTILINE)
_CORE: Final = re.compile(r"^(?:Essential: yes|Priority: (?:required|important))$", re.MULTILINE)
_TERM: Final = re.compile(r"([^\s:(\[]+)(?::\S+)?\s*(?:\(\s*([<>=]+)\s*([^)\s]+)\s*\))?")
_RANK: Final = ("required", "important", "standard", "optional", "extra")
_MERGED: Final = "usr-is-merged"
"""Preferred to usrmerge, which would move the files of a system that was laid out merged from the start."""


class Term(NamedTuple):
    """`name (operator version)`; no operator: any version."""

    name: str
    operator: str
    version: str


def relations(value: str) -> list[list[Term]]:
    """A Depends field: all of the list, one of each."""
    found = []
    for clause in value.split(","):
        terms = [
            Term(*(part or "" for part in match.groups())) for match in map(_TERM.match, _alternatives(clause)) if match
        ]
        if terms:
            found.append(terms)
    return found


def _alternatives(clause: str) -> list[str]:
    return [term.strip() for term in clause.split("|")]


class Package(NamedTuple):
    """A package of an archive. base: the URL below which its file is."""

    name: str
    version: str
    base: str
    fields: Paragraph

    @property
    def rank(self) -> int:
        priority = self.fields.get("priority", "")
        return _RANK.index(priority) if priority in _RANK else len(_RANK)


class Archive:
    """The packages of all indices. Of several versions the newest counts."""

    def __init__(self) -> None:
        self._texts: dict[str, list[tuple[str, str]]] = {}
        self._providers: dict[str, list[str]] = {}
        self._core: list[str] = []
        self._known: dict[str, Package | None] = {}

    def add(self, base: str, index: str) -> None:
        """Take a Packages file. Its paragraphs are read when they are asked for."""
        for text in paragraphs(index):
            match = _NAME.search(text)
            if match is None:
                continue
            name = match[1]
            self._texts.setdefault(name, []).append((base, text))
            provides = _PROVIDES.search(text)
            if provides is not None:
                for clause in relations(provides[1]):
                    self._providers.setdefault(clause[0].name, []).append(name)
            if _CORE.search(text):
                self._core.append(name)

    def get(self, name: str) -> Package | None:
        if name not in self._known:
            best: Package | None = None
            for base, text in self._texts.get(name, ()):
                fields = parse(text)
                found = Package(name, fields.get("version", ""), base, fields)
                if best is None or compare(found.version, best.version) > 0:
                    best = found
            self._known[name] = best
        return self._known[name]

    def core(self, *, important: bool) -> list[str]:
        """Essential and required packages; important ones too."""
        found = []
        for name in dict.fromkeys(self._core):
            package = self.get(name)
            if package is None:
                continue
            essential = package.fields.get("essential", "") == "yes"
            if essential or package.fields.get("priority") in (
                ("required", "important") if important else ("required",)
            ):
                found.append(name)
        return found

    def providers(self, term: Term) -> list[Package]:
        """What satisfies a term: the package of that name first, then those that provide it, the weightiest first."""
        found = []
        own = self.get(term.name)
        if own is not None and (not term.operator or satisfies(own.version, term.operator, term.version)):
            found.append(own)
        others = [self.get(name) for name in dict.fromkeys(self._providers.get(term.name, ()))]
        fitting = [other for other in others if other is not None and _provides(other, term)]
        return found + sorted(fitting, key=lambda package: (package.rank, package.name))


def _provides(package: Package, term: Term) -> bool:
    for provided, *_ in relations(package.fields.get("provides", "")):
        if provided.name == term.name:
            if not term.operator:
                return True
            if provided.operator == "=" and satisfies(provided.version, term.operator, term.version):
                return True
    return False


def resolve(archive: Archive, wanted: Sequence[str]) -> list[Package]:
    """The packages named and all that they depend on, by name. ImageError says what is missing."""
    chosen: dict[str, Package] = {}
    waiting: list[tuple[str, list[Term]]] = []

    def choose(package: Package) -> None:
        if package.name in chosen:
            return
        chosen[package.name] = package
        for field in ("pre-depends", "depends"):
            waiting.extend((package.name, clause) for clause in relations(package.fields.get(field, "")))

    for name in wanted:
        package = archive.get(name) or next(iter(archive.providers(Term(name, "", ""))), None)
        if package is None:
            raise ImageError(f"the archive has no package {name}")
        choose(package)
    while waiting:
        _narrow_first(waiting)
        name, clause = waiting.pop()
        found = _one_of(archive, clause, chosen)
        if found is None:
            shown = " | ".join(
                f"{term.name} ({term.operator} {term.version})" if term.operator else term.name for term in clause
            )
            raise ImageError(f"package {name} depends on {shown}, which the archive does not have")
        choose(found)
    return [chosen[name] for name in sorted(chosen)]


def _narrow_first(waiting: list[tuple[str, list[Term]]]) -> None:
    """Clauses that leave no choice come first: they may settle those that do. Taken from the end of the list."""
    waiting.sort(key=lambda entry: len(entry[1]), reverse=True)


def _one_of(archive: Archive, clause: list[Term], chosen: dict[str, Package]) -> Package | None:
    candidates = [package for term in clause for package in archive.providers(term)]
    for package in candidates:
        if package.name in chosen:
            return package
    for package in candidates:
        if package.name == _MERGED:
            return package
    fitting = [package for package in candidates if not _clashes(package, chosen.values())]
    return next(iter(fitting or candidates), None)


def _clashes(package: Package, others: Iterable[Package]) -> bool:
    """Whether one of them conflicts with another."""
    return any(_conflicts(package, other) or _conflicts(other, package) for other in others)


def _conflicts(package: Package, other: Package) -> bool:
    for field in ("conflicts", "breaks"):
        for term, *_ in relations(package.fields.get(field, "")):
            if term.name == other.name and (not term.operator or satisfies(other.version, term.operator, term.version)):
                return True
            if term.name != package.name and not term.operator and _provides(other, term):
                return True
    return False


def names_of(value: str) -> list[str]:
    """--include's list: with commas or spaces."""
    return words(value.replace(",", " "))
