"""Start a guest program. What the command line and Python programs use of Noah."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from noah.abi.errno import EACCES, EISDIR, ENOENT, ENOEXEC, ENOTDIR, ERRNO_NAMES, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_RDONLY, R_OK, X_OK
from noah.abi.limits import BINPRM_BUF_SIZE, NR_OPEN
from noah.abi.poll import POLLIN
from noah.abi.resource import RLIM_INFINITY, RLIM_NLIMITS, RLIMIT_NOFILE
from noah.abi.wait import WNOHANG
from noah.fs.setup import attach_process, make_fds, make_mounts
from noah.host.api import Host, HostError
from noah.host.console import redirect
from noah.host.select import make_host
from noah.host.values import Stat
from noah.kernel.arch import ARCHES
from noah.kernel.box import Box
from noah.kernel.control import NoReturn as Started
from noah.kernel.control import ProcessExit
from noah.kernel.exit import end
from noah.kernel.futex import Futexes
from noah.kernel.limits import apply as apply_limit
from noah.kernel.run import default_bug_report, run
from noah.kernel.signals import SignalState
from noah.kernel.task import Process, Task
from noah.kernel.timers import Timers
from noah.loader.elf import read_at
from noah.loader.execve import execve, open_program
from noah.loader.script import parse_script
from noah.loader.vdso import vdso_for
from noah.mm.user import UserMemory
from noah.net.network import Network
from noah.net.ports import Ports, Published
from noah.syscalls import HANDLER_MODULES, beside
from noah.syscalls.futex import word_calls
from noah.syscalls.process import borrowing
from noah.syscalls.registry import Missing, Stub, build_table
from noah.syscalls.signal import copy_calls
from noah.syscalls.system import RELEASE, VERSION
from noah.util.text import printable
from noah.vfs.credentials import CONFINED, Credentials
from noah.vfs.fdtable import FdTable
from noah.vfs.file import OpenFile
from noah.vfs.namespace import FsContext
from noah.vm.api import EngineError
from noah.vm.select import make_machine

if TYPE_CHECKING:
    from noah.fs.cow import CowFiles
    from noah.fs.owned import OwnedFiles
    from noah.fs.volumes import Volumes

_LISTEN_NS: Final = 200_000_000
DEFAULT_PATH: Final = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StartError(Exception):
    """The program could not be started. `status` is the exit status that docker(1) gives it: 125, 126 or 127."""

    def __init__(self, text: str, status: int = 125) -> None:
        super().__init__(text)
        self.status = status


class Tracer(Protocol):
    """What watches system calls: noah.trace has two."""

    def attach(self, process: Process, table: list[Stub]) -> list[Stub]:
        """Wrap the dispatch table of the first process; its children inherit what is returned."""

    def started(self, task: Task, path: bytes, argv: Sequence[bytes], environ: Sequence[bytes]) -> None:
        """The first program is loaded and about to run."""


class Options:
    """What `run` may be told. Paths are bytes; guest paths are absolute."""

    __slots__ = (
        "box",
        "cwd",
        "engine",
        "environ",
        "host",
        "hostname",
        "image",
        "network",
        "on_bug",
        "on_missing",
        "owners",
        "ports",
        "read_only",
        "root",
        "started",
        "tracer",
        "user",
        "volume_owners",
        "volumes",
    )

    def __init__(self) -> None:
        self.root = b"/"
        self.volumes: list[tuple[bytes, bytes, bool]] = []  # host path, guest path, read-only
        self.environ: dict[bytes, bytes] = {}  # beside the host's for the root "/", or a small one for other roots
        self.cwd: bytes | None = None
        self.user = b""  # USER[:GROUP], numbers or names of the guest; empty: the host user's numbers
        self.engine = "auto"
        self.host = "auto"
        self.network = "host"  # or "none"
        self.ports: list[Published] = []  # that are others on the host
        self.hostname = b""  # what the box calls the machine; empty: as the host does
        self.read_only = False  # the root; not what is mounted in it
        self.tracer: Tracer | None = None
        self.on_missing: Callable[[Process, str], None] | None = None
        self.on_bug: Callable[[Process, str], None] | None = None
        self.owners = b""  # the file that says who owns what in root, if that is not the host's to say
        self.volume_owners = b""  # the directory of the tables that say it of volumes, where the host cannot
        self.image = b""  # the directory of the image that root, in one of its own, is a copy of (noah.fs.cow)
        self.box: Callable[[Host], Box] = Box  # the box to join, or to make
        self.started: Callable[[], None] | None = None  # called when the program is loaded


def load_handlers() -> None:
    """Import every module that declares system calls."""
    for name in HANDLER_MODULES:
        importlib.import_module(f"noah.syscalls.{name}")


def start(argv: Sequence[bytes], options: Options) -> NoReturn:
    """Run a program in this very process, which ends as the program ends. Raises StartError if it cannot start."""
    try:
        host = make_host(options.host)
    except HostError as error:
        raise StartError(str(error)) from None
    host.signals.block_all()
    task, name, environ = _prepare(host, argv, options)
    process = task.process
    missing = Missing(_reporter(process, options.on_missing) or process.missing)
    process.on_bug = _reporter(process, options.on_bug) or process.on_bug
    load_handlers()
    table = build_table(process.arch.name, missing)
    process.missing = missing.note
    if options.tracer is not None:
        table = options.tracer.attach(process, table)
    else:
        process.borrowing = borrowing(process.arch.name, table)
        inside = process.machine.answer_inside(word_calls(process.arch.name), copy_calls(process.arch.name))
        if inside is not None:
            process.futexes = Futexes(inside.waiting)
            process.signals.actions.table = inside.entries
    if options.user:
        task.apply_identity()
    try:
        execve(task, AT_FDCWD, name, list(argv), environ)
    except LinuxError as error:
        raise start_error(name, error) from None
    except ProcessExit as how:
        end(task, how)
    except Started:
        pass
    if options.tracer is not None:
        options.tracer.started(task, name, argv, environ)
    if options.started is not None:
        options.started()
    gc.freeze()  # a forked child need not copy pages just to scan them
    gc.enable()
    run(task, table, beside.numbers(process.arch.name))


def run_beside(argv: Sequence[bytes], options: Options, line: Callable[[bytes], None]) -> int:
    """Run a program in a child process without input; its output, errors too, is handed over line by line.

    Returns the exit status as a shell has it: 128 + the signal's number for a program that was killed, 125 to 127 with
    a line that says why for one that did not start.
    """
    host = make_host(options.host)
    reader, writer = host.files.pipe()
    pid = host.procs.fork()
    if pid == 0:
        redirect(writer)
        try:
            start(argv, options)
        except StartError as error:
            host.files.write(2, f"{error}\n".encode())
            host.procs._exit(error.status)
        finally:
            host.procs._exit(125)
    host.files.close(writer)
    status = _listen(host, pid, reader, line)
    host.files.close(reader)
    return status >> 8 & 0xFF if not status & 0x7F else 128 + (status & 0x7F)


def _listen(host: Host, pid: int, reader: int, line: Callable[[bytes], None]) -> int:
    """Read until the program has ended, though what it has left running may hold the pipe open; the wait status."""
    rest = b""
    while True:
        ended, status, _ = host.procs.wait4(pid, WNOHANG)
        while host.poller.poll([(reader, POLLIN)], 0 if ended else _LISTEN_NS, signals=False)[0]:
            data = host.files.read(reader, 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for each in lines:
                line(each)
        else:
            data = b"?"
        if not data and not ended:
            ended, status, _ = host.procs.wait4(pid, 0)
        if ended:
            if rest:
                line(rest)
            return status


def _reporter(process: Process, report: Callable[[Process, str], None] | None) -> Callable[[str], None] | None:
    return None if report is None else lambda text: report(process, text)


def _prepare(host: Host, argv: Sequence[bytes], options: Options) -> tuple[Task, bytes, list[bytes]]:
    uid, gid = host.procs.getresuid()[1], host.procs.getresgid()[1]
    creds = Credentials(uid, gid, tuple(host.procs.getgroups()))
    for path, _, _ in options.volumes:
        try:
            host.files.fstatat(AT_FDCWD, path)
        except LinuxError as error:
            raise StartError(f"volume {printable(path)}: {describe(error)}") from None
    shared: Volumes | None = None
    try:
        files = _files(host, options)
        view = None if files is None else files.host_with()
        if options.volumes and options.volume_owners:
            from noah.fs.volumes import Volumes

            shared = Volumes(host, options.volume_owners)
        mounts = make_mounts(host, options.root, options.volumes, view, shared)
        host.files.faccessat(AT_FDCWD, options.root, R_OK | X_OK)
    except LinuxError as error:
        raise StartError(f"root {printable(options.root)}: {describe(error)}") from None
    mounts.root.read_only = options.read_only
    fs = FsContext(mounts, host.files.umask(0))  # Noah applies the guest's itself
    boot = _Boot(host, creds, fs, make_fds(host, mounts))
    home = _become(boot, options.user) if options.user else b""
    environ = _environ(host, options, home)
    cwd = options.cwd or (host.procs.getcwd() if _is_host_root(options) else b"/")
    try:
        fs.cwd = fs.directory(boot, AT_FDCWD, cwd)
    except LinuxError as error:
        raise StartError(f"working directory {printable(cwd)}: {describe(error)}") from None
    name = _find(boot, argv[0], environ.get(b"PATH", DEFAULT_PATH))
    arch = _arch_of(boot, name)
    offline = options.network == "none" and not host.procs.leave_network()
    try:
        if not _is_host_root(options):
            host.procs.limit_capabilities(CONFINED)
        machine = make_machine(options.engine, arch)
    except EngineError as error:
        raise StartError(str(error)) from None
    process = Process(host, machine, ARCHES[arch], options.box(host), boot.creds, boot.fds, fs)
    if files is not None:
        files.asker = process
    if shared is not None:
        shared.ask_for(process)
    attach_process(mounts, process, RELEASE, VERSION)
    own_names = options.network == "none" or not _is_host_root(options)
    process.network = Network(
        process.box.socket_names,
        b"noah-%s/" % process.box.name if own_names else b"",
        Ports(options.ports),
        offline=offline,
    )
    process.signals = SignalState(process)
    process.timers = Timers(process)
    process.futexes = Futexes()
    process.vdso = vdso_for(machine)
    process.on_bug = default_bug_report
    if options.hostname:
        process.box.uts.nodename = options.hostname
    process.box.add(process.pid, process.creds, process.program)
    process.box.cards.take(process)
    vcpu = machine.new_vcpu()
    task = Task(process, vcpu)
    process.tasks.append(task)
    process.signals.start(task)
    for resource in range(RLIM_NLIMITS):
        try:
            limits = host.procs.getrlimit(resource)
        except LinuxError:
            limits = RLIM_INFINITY, RLIM_INFINITY
        process.rlimits[resource] = limits
        apply_limit(process, resource, limits[0])
    _allow_more_files(host, process.rlimits[RLIMIT_NOFILE][1])
    return task, name, [key + b"=" + value for key, value in environ.items()]


def _allow_more_files(host: Host, hard: int) -> None:
    """Noah needs descriptors beside the guest's, which may use all that it is allowed: prlimit(2)."""
    for limit in (min(2 * hard, NR_OPEN), hard):
        try:
            host.procs.setrlimit(RLIMIT_NOFILE, (limit, limit))
        except LinuxError:
            continue  # more than the limit takes CAP_SYS_RESOURCE
        break


