"""execve(2): replace the program of a process, inside the same host process and virtual machine.

Everything that can fail with an error for the caller is done first; behind the point of no return a failure ends the
process by SIGSEGV, as there is no program to go back to.
"""

from __future__ import annotations

from typing import Final

from noah.abi import elf as abi
from noah.abi.arch import ABIS
from noah.abi.capability import CAP_DAC_OVERRIDE
from noah.abi.errno import EACCES, ELOOP, ENOENT, ENOEXEC, EPERM, ETXTBSY, LinuxError
from noah.abi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_ACCMODE, O_NOFOLLOW, O_RDONLY
from noah.abi.limits import BINPRM_BUF_SIZE
from noah.abi.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE
from noah.abi.personality import ADDR_NO_RANDOMIZE
from noah.abi.resource import RLIM_INFINITY, RLIMIT_STACK
from noah.abi.signal import SIGSEGV
from noah.abi.stat import S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP, S_IXOTH, S_IXUSR
from noah.host.values import Stat
from noah.kernel.control import ProcessExit
from noah.kernel.limits import check_exec
from noah.kernel.robust import release_robust
from noah.kernel.task import Task
from noah.loader import filecaps
from noah.loader.elf import Elf, read_at
from noah.loader.script import parse_script
from noah.loader.stack import StackImage, check_size
from noah.mm.fault import map_stack
from noah.mm.vma import MappedFile
from noah.util.text import printable
from noah.vfs.caller import Caller
from noah.vfs.credentials import Credentials, FileCapabilities
from noah.vfs.file import OpenFile
from noah.vfs.handle import HostFile
from noah.vm.arena import PAGE

_MAX_REWRITES: Final = 5  # scripts whose interpreter is a script (fs/exec.c: exec_binprm)
_STACK_INITIAL: Final = 132 << 10
_STACK_ROOM: Final = 128 << 20  # kept free below it (MIN_GAP): a program may raise its own limit
_STACK_MAX: Final = 1 << 30  # room in the arena for an unlimited stack
_RANDOM_PAGES: Final = (1 << 22) - 1


class Program:
    """What execve found: the file to run, with the arguments as scripts change them."""

    __slots__ = ("_opened", "argv", "capabilities", "elf", "environ", "file", "interpreter", "interpreter_elf", "name")

    def __init__(
        self, task: Task, file: OpenFile, name: bytes, argv: list[bytes], environ: list[bytes], *, vanishes: bool
    ) -> None:
        """`vanishes`: nobody can open it by its name once the program runs (BINPRM_FLAGS_PATH_INACCESSIBLE)."""
        self.file = file
        self.name = name  # AT_EXECFN: as the caller named it
        self.argv = argv
        self.environ = environ
        self.capabilities: FileCapabilities | None = None
        self.interpreter: OpenFile | None = None
        self.interpreter_elf: Elf | None = None
        self._opened = [file]
        try:
            self._resolve(task, vanishes=vanishes)
        except LinuxError:
            self.close()
            raise

    def _resolve(self, task: Task, *, vanishes: bool) -> None:
        """Follow `#!` lines to an ELF file and open what it needs."""
        machine = task.process.arch.elf_machine
        rewrites = 0
        name = self.name
        while True:
            head = read_at(task, self.file, 0, PAGE)
            if not head.startswith(b"#!"):
                break
            rewrites += 1
            if rewrites > _MAX_REWRITES:
                raise LinuxError(ELOOP)
            interpreter, argument = parse_script(head[:BINPRM_BUF_SIZE])
            if vanishes:
                raise LinuxError(ENOENT)
            self.argv = [interpreter, *argument, name, *self.argv[1:]]
            name = interpreter
            self.file = self._open(task, interpreter)
        self.elf = Elf(task, self.file, machine, head)
        if self.elf.interpreter:
            self.interpreter = self._open(task, self.elf.interpreter)
            head = read_at(task, self.interpreter, 0, PAGE)
            self.interpreter_elf = Elf(task, self.interpreter, machine, head, is_interpreter=True)

    def _open(self, task: Task, path: bytes) -> OpenFile:
        """An interpreter: of a script, or an ELF file's dynamic loader."""
        try:
            file = open_program(task, AT_FDCWD, path, 0)
        except LinuxError as error:
            raise LinuxError(error.errno, f"its interpreter {printable(path)}") from None
        self._opened.append(file)
        return file

    def execute(self, task: Task, *, machine_is_empty: bool = False) -> None:
        """The rest of execve(2), behind the point of no return; closes."""
        try:
            _replace(task, self, machine_is_empty=machine_is_empty)
        except LinuxError as error:
            task.host.signals.collect()
            raise ProcessExit(signal=SIGSEGV) from error
        finally:
            self.close()

    def close(self) -> None:
        for file in self._opened:
            file.release()


