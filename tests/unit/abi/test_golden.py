"""Every constant and every structure against what C compilers say (tools/gen_abi_golden.py)."""

from __future__ import annotations

import json
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, cast, get_type_hints

import pytest

import gen_abi_golden as golden
import noah.abi
from noah.abi import x86_64
from noah.abi.arch import ABIS

if TYPE_CHECKING:
    from noah.abi.layout import Layout

ANSWERS: dict[str, golden.Answers] = {
    arch: cast("golden.Answers", json.loads((golden.GOLDEN / f"{arch}.json").read_text())) for arch in golden.ARCHES
}
U64 = 1 << 64
# The open flags that aarch64 has elsewhere; inside Noah they have x86-64's values.
MOVED = {"O_DIRECT", "O_LARGEFILE", "O_DIRECTORY", "O_NOFOLLOW", "O_TMPFILE", "VALID_OPEN_FLAGS", "SETFL_MASK"}

# What SIGCONTEXT packs, in order, and the names of its first register, the stack pointer and the program counter.
SIGCONTEXT_VALUES = {
    "x86_64": [*x86_64.SIGCONTEXT_REGISTERS, "cs", "gs", "fs", "ss", "err", "trapno", "oldmask", "cr2", "fpstate"],
    "aarch64": ["fault_address", *(f"x{n}" for n in range(31)), "sp", "pc", "pstate"],
}
ENDS = {"x86_64": ("r8", "rsp", "rip"), "aarch64": ("x0", "sp", "pc")}


@pytest.mark.parametrize("arch", golden.ARCHES)
@pytest.mark.parametrize("module", golden.HEADERS)
def test_constants_are_the_headers(module: str, arch: str) -> None:
    known = ANSWERS[arch].get(module, {})
    ours = golden.constants(module)
    wrong = {
        name: (ours[name], value)
        for name, value in known.items()
        if (ours[name] - value) % U64 and not (arch == "aarch64" and name in MOVED)
    }
    assert not wrong


@pytest.mark.parametrize("module", golden.HEADERS)
def test_only_listed_constants_are_unchecked(module: str) -> None:
    unchecked = [
        name for name in golden.constants(module) if all(name not in ANSWERS[a].get(module, ()) for a in ANSWERS)
    ]
    assert unchecked == golden.NOT_EXPORTED.get(module, "").split()


def test_every_module_of_constants_is_checked() -> None:
    package = Path(noah.abi.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    others = {
        "aarch64",
        "aiostructs",
        "arch",
        "dirent",
        "ipcstructs",
        "kinds",
        "layout",
        "names",
        "numbers",
        "siginfo",
        "sockstructs",
        "structs",
    }
    assert modules - others - {"x86_64"} == set(golden.HEADERS)


@pytest.mark.parametrize("arch", golden.ARCHES)
def test_open_flags_translate_to_the_headers(arch: str) -> None:
    ours = golden.constants("fcntl")
    for name in ANSWERS[arch]["fcntl"]:
        if name.startswith("O_"):
            theirs = ANSWERS[arch]["fcntl"][name]
            assert ABIS[arch].open_flags(theirs) == ours[name], name
            assert ABIS[arch].open_flags(ours[name]) == theirs, name


@pytest.mark.parametrize("layout", golden.LAYOUTS, ids=golden.layout_name)
def test_layouts_are_the_headers(layout: type[Layout]) -> None:
    name = golden.layout_name(layout)
    found = [answers[name] for answers in ANSWERS.values() if name in answers]
    assert found
    codes = field_sizes(layout)
    for answer in found:
        assert answer["sizeof"] == layout.struct.size
        for field, offset in layout.OFFSETS.items():
            if field in answer:
                assert (answer[field], answer[field + ".size"]) == (offset, codes[field]), field


def field_sizes(layout: type[Layout]) -> dict[str, int]:
    hints = get_type_hints(layout, include_extras=True)
    return {name: Struct("<" + hints[name].__metadata__[0]).size for name in layout.OFFSETS}


@pytest.mark.parametrize("arch", golden.ARCHES)
def test_architecture_values_are_the_headers(arch: str) -> None:
    module = vars(ABIS[arch])
    for name, value in ANSWERS[arch][arch].items():
        if name.startswith("sigcontext."):
            continue
        ours = module[name]
        assert (ours.size if isinstance(ours, Struct) else ours) == value, name


@pytest.mark.parametrize("arch", golden.ARCHES)
def test_sigcontext_has_registers_in_their_places(arch: str) -> None:
    answers = ANSWERS[arch][arch]
    names = SIGCONTEXT_VALUES[arch]
    packed = ABIS[arch].SIGCONTEXT.pack(*range(len(names)))
    for name, key in zip(ENDS[arch], ("first", "sp", "pc"), strict=True):
        assert packed[answers[f"sigcontext.{key}"]] == names.index(name)


@pytest.mark.check
@pytest.mark.parametrize("arch", golden.ARCHES)
def test_golden_answers_are_what_the_compiler_says(arch: str) -> None:
    cc = golden.compiler(arch)
    if cc is None:
        pytest.skip(f"no C compiler for {arch} on this machine")
    now = golden.ask(arch, cc)
    assert now, "the compiler finds no header at all"
    for group, answers in now.items():
        kept = ANSWERS[arch].get(group, {})
        assert {name: value for name, value in answers.items() if kept.get(name, value) != value} == {}
