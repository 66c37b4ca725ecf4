"""`noah save` and `noah load`: images as archives."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from noah.cli.command import command, open_store
from noah.cli.main import say
from noah.cli.parse import Option, Parsed, UsageError
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.image.store import Image


@command("SAVE", Option("--output", "-o", metavar="FILE"), least=1, wanted="name an image")
def save(parsed: Parsed) -> int:
    """`noah save IMAGE...`."""
    from noah.host.console import is_terminal
    from noah.image.oci import pack
    from noah.image.oci.reference import parse

    store = open_store()
    wanted: dict[str, tuple[Image, list[str]]] = {}
    for word in parsed.words:
        text = printable(word)
        image = store.find(text)
        names = wanted.setdefault(image.id, (image, []))[1]
        if not image.id.startswith(text.removeprefix("sha256:")):
            names.append(parse(text).name if "@" not in text else text)
    if not parsed.has("--output"):
        if is_terminal(1):
            raise UsageError("an archive on a terminal helps nobody: name a file with --output, or redirect")
        pack.save(store, wanted, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    place = Path(parsed.last("--output").decode("utf-8", "surrogateescape"))
    with place.open("wb") as output:
        pack.save(store, wanted, output)
    return 0


@command("LOAD", Option("--input", "-i", metavar="FILE"), Option("--quiet", "-q"), most=0)
def load(parsed: Parsed) -> int:
    """`noah load`."""
    from noah.cli.progress import Display
    from noah.cli.pull import machine
    from noah.host.console import is_terminal
    from noah.image.oci.layout import sources_of
    from noah.image.oci.pull import Pull

    store = open_store()
    progress = Display(quiet=True)
    if not parsed.has("--input") and is_terminal(0):
        raise UsageError("an archive is read from the input: name a file with --input, or redirect")
    with store.work() as work:
        if parsed.has("--input"):
            path = Path(parsed.last("--input").decode("utf-8", "surrogateescape"))
        else:
            path = work / "image"
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        for source in sources_of(path, store):
            image, _ = Pull(store, source, progress).pull([], machine(store))
            for name in source.names:
                say(f"Loaded image: {name}\n")
            if not source.names:
                say(f"Loaded image ID: sha256:{image.id}\n")
    return 0