def open_program(caller: Caller, dirfd: int, path: bytes, flags: int) -> OpenFile:
    """Open a file to execute: a regular file with an execute permission, on a mount that allows it."""
    if flags & AT_EMPTY_PATH and not path:
        file = caller.fds.get(dirfd).place().open(caller, O_RDONLY, 0)
    else:
        file = caller.fs.open(caller, dirfd, path, O_RDONLY | (O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0))
    try:
        stat = file.stat()
        if stat.mode & S_IFMT != S_IFREG or not _may_execute(caller.creds, stat):
            raise LinuxError(EACCES)
        written = file.is_written()
        if written or (written is None and _writes(caller, stat)):
            raise LinuxError(ETXTBSY)
    except LinuxError:
        file.release()
        raise
    return file


def _writes(caller: Caller, stat: Stat) -> bool:
    """Whether the process itself has a file open for writing. What memfd_create(2) gives does not count there."""
    for _, file in tuple(caller.fds.items()):
        if file.flags & O_ACCMODE != O_RDONLY and isinstance(file, HostFile) and not file.path.startswith(b"/memfd:"):
            other = file.stat()
            if (other.dev, other.ino) == (stat.dev, stat.ino):
                return True
    return False


def _may_execute(creds: Credentials, stat: Stat) -> bool:
    """generic_permission(MAY_EXEC) of a regular file, without access control lists."""
    if creds.capable(CAP_DAC_OVERRIDE):
        return bool(stat.mode & 0o111)
    if creds.fsuid == stat.uid:
        return bool(stat.mode & S_IXUSR)
    return bool(stat.mode & (S_IXGRP if creds.in_group(stat.gid) else S_IXOTH))


def execve(task: Task, dirfd: int, path: bytes, argv: list[bytes], environ: list[bytes], flags: int = 0) -> None:
    """Replace the program. On return the registers are the new program's; errors leave the old one as it was."""
    find_program(task, dirfd, path, argv, environ, flags).execute(task)


def find_program(
    task: Task, dirfd: int, path: bytes, argv: list[bytes], environ: list[bytes], flags: int = 0
) -> Program:
    """All of execve(2) that can fail with an error for the caller."""
    check_exec(task.process)
    stack_limit = task.process.rlimits.get(RLIMIT_STACK, (8 << 20, RLIM_INFINITY))[0]
    check_size(argv, environ, stack_limit)
    name = path
    file = open_program(task, dirfd, path, flags)
    vanishes = False
    if dirfd != AT_FDCWD and not path.startswith(b"/"):
        name = b"/dev/fd/%d/%s" % (dirfd, path) if path else b"/dev/fd/%d" % dirfd
        vanishes = task.fds.is_cloexec(dirfd)
    program = Program(task, file, name, argv or [b""], environ, vanishes=vanishes)
    try:
        check_size(program.argv, environ, stack_limit)
        program.capabilities = filecaps.of_file(program.file)
        if program.capabilities is not None and not task.creds.may_execute(program.capabilities):
            raise LinuxError(EPERM)
    except LinuxError:
        program.close()
        raise
    return program