def _files(host: Host, options: Options) -> OwnedFiles | CowFiles | None:
    """How the files of the root are seen, if not as the host has them."""
    if not options.owners and not options.image:
        return None
    from noah.fs.cow import files_of

    return files_of(host, options.owners, options.root.rpartition(b"/")[0], options.image)


class _Boot:
    """A Caller before there is a task: it opens the program to see what it is made for."""

    __slots__ = ("creds", "fds", "fs", "host", "mem", "pid")

    mem: UserMemory  # there is none yet, and nothing that opens a file asks for it

    def __init__(self, host: Host, creds: Credentials, fs: FsContext, fds: FdTable) -> None:
        self.host = host
        self.creds = creds
        self.fs = fs
        self.pid = host.procs.getpid()
        self.fds = fds

    def wait(self, fds: Sequence[tuple[int, int]], deadline_ns: int | None = None) -> list[tuple[int, int]]:
        """A program is a regular file: opening and reading it never waits."""
        return list(fds)

    def send_signal(self, signo: int) -> None:
        """There is no guest to signal."""

    def blocks_or_ignores(self, signo: int) -> bool:
        return True

    def check_not_running(self, stat: Stat) -> None:
        """Nothing runs yet."""


def _is_host_root(options: Options) -> bool:
    return not options.root.strip(b"/")


