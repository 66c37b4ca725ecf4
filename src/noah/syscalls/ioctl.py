"""ioctl(2): what every file answers; the rest is the file's own."""

from __future__ import annotations

from noah.abi import ioctl as cmd
from noah.abi.errno import ENOTTY, LinuxError
from noah.abi.fcntl import FASYNC, O_NONBLOCK, SETFL_MASK
from noah.abi.kinds import Fd, IoctlArg, IoctlCmd
from noah.fs import tty
from noah.kernel.task import Task
from noah.syscalls.paths import file_of
from noah.syscalls.registry import syscall
from noah.vfs import hostioctl

_KNOWN = hostioctl.KNOWN | tty.KNOWN
_NAMES = {value: name for name, value in vars(cmd).items() if name.isupper() and isinstance(value, int)}


@syscall
def ioctl(task: Task, fd: Fd, request: IoctlCmd, arg: IoctlArg) -> int:
    """ioctl(2): control a device."""
    file = file_of(task, fd)
    if request == cmd.FIOCLEX:
        task.fds.set_cloexec(fd, True)
        return 0
    if request == cmd.FIONCLEX:
        task.fds.set_cloexec(fd, False)
        return 0
    if request in (cmd.FIONBIO, cmd.FIOASYNC):
        flag = O_NONBLOCK if request == cmd.FIONBIO else FASYNC
        on = task.mem.read_u32(arg)
        flags = file.get_flags() & SETFL_MASK
        file.set_flags(flags | flag if on else flags & ~flag)
        return 0
    try:
        return file.ioctl(task, request, arg)
    except LinuxError as error:
        if error.errno == ENOTTY and request not in _KNOWN:
            task.process.missing(f"ioctl {_NAMES.get(request, hex(request))}")
        raise
