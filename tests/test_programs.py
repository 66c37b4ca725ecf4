"""Real programs, end to end: every script of tests/programs and tests/runtimes does in Noah what it does natively.

Those of tests/runtimes are for language runtimes, in a Debian root that has them.

Output, exit status and the tree that a script leaves (names, types, modes, owners, link counts, sizes, contents) must
be equal. A script says what it needs in comments at its top:

    # needs: gzip tar        programs that must be installed
    # slow                   only in `make test-slow`
    # timeout: 300           seconds on KVM; the emulator gets five times that
    # varies: REGEX          matches in the output that differ between two native runs
    # volatile: GLOB         files whose size and content differ between two native runs
    # only: root             needs the privileges of root
    # host: linux            needs what no portable call tells: all events of files, the host's own /proc

A directory beside the script with its name holds files that it starts with.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from tests.running import (
    PACKAGES,
    RUNTIMES,
    TIMED_OUT,
    Result,
    debian_root,
    environment,
    native_command,
    need_engine,
    need_programs,
    noah_command,
    ordinary_user,
    remove_tree,
    run,
    snapshot,
    with_kvm,
    working_directory,
)

if TYPE_CHECKING:
    import pwd

SCRIPTS: Final = {
    path.name: path
    for folder in ("programs", "runtimes")
    for path in sorted((Path(__file__).parent / folder).iterdir())
    if path.is_file()
}
INTERPRETERS: Final = {
    ".escript": "escript",
    ".js": "node",
    ".lua": "lua5.4",
    ".php": "php",
    ".pl": "perl",
    ".py": "/usr/bin/python3",
    ".rb": "ruby",
    ".sh": "bash",
}
WORK: Final = Path(f"/tmp/noah-programs-{os.getpid()}")  # the same in both runs, as programs print it


class Target(NamedTuple):
    engine: str
    host: str
    root: str  # "host", "debian", or "runtimes": Debian with the language runtimes
    user: str  # "root" or "user"

    def __str__(self) -> str:
        return "-".join(self)


QUICK: Final = Target("kvm", "linux", "host", "root")
TARGETS: Final = (
    QUICK,
    Target("kvm", "posix", "host", "root"),
    Target("emulator", "linux", "host", "root"),
    Target("emulator", "linux", "host", "user"),
    Target("kvm", "linux", "host", "user"),
    Target("kvm", "linux", "debian", "root"),
    Target("emulator", "linux", "debian", "user"),
    Target("kvm", "linux", "runtimes", "root"),
    Target("kvm", "linux", "runtimes", "user"),
    Target("kvm", "posix", "runtimes", "root"),
    Target("emulator", "linux", "runtimes", "user"),
)
# Quick on every engine: one shell, one pipeline, one program with its own data.
QUICK_ON_KVM: Final = frozenset(
    (
        "archives.sh",
        "bash_basics.sh",
        "bash_limits.sh",
        "bash_pipes.sh",
        "busybox.sh",
        "cc.sh",
        "core_files.sh",
        "core_text.sh",
        "find_xargs.sh",
        "git_repository.sh",
        "make_project.sh",
        "perl_core.pl",
        "ruby_core.rb",
        "shebang.sh",
    )
)
QUICK_EVERYWHERE: Final = ("bash_basics.sh", "core_text.sh")


class Header(NamedTuple):
    needs: tuple[str, ...]
    slow: bool
    timeout: float
    varies: re.Pattern[bytes] | None
    volatile: tuple[str, ...]
    only: str
    host: str


@functools.cache
def header(name: str) -> Header:
    lines = SCRIPTS[name].read_text().splitlines()[:12]
    values: dict[str, list[str]] = {}
    for line in lines:
        match = re.fullmatch(r"(?:#|%%|//|--) (needs|slow|timeout|varies|volatile|only|host)(?:: (.*))?", line)
        if match:
            values.setdefault(match[1], []).append(match[2] or "")
    varies = "|".join(f"(?:{pattern})" for pattern in values.get("varies", []))
    return Header(
        needs=tuple(" ".join(values.get("needs", [])).split()),
        slow="slow" in values,
        timeout=float(values.get("timeout", ["60"])[0]),
        varies=re.compile(varies.encode()) if varies else None,
        volatile=tuple(" ".join(values.get("volatile", [])).split()),
        only=values.get("only", [""])[0],
        host=values.get("host", [""])[0],
    )


class Outcome(NamedTuple):
    result: Result
    tree: dict[str, tuple[object, ...]]


def prepare(name: str, user: pwd.struct_passwd | None) -> None:
    """Makes the working directory anew, with the script and its files in it."""
    if WORK.exists():
        remove_tree(WORK)
    WORK.mkdir(mode=0o755)
    shutil.copy(SCRIPTS[name], WORK / name)
    (WORK / name).chmod(0o644)
    files = SCRIPTS[name].with_suffix("")
    if files.is_dir():
        shutil.copytree(files, WORK, dirs_exist_ok=True)
    # All times and owners are the same in both runs.
    for folder, _, names in os.walk(WORK):
        for path in [folder, *(os.path.join(folder, each) for each in names)]:
            os.utime(path, (1_600_000_000, 1_600_000_000))
            if user:
                os.chown(path, user.pw_uid, user.pw_gid)


def outcome(result: Result, spec: Header) -> Outcome:
    tree = snapshot(WORK)
    for path, what in tree.items():
        if any(fnmatch.fnmatch(path, pattern) for pattern in spec.volatile):
            tree[path] = what[:4]
    remove_tree(WORK)
    if spec.varies:
        out, err = (spec.varies.sub(b"<varies>", text) for text in (result.stdout, result.stderr))
        result = result._replace(stdout=out, stderr=err)
    return Outcome(result, tree)


def root_folder(root: str) -> Path:
    return Path("/") if root == "host" else debian_root(RUNTIMES if root == "runtimes" else PACKAGES)


def account(user: str) -> pwd.struct_passwd | None:
    """Who starts the run: None for the user of the tests (root, or whoever that is)."""
    return ordinary_user() if user == "user" and os.getuid() == 0 else None


@functools.cache
def native(name: str, root: str, user: str, attempt: int = 0) -> Outcome:
    """A native run, made once for all engines; in a Debian root by chroot."""
    spec = header(name)
    who = account(user)
    prepare(name, who)
    command = [INTERPRETERS[SCRIPTS[name].suffix], name]
    if root == "host":
        result = run(command, cwd=WORK, env=environment(HOME=str(WORK)), user=who, timeout=spec.timeout * 2)
    else:
        inside = native_command(root_folder(root), WORK, command, who)
        result = run(inside, cwd="/", env=environment(HOME=str(WORK)), timeout=spec.timeout * 2)
    return outcome(result, spec)


def in_noah(name: str, target: Target) -> Outcome:
    spec = header(name)
    who = account(target.user)
    prepare(name, who)
    command = [*noah_command(who), "run", "--engine", target.engine, "--host", target.host]
    if target.root == "host":
        command += ["--root", "/"]
    else:
        command += ["--root", str(root_folder(target.root)), "-v", f"{WORK}:{WORK}"]
    command += ["-u", f"{who.pw_uid}:{who.pw_gid}" if who else f"{os.getuid()}:{os.getgid()}"]
    variables = environment(HOME=str(WORK))
    for key, value in variables.items():
        command += ["-e", f"{key}={value}"]
    command += ["-w", str(WORK), "--", INTERPRETERS[SCRIPTS[name].suffix], name]
    if who and target.engine == "kvm":
        command, starter = [*with_kvm(who, usable=True), *command], None
    else:
        starter = who
    timeout = spec.timeout * (5 if target.engine == "emulator" else 1)
    # Noah's own notes go to a home of its own, not into the tree that is compared.
    with working_directory(who) as home:
        own = environment(HOME=str(home))
        return outcome(run(command, cwd=WORK, env=own, user=starter, timeout=timeout), spec)


def listing(tree: dict[str, tuple[object, ...]]) -> list[str]:
    return [f"{path}: {' '.join(map(str, what))}" for path, what in sorted(tree.items())]


def differences(native_run: Outcome, other: Outcome) -> str:
    """What differs, as text for a person; "" when nothing does."""
    parts: list[str] = []
    one, two = native_run.result, other.result
    if two.status == TIMED_OUT:
        parts.append("no end in time")
    elif one.status != two.status:
        parts.append(f"exit status {two.status}, natively {one.status}")
    if two.orphans > one.orphans:
        parts.append(f"{two.orphans} processes left running, natively {one.orphans}")
    for kind, left, right in (("stdout", one.stdout, two.stdout), ("stderr", one.stderr, two.stderr)):
        before, after = (text.decode(errors="backslashreplace").splitlines() for text in (left, right))
        parts += list(difflib.unified_diff(before, after, f"native {kind}", f"noah {kind}", lineterm="", n=1))[:60]
    before, after = listing(native_run.tree), listing(other.tree)
    parts += list(difflib.unified_diff(before, after, "native files", "noah files", lineterm="", n=0))[:40]
    return "\n".join(parts)


def collect() -> list[object]:
    cases: list[object] = []
    for target in TARGETS:
        for name in SCRIPTS:
            if (SCRIPTS[name].parent.name == "runtimes") != (target.root == "runtimes"):
                continue
            quick = not header(name).slow and ((target == QUICK and name in QUICK_ON_KVM) or name in QUICK_EVERYWHERE)
            cases.append(pytest.param(name, target, marks=[] if quick else [pytest.mark.slow], id=f"{target}-{name}"))
    return cases


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "target"), collect())
def test_program_runs_as_natively(name: str, target: Target) -> None:
    spec = header(name)
    if target.user == "root" and os.getuid():
        pytest.skip("this run is for root; the same program runs as an ordinary user in another one")
    if target.user != "root" and spec.only == "root":
        pytest.skip("this program needs the privileges of root")
    if spec.host not in ("", target.host):
        pytest.skip("no portable call tells who opens or closes a file, nor what the host's own /proc shows")
    need_engine(target.engine)
    noah_command(account(target.user))
    need_programs((INTERPRETERS[SCRIPTS[name].suffix].rpartition("/")[2], *spec.needs),
                  root_folder(target.root))  # fmt: skip
    trouble = differences(native(name, target.root, target.user), in_noah(name, target))
    if trouble:
        pytest.fail(f"{name} on {target}:\n{trouble}", pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_program_is_deterministic_natively(name: str) -> None:
    """The oracle itself: what varies between two native runs must not be compared."""
    root = "runtimes" if SCRIPTS[name].parent.name == "runtimes" else "host"
    need_programs(header(name).needs, root_folder(root))
    user = "user" if os.getuid() else "root"
    trouble = differences(native(name, root, user), native(name, root, user, attempt=1))
    assert not trouble, trouble
    assert native(name, root, user).result.status != TIMED_OUT