def _environ(host: Host, options: Options, home: bytes) -> dict[bytes, bytes]:
    own = host.procs.environ()
    if _is_host_root(options):
        base = dict(own)
    else:
        base = {b"PATH": DEFAULT_PATH, b"HOME": b"/root"} | {k: own[k] for k in (b"TERM", b"LANG") if k in own}
    if home:
        base[b"HOME"] = home
    return base | options.environ


def _become(boot: _Boot, user: bytes) -> bytes:
    """Give the guest its user; the user's home, b"" if it is not known."""
    from noah.loader.users import NoSuchUser, find_user

    try:
        found = find_user(user, _read(boot, b"/etc/passwd"), _read(boot, b"/etc/group"))
    except NoSuchUser as error:
        raise StartError(str(error)) from None
    boot.creds = Credentials(found.uid, found.gid, found.groups)
    return found.home


def _read(boot: _Boot, path: bytes) -> bytes:
    """A file of the guest; b"" if it cannot be read."""
    try:
        file = boot.fs.open(boot, AT_FDCWD, path, O_RDONLY)
    except LinuxError:
        return b""
    data = b""
    try:
        while part := read_at(boot, file, len(data), 1 << 16):
            data += part
    except LinuxError:
        pass
    finally:
        file.release()
    return data


def _find(boot: _Boot, program: bytes, path: bytes) -> bytes:
    """Where a program is: as execvp(3) looks for it."""
    if not program:
        raise StartError("the program's name is empty", 127)
    if b"/" in program:
        return program
    denied = None
    for directory in path.split(b":"):
        candidate = (directory or b".") + b"/" + program
        try:
            open_program(boot, AT_FDCWD, candidate, 0).release()
            return candidate
        except LinuxError as error:
            if error.errno in (EACCES, EISDIR):
                denied = candidate
            elif error.errno not in (ENOENT, ENOTDIR):
                raise start_error(candidate, error) from None
    if denied is not None:
        raise StartError(f"{printable(denied)}: permission denied, or not a program", 126)
    raise StartError(f"{printable(program)}: not found in PATH", 127)


