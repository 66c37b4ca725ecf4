"""All of Noah's modules in one file, from which they are loaded if it is there: to find, open and read 250 files takes
10 of the 90 ms that a program needs to start.

It lies beside the compiled modules, and tools/bundle.py makes it when these are made. A module whose source has changed
since is loaded as ever, so nobody need care.

    8 bytes   how long the index is
    index     marshal: what wrote it; how long the rest is; of each module whether it is a package, its source, the time
              and size of that when it was compiled, and where in the rest its code is, with its length
    rest      marshal: the codes
"""

from __future__ import annotations

import marshal
import mmap
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType

import noah

Entry = tuple[bool, str, float, int, int, int]


def place() -> str:
    """Where it lies: as is Python's own way, other versions of Python have others. "" if there is no such place."""
    spec = noah.__spec__
    return (spec.cached or "").removesuffix("pyc") + "all" if spec is not None and spec.cached else ""


def version() -> tuple[str, str]:
    """What must be the same when it is made and used."""
    return sys.version, noah.__file__


class _Loader(SourceFileLoader):
    """Loads a module of the bundle."""

    def __init__(self, name: str, entry: Entry, codes: memoryview) -> None:
        super().__init__(name, entry[1])
        self._entry = entry
        self._codes = codes

    def get_code(self, fullname: str) -> CodeType | None:
        _, path, mtime, size, start, length = self._entry
        stats = self.path_stats(path)
        if (stats["mtime"], stats["size"]) != (mtime, size):
            return super().get_code(fullname)
        code: CodeType = marshal.loads(self._codes[start : start + length])
        return code


class _Finder:
    """Finds the modules of the bundle."""

    def __init__(self, entries: dict[str, Entry], codes: memoryview) -> None:
        self._entries = entries
        self._codes = codes

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        spec = ModuleSpec(name, _Loader(name, entry, self._codes), origin=entry[1], is_package=entry[0])
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(entry[1].rpartition("/")[0])
        return spec


def use() -> None:
    """Load modules from it from now on, if it is there."""
    try:
        fd = os.open(place(), os.O_RDONLY | os.O_CLOEXEC)
        try:
            whole = memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
        finally:
            os.close(fd)
        rest = 8 + int.from_bytes(whole[:8], "little")
        made_by, size, entries = marshal.loads(whole[8:rest])
    except (OSError, ValueError, EOFError, TypeError):
        return  # there is none, or it is not whole
    if made_by == version() and rest + size == len(whole):
        sys.meta_path.insert(0, _Finder(entries, whole[rest:]))
