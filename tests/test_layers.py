"""The import rule: a module imports from its own layer or from layers below it, and only `host` and `vm` see the host.

Every import counts, also inside a function and under TYPE_CHECKING: a type from above is a dependency, too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.check

ROOT: Final = Path(__file__).parents[1] / "src" / "noah"

# From the top down. Layers that share a row do not see each other.
ORDER: Final = (
    ("cli",),
    ("api",),
    ("image", "trace"),
    ("syscalls",),
    ("loader",),
    ("kernel",),
    ("fs", "net"),
    ("vfs",),
    ("mm",),
    ("vm", "host"),
    ("util",),
    ("abi",),
)
LEVEL: Final = {layer: level for level, row in enumerate(ORDER) for layer in row}

HOST_LAYERS: Final = {"host", "vm"}
HOST_MODULES: Final = {
    "ctypes",
    "fcntl",
    "mmap",
    "os",
    "posix",
    "resource",
    "select",
    "signal",
    "socket",
    "subprocess",
    "termios",
    "time",
}


def layer_of(module: str) -> str | None:
    """The layer of a dotted name; None for the package itself. `python -m noah` is part of the command line."""
    parts = module.split(".")
    if len(parts) < 2 or parts[1] == "__version__":
        return None
    return "cli" if parts[1] == "__main__" else parts[1]


def imports(tree: ast.AST, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """Every imported module as (line, absolute dotted name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[: len(base) - node.level + package] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            if source == "noah":  # `from noah import api` names the layer in the list
                for alias in node.names:
                    yield node.lineno, f"noah.{alias.name}"
            else:
                yield node.lineno, source


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """What one module imports against the rule."""
    layer = layer_of(module)
    found = []
    for line, name in imports(ast.parse(source), module, package=package):
        top = name.split(".")[0]
        if top in HOST_MODULES and layer not in HOST_LAYERS:
            found.append(f"{module}:{line} imports {name}: only {' and '.join(sorted(HOST_LAYERS))} may")
        if top != "noah":
            continue
        target = layer_of(name)
        if target is None:
            continue
        if layer is None:
            found.append(f"{module}:{line} imports {name}: the package itself imports nothing")
        elif target not in LEVEL:
            found.append(f"{module}:{line} imports {name}: {target} is no layer")
        elif target != layer and LEVEL[target] <= LEVEL[layer]:
            found.append(f"{module}:{line} imports {name}: {target} is not below {layer}")
    return found


def modules() -> Iterator[tuple[Path, str, bool]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["noah", *path.relative_to(ROOT).with_suffix("").parts]
        package = parts[-1] == "__init__"
        yield path, ".".join(parts[:-1] if package else parts), package


def test_every_module_belongs_to_a_layer() -> None:
    strangers = {name for _, name, _ in modules() if (layer := layer_of(name)) is not None and layer not in LEVEL}
    assert not strangers


def test_imports_go_down_only() -> None:
    found = [
        problem
        for path, name, package in modules()
        for problem in violations(path.read_text("utf-8"), name, package=package)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("noah.syscalls.file", "from noah.kernel.task import Task", True),
        ("noah.syscalls.file", "from noah.syscalls.registry import syscall", True),
        ("noah.syscalls.file", "from . import registry", True),
        ("noah.kernel.task", "from noah.syscalls.file import read", False),
        ("noah.kernel.task", "from ..syscalls import file", False),
        ("noah.kernel.task", "def late():\n    import noah.api", False),
        ("noah.kernel.task", "from noah import api", False),
        ("noah.fs.pipe", "import noah.net.unix", False),
        ("noah.vm.kvm", "from noah.host import posix", False),
        ("noah.trace.strace", "from noah.image import store", False),
        ("noah.fs.pipe", "import os", False),
        ("noah.fs.pipe", "from os import path", False),
        ("noah.cli.main", "import os.path", False),
        ("noah.host.posix", "import os, socket", True),
        ("noah.__main__", "from noah.cli.main import main", True),
        ("noah.cli.main", "from noah import __version__", True),
        ("noah", "from noah import api", False),
    ],
)
def test_the_rule_itself(module: str, source: str, allowed: bool) -> None:
    assert (not violations(source, module)) is allowed