def _replace(task: Task, program: Program, *, machine_is_empty: bool) -> None:
    process = task.process
    space = process.space
    elf = program.elf
    environ = program.environ
    stack_limit = process.rlimits.get(RLIMIT_STACK, (8 << 20, RLIM_INFINITY))[0]
    if process.threads is not None:
        process.threads.become_alone(task)
    release_robust(task)  # exec_mm_release()
    if process.vfork_done is not None:
        process.vfork_done()
    process.fds.close_on_exec()
    process.signals.on_exec(task)
    process.timers.on_exec()
    secure = _set_ids(task, program.file, program.capabilities)
    space.reset(machine_is_empty=machine_is_empty)
    process.box.cards.note_own_pages(task.host.procs.resident() // PAGE)
    space.limit_stack = stack_limit if stack_limit != RLIM_INFINITY else _STACK_MAX
    task.clear_child_tid = 0
    task.dispatch = None
    random = task.host.rng.getrandom(32)
    shift = int.from_bytes(random[16:24], "little") if not process.personality & ADDR_NO_RANDOMIZE else 0
    top = space.machine.user_limit - (shift & 0x3FFF) * PAGE
    stack_size = min(space.limit_stack, _STACK_MAX) + PAGE - 1 & -PAGE
    stack_size = max(stack_size, _STACK_INITIAL)
    space.mmap_top = top - max(stack_size, _STACK_ROOM) - (1 << 20) - ((shift >> 14) & _RANDOM_PAGES) * PAGE

    base = 0
    if elf.dynamic:
        base = (space.machine.user_limit // 3 * 2 & -PAGE) + ((shift >> 36) & _RANDOM_PAGES) * PAGE
        base = base & -elf.alignment
    base -= elf.low if elf.dynamic else 0
    _load(task, elf, program.file, base)
    end = (base + elf.high + PAGE - 1) & -PAGE
    entry = base + elf.entry
    interpreter_base = 0
    if program.interpreter is not None and program.interpreter_elf is not None:
        other = program.interpreter_elf
        size = (other.high + PAGE - 1 & -PAGE) - other.low
        interpreter_base = space.find_free(size) - other.low if other.dynamic else 0
        _load(task, other, program.interpreter, interpreter_base)
        entry = interpreter_base + other.entry
    space.brk_start = space.brk_end = end + ((shift >> 58) & 0x3F) * PAGE

    creds = task.creds
    auxv = [
        *process.vdso_auxv(),
        (abi.AT_MINSIGSTKSZ, ABIS[process.arch.name].min_signal_stack(len(task.vcpu.get_fp()))),
        (abi.AT_HWCAP, process.arch.hwcap),
        (abi.AT_PAGESZ, PAGE),
        (abi.AT_CLKTCK, process.arch.clock_ticks),
        (abi.AT_PHDR, base + elf.phdr_address if elf.phdr_address else 0),
        (abi.AT_PHENT, 56),
        (abi.AT_PHNUM, elf.phnum),
        (abi.AT_BASE, interpreter_base),
        (abi.AT_FLAGS, 0),
        (abi.AT_ENTRY, base + elf.entry),
        (abi.AT_UID, creds.uid),
        (abi.AT_EUID, creds.euid),
        (abi.AT_GID, creds.gid),
        (abi.AT_EGID, creds.egid),
        (abi.AT_SECURE, int(secure)),
        (abi.AT_RANDOM, 0),
        (abi.AT_HWCAP2, process.arch.hwcap2 if process.machine.fsgsbase else 0),
        (abi.AT_EXECFN, 0),
        (abi.AT_PLATFORM, 0),
        (abi.AT_NULL, 0),
    ]
    image = StackImage(
        top,
        program.argv,
        environ,
        program.name,
        process.arch.platform,
        random[:16],
        auxv,
        {abi.AT_RANDOM: "random", abi.AT_EXECFN: "filename", abi.AT_PLATFORM: "platform"},
    )
    initial = max(_STACK_INITIAL, (len(image.data) + (64 << 10) + PAGE - 1) & -PAGE)
    map_stack(space, top, max(stack_size, initial, _STACK_ROOM), initial)
    if elf.exec_stack:
        space.mprotect(top - initial, initial, PROT_READ | PROT_WRITE | PROT_EXEC)
    space.memory.write(image.pointer, image.data)

    process.exe = program.file.path
    process.argv = program.argv
    process.environ = environ
    process.auxv = image.auxv
    process.comm = program.name.rsplit(b"/", 1)[-1][:15]
    process.dumpable = 0 if secure else 1
    task.host.procs.set_name(process.comm)
    process.show()
    vcpu = task.vcpu
    vcpu.clear()
    regs = vcpu.regs
    regs[process.arch.sp] = image.pointer
    regs[process.arch.pc] = entry
    process.arch.start(regs)


def _set_ids(task: Task, file: OpenFile, capabilities: FileCapabilities | None) -> bool:
    """Set-user-ID and set-group-ID bits and capabilities, under the emulated credentials. Returns AT_SECURE."""
    creds, process = task.creds, task.process
    stat = file.stat()
    uid = gid = None
    if not process.no_new_privs:
        if stat.mode & S_ISUID:
            uid = stat.uid
        if stat.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP:
            gid = stat.gid
    before = creds.fsuid, creds.fsgid, creds.effective
    secure = creds.execute(uid, gid, capabilities, gains=not process.no_new_privs)
    if (creds.fsuid, creds.fsgid, creds.effective) != before:
        task.apply_identity()
    process.box.note_users(process.pid, creds)
    process.program = (stat.dev, stat.ino)
    process.box.note_exec(process.pid, process.program)
    if secure and task.pdeathsig:
        task.pdeathsig = 0
        task.host.procs.set_pdeathsig(0)
    return secure


def _load(task: Task, elf: Elf, file: OpenFile, base: int) -> None:
    """Map the segments of a file; the rest of the last page of each is zeroed if the segment is longer in memory."""
    space = task.process.space
    mapped: MappedFile | None = file.mapped(writable=False)
    if mapped is None:
        raise LinuxError(ENOEXEC)
    for segment in elf.segments:
        segment.check(base, space.task_size)
        start = base + segment.address & -PAGE
        file_end = base + segment.address + segment.file_size
        memory_end = base + segment.address + segment.memory_size
        mapped_end = start
        if segment.file_size:
            mapped_end = file_end + PAGE - 1 & -PAGE
            offset = segment.offset & -PAGE
            space.mmap(start, mapped_end - start, segment.prot, MAP_PRIVATE | MAP_FIXED, mapped, offset)
            if memory_end > file_end and segment.prot & PROT_WRITE and mapped_end > file_end:
                space.memory.write(file_end, bytes(min(mapped_end, memory_end + PAGE) - file_end))
        if memory_end > mapped_end:
            length = (memory_end + PAGE - 1 & -PAGE) - mapped_end
            space.mmap(mapped_end, length, segment.prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, None, 0)
