"""Put the code of all of Noah's modules into one file, which is read faster than some hundred: see noah.host.bundle."""

from __future__ import annotations

import marshal
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path

import noah
from noah.host.bundle import place, version


def main() -> None:
    root = Path(noah.__file__).parent
    modules = {}
    codes = []
    end = 0
    for path in sorted(root.rglob("*.py")):
        names = ["noah", *path.relative_to(root).with_suffix("").parts]
        is_package = names[-1] == "__init__"
        name = ".".join(names[:-1] if is_package else names)
        if name in ("noah", "noah.__main__"):  # the one is loaded before, the other in another way
            continue
        loader = SourceFileLoader(name, str(path))
        stats = loader.path_stats(str(path))
        code = marshal.dumps(loader.get_code(name))
        modules[name] = is_package, str(path), stats["mtime"], stats["size"], end, len(code)
        codes.append(code)
        end += len(code)
    index = marshal.dumps((version(), end, modules))
    fresh = Path(f"{place()}.{os.getpid()}")  # somebody else may be making it, too
    fresh.parent.mkdir(exist_ok=True)
    fresh.write_bytes(b"".join((len(index).to_bytes(8, "little"), index, *codes)))
    fresh.replace(place())


if __name__ == "__main__":
    main()