def _arch_of(boot: _Boot, name: bytes) -> str:
    """The architecture that a program is made for, through `#!` lines."""
    shown = name
    for _ in range(6):
        try:
            file: OpenFile = open_program(boot, AT_FDCWD, name, O_RDONLY)
        except LinuxError as error:
            raise start_error(name, error) from None
        try:
            head = read_at(boot, file, 0, BINPRM_BUF_SIZE)
        finally:
            file.release()
        if not head.startswith(b"#!"):
            break
        name, _ = parse_script(head)
    if head[:4] == b"\x7fELF" and len(head) >= 20:
        machine = int.from_bytes(head[18:20], "little")
        for arch in ARCHES.values():
            if arch.elf_machine == machine and head[4] == 2:
                return arch.name
        raise StartError(
            f"{printable(shown)}: made for a processor that Noah does not run (ELF machine {machine})", 126
        )
    raise StartError(f"{printable(shown)}: neither an ELF program nor a script with a #! line", 126)


def start_error(name: bytes, error: LinuxError) -> StartError:
    """The one line that says why a program did not start."""
    status = 127 if error.errno in (ENOENT, ENOTDIR) else 126
    text = describe(error)
    if error.errno == ENOEXEC:
        text = f"not a program that can be run ({error.why or 'exec format error'})"
    return StartError(f"{printable(name)}: {text}", status)


def describe(error: LinuxError) -> str:
    """An error for a person: Linux' words, and what Noah adds to them."""
    words = {ENOENT: "no such file or directory", EACCES: "permission denied", ENOTDIR: "not a directory"}
    text = words.get(error.errno) or ERRNO_NAMES.get(error.errno, str(error.errno))
    return f"{text} ({error.why})" if error.why else text
