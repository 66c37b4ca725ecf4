"""`noah doctor`: whether programs can run on this machine, how fast, and what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from noah.abi.resource import RLIM_INFINITY, RLIMIT_AS, RLIMIT_NOFILE, RLIMIT_NPROC
from noah.cli.main import say
from noah.cli.parse import Option, UsageError, parse

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.vm.api import Machine

_OK: Final = "ok"
_NOTE: Final = "note"
_BAD: Final = "bad"
_OLDEST_PYTHON: Final = (3, 11)
_FEW_FILES: Final = 1024
_SLOW_EXIT_US: Final = 15
_ARENA_WANTED: Final = 64 << 30
_WIDTH: Final = 11


class _Table:
    """What was found, line by line as it is found: a check may take a second."""

    def __init__(self) -> None:
        self.engines: list[str] = []

    def line(self, mark: str, name: str, text: str) -> None:
        say(f"{mark:<6}{name:<{_WIDTH}}{text}\n")


def doctor(words: list[bytes]) -> int:
    """`noah doctor`: 0 if programs can run."""
    parsed = parse(words, (Option("--help", "-h"),))
    if parsed.words:
        raise UsageError("doctor takes no arguments")
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.DOCTOR)
    table = _Table()
    _python(table)
    host = _host(table)
    if host is None:
        return 1
    _kvm(table)
    _emulator(table, "x86_64")
    _emulator(table, "aarch64")
    _limits(table, host)
    runs = bool(table.engines) and _program(table, host)
    if runs:
        say(f"\nPrograms can run here, on {table.engines[0]}.\n")
        return 0
    say("\nPrograms cannot run here: see what is marked 'bad' above.\n")
    return 1


def _python(table: _Table) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        table.line(_BAD, "Python", f"{version}: Noah needs 3.11 or newer")
        return
    table.line(_OK, "Python", f"{version} ({sys.implementation.name}), {sys.executable}")
    if sys.dont_write_bytecode:
        text = "PYTHONDONTWRITEBYTECODE is set, so Noah is compiled anew for each start, which takes seconds: unset it"
        table.line(_NOTE, "Start", text)


def _host(table: _Table) -> Host | None:
    from noah.host.api import HostError
    from noah.host.select import make_host

    try:
        host = make_host()
    except HostError as error:
        table.line(_BAD, "Host", str(error))
        return None
    name = host.procs.uname()
    system = b" ".join((name.sysname, name.release, name.machine)).decode("ascii", "backslashreplace")
    missing = [field for field in host.caps._fields if not getattr(host.caps, field)]
    text = f"{system}; {host.procs.nproc()} processors; host layer '{host.name}'"
    table.line(_OK, "Host", text + (f"; without {', '.join(missing)}" if missing else ""))
    return host


def _kvm(table: _Table) -> None:
    from noah.vm.api import EngineError
    from noah.vm.select import make_machine

    try:
        machine = make_machine("kvm", "x86_64")
    except EngineError as error:
        table.line(_NOTE, "KVM", str(error))
        return
    cost = _cost(table, "KVM", machine)
    if cost is None:
        return
    table.engines.append("KVM")
    speed = "" if cost < _SLOW_EXIT_US else "; a KVM in software, or a busy machine: hardware takes 2-5 us"
    table.line(_OK, "KVM", f"self-test passed; {cost:.1f} us for a bare exit{speed}")
    if machine.host_clock is not None:
        table.line(_OK, "Clock", "the host's clock pages are lent to programs: they read the time without an exit")
    else:
        table.line(_NOTE, "Clock", "this host has no clock pages to lend: each look at the clock is a system call")


def _emulator(table: _Table, arch: str) -> None:
    from noah.vm.api import EngineError
    from noah.vm.select import make_machine

    name = "Emulator" if arch == "x86_64" else ""
    try:
        machine = make_machine("emulator", arch)
    except EngineError as error:
        table.line(_NOTE if table.engines else _BAD, name, f"{arch}: {error}")
        return
    cost = _cost(table, name, machine)
    if cost is not None:
        table.engines.append("the emulator")
        table.line(_OK, name, f"{arch}: self-test passed; {cost:.1f} us for a bare exit")


def _cost(table: _Table, name: str, machine: Machine) -> float | None:
    from noah.vm.api import EngineError
    from noah.vm.selftest import exit_cost

    try:
        return exit_cost(machine)
    except EngineError as error:
        table.line(_BAD, name, str(error))
        return None
    finally:
        machine.close()


def _limits(table: _Table, host: Host) -> None:
    soft, hard = host.procs.getrlimit(RLIMIT_NOFILE)
    if hard < _FEW_FILES:
        table.line(_NOTE, "Files", f"{hard} at most at once (ulimit -Hn): programs will run out of them; raise it")
    else:
        table.line(_OK, "Files", f"{_limit(soft)} open files, at most {_limit(hard)}")
    soft, _ = host.procs.getrlimit(RLIMIT_AS)
    if soft < _ARENA_WANTED:
        table.line(_BAD, "Memory", f"{_limit(soft >> 10)} KiB of address space: `ulimit -v unlimited` before Noah")
    else:
        memory = host.procs.sysinfo()
        table.line(_OK, "Memory", f"{memory.freeram * memory.mem_unit >> 20} MiB free")
    soft, _ = host.procs.getrlimit(RLIMIT_NPROC)
    table.line(_OK, "Processes", f"{_limit(soft)} (a guest's process is a process of the host)")


def _limit(value: int) -> str:
    return "unlimited" if value == RLIM_INFINITY else str(value)


def _program(table: _Table, host: Host) -> bool:
    """Whether /bin/true runs, in a child: the program of the host, so there must be one for Linux."""
    if host.procs.uname().sysname != b"Linux":
        table.line(_NOTE, "Program", "not tried: the host's own programs are not Linux'")
        return True
    from noah.abi.time import CLOCK_MONOTONIC
    from noah.api import Options, StartError, start

    begin = host.clock.clock_gettime(CLOCK_MONOTONIC)
    pid = host.procs.fork()
    if not pid:
        try:
            start([b"/bin/true"], Options())
        except StartError as error:
            table.line(_BAD, "Program", str(error))
            host.procs._exit(1)
    _, status, _ = host.procs.wait4(pid, 0)
    if status:
        table.line(_BAD, "Program", f"/bin/true ended with wait status {status:#x} instead of 0")
        return False
    took = (host.clock.clock_gettime(CLOCK_MONOTONIC) - begin) / 1e6
    table.line(_OK, "Program", f"/bin/true ran in {took:.0f} ms, start of Python not included")
    return True
