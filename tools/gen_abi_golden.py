#!/usr/bin/env python3
"""Ask C compilers for every constant and structure of noah.abi, and keep the answers for machines without them.

    tools/gen_abi_golden.py    write tests/unit/abi/x86_64.json and aarch64.json

Needs a compiler for each architecture (Debian: gcc, gcc-aarch64-linux-gnu) with the C library's and the kernel's
headers. Nothing is run: each value is an operand in the assembler text that the compiler puts out.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from noah.abi import aarch64, aiostructs, ipcstructs, siginfo, sockstructs, structs, x86_64

if TYPE_CHECKING:
    from noah.abi.layout import Layout

GOLDEN = Path(__file__).resolve().parent.parent / "tests/unit/abi"
ARCHES = ("x86_64", "aarch64")

Answers: TypeAlias = dict[str, dict[str, int]]
Key: TypeAlias = tuple[str, str]  # module or structure, name

# Headers that know each module's names. Sets that cannot be included together are asked one after the other.
HEADERS: dict[str, tuple[str, ...]] = {
    "aio": ("linux/aio_abi.h",),
    "arch_prctl": ("asm/prctl.h",),
    "capability": ("linux/capability.h linux/securebits.h",),
    "elf": ("elf.h",),
    "errno": ("errno.h",),
    "fcntl": (
        "linux/fcntl.h linux/openat2.h linux/fs.h linux/fadvise.h linux/falloc.h linux/close_range.h",
        "unistd.h fcntl.h dirent.h",
    ),
    "futex": ("linux/futex.h",),
    "inotify": ("sys/inotify.h",),
    "ioctl": (
        "asm/termios.h asm/ioctls.h linux/kd.h linux/vt.h linux/fs.h linux/fiemap.h linux/msdos_fs.h linux/random.h "
        "linux/nsfs.h",
        "asm/termbits.h asm/ioctls.h linux/ioctl.h",
        "sys/time.h asm/ioctls.h linux/ioctl.h linux/sockios.h",
    ),
    "ipc": ("linux/ipc.h linux/sem.h linux/msg.h linux/shm.h linux/mqueue.h",),
    "kcmp": ("linux/kcmp.h",),
    "limits": ("linux/limits.h linux/binfmts.h linux/uio.h linux/utsname.h sys/user.h",),
    "mman": ("linux/mman.h linux/memfd.h linux/membarrier.h linux/mempolicy.h",),
    "mount": ("linux/mount.h linux/magic.h", "sys/mount.h sys/statvfs.h"),
    "personality": ("linux/personality.h",),
    "poll": ("asm/poll.h sys/epoll.h sys/eventfd.h sys/select.h",),
    "prctl": ("linux/prctl.h linux/seccomp.h",),
    "random": ("linux/random.h",),
    "resource": ("asm/resource.h linux/resource.h linux/ioprio.h",),
    "rtnetlink": ("linux/if.h linux/if_arp.h linux/netlink.h linux/rtnetlink.h linux/if_link.h linux/if_addr.h",),
    "sched": ("linux/sched.h linux/sched/types.h linux/pidfd.h", "sched.h"),
    "signal": ("linux/signal.h asm-generic/siginfo.h", "signal.h sys/signalfd.h"),
    "socket": (
        "sys/socket.h linux/udp.h linux/netlink.h",
        "linux/in.h linux/in6.h linux/tcp.h",
        "netinet/in.h netinet/tcp.h netinet/udp.h",
        "linux/un.h",
    ),
    "stat": ("linux/stat.h", "sys/stat.h"),
    "termios": ("asm/termbits.h", "asm/termios.h", "linux/tty.h"),
    "time": ("linux/time.h linux/timex.h", "sys/timerfd.h"),
    "wait": ("linux/wait.h",),
    "xattr": ("linux/xattr.h linux/limits.h",),
}

# Noah's name: Linux' name, where a Python name cannot be the same.
SPELLINGS = {
    "LINUX_CAPABILITY_VERSION_1": "_LINUX_CAPABILITY_VERSION_1",
    "LINUX_CAPABILITY_VERSION_2": "_LINUX_CAPABILITY_VERSION_2",
    "LINUX_CAPABILITY_VERSION_3": "_LINUX_CAPABILITY_VERSION_3",
    "IOC_NONE": "_IOC_NONE",
    "IOV_MAX": "UIO_MAXIOV",
    "HOST_NAME_MAX": "__NEW_UTS_LEN",
    "IOC_READ": "_IOC_READ",
    "IOC_WRITE": "_IOC_WRITE",
    "WNOTHREAD": "__WNOTHREAD",
    "WALL": "__WALL",
    "WCLONE": "__WCLONE",
    "NSIG": "8 * sizeof(sigset_t)",  # exported as 32 or 65, which nobody means
    "SIGSET_SIZE": "sizeof(sigset_t)",
    "NR_OPEN": "sysctl_nr_open",  # the exported NR_OPEN is of 1994
}

# In no header that programs see, or in later ones only: where each is from, its line says.
NOT_EXPORTED = {
    "aio": "AIO_MAX_NR",
    "arch_prctl": "ARCH_CET_STATUS",
    "capability": "CAP_FULL_SET",
    "elf": "AT_HWCAP3 AT_HWCAP4",
    "errno": "ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ERESTART_RESTARTBLOCK",
    "fcntl": "VALID_OPEN_FLAGS SETFL_MASK F_DUPFD_QUERY F_CREATED_QUERY F_SEAL_EXEC RWF_NOAPPEND RWF_ATOMIC",
    "ipc": (
        "IPCMNI_SHIFT SHM_DEST SHM_LOCKED SHMMAX SHMALL MQ_QUEUES_MAX MQ_MSG_DEFAULT "
        "MQ_MSG_MAX MQ_MSGSIZE_DEFAULT MQ_MSGSIZE_MAX MQ_HARD_MSGMAX MQ_HARD_MSGSIZEMAX"
    ),
    "limits": "MAX_RW_COUNT MAXSYMLINKS PIPE_SIZE PIPE_MAX_SIZE NR_OPEN PID_MAX_LIMIT",
    "mman": (
        "MAP_DROPPABLE MAP_ABOVE4G MADV_GUARD_INSTALL MADV_GUARD_REMOVE MFD_NOEXEC_SEAL MFD_EXEC "
        "MEMBARRIER_CMD_GET_REGISTRATIONS"
    ),
    "mount": "ST_VALID ST_NOSYMFOLLOW MQUEUE_MAGIC PIDFS_MAGIC",
    "personality": "QUERY",
    "poll": "EPOLLNVAL",
    "prctl": (
        "PR_SET_MDWE PR_GET_MDWE PR_SET_MEMORY_MERGE PR_GET_MEMORY_MERGE PR_SYS_DISPATCH_EXCLUSIVE_ON "
        "PR_SYS_DISPATCH_INCLUSIVE_ON SUID_DUMP_DISABLE SUID_DUMP_USER SUID_DUMP_ROOT TASK_COMM_LEN"
    ),
    "sched": "SCHED_EXT PIDFD_THREAD",
    "signal": "SEGV_CPERR TERMINATE IGNORE CORE STOP CONTINUE UNBLOCKABLE STOP_SIGNALS SYNCHRONOUS",
    "socket": "SOCK_TYPE_MASK SOL_VSOCK SO_PASSPIDFD SO_PEERPIDFD SCM_SECURITY SCM_PIDFD SCM_MAX_FD",
    "stat": "STATX_MNT_ID_UNIQUE STATX_SUBVOL STATX_WRITE_ATOMIC",
    "time": (
        "CPUCLOCK_PROF CPUCLOCK_VIRT CPUCLOCK_SCHED CLOCKFD CPUCLOCK_PERTHREAD_MASK NSEC_PER_SEC "
        "NSEC_PER_USEC USEC_PER_SEC USER_HZ"
    ),
    "wait": "WCORE_FLAG WCONTINUED_STATUS",
}

# Structure: C type, its headers, its members' prefix, and the members that are not prefix + name.
Members: TypeAlias = dict[str, str]
PAIR = {"sec": "tv_sec", "usec": "tv_usec", "nsec": "tv_nsec"}


def nested(*names: str, prefix: str) -> Members:
    """`value_sec` is `it_value.tv_sec`."""
    return {f"{name}_{part}": f"{prefix}{name}.{PAIR[part]}" for name in names for part in PAIR}


SIGINFO_HEAD = {"signo": "si_signo", "errno": "si_errno", "code": "si_code"}
LAYOUTS: dict[type[Layout], tuple[str, str, str, Members]] = {
    structs.Timespec: ("struct __kernel_timespec", "linux/time_types.h", "tv_", {}),
    structs.Timeval: ("struct timeval", "linux/time.h", "tv_", {}),
    structs.Timezone: ("struct timezone", "linux/time.h", "tz_", {}),
    structs.Itimerval: ("struct itimerval", "linux/time.h", "", nested("interval", "value", prefix="it_")),
    structs.Itimerspec: (
        "struct __kernel_itimerspec",
        "linux/time_types.h",
        "",
        nested("interval", "value", prefix="it_"),
    ),
    structs.Tms: ("struct tms", "linux/times.h", "tms_", {}),
    structs.Timex: ("struct timex", "linux/timex.h", "", {"time_sec": "time.tv_sec", "time_usec": "time.tv_usec"}),
    structs.Utimbuf: ("struct utimbuf", "linux/utime.h", "", {}),
    structs.Statx: (
        "struct statx",
        "linux/stat.h",
        "stx_",
        {f"{name}_{part}": f"stx_{name}.tv_{part}" for name in ("atime", "btime", "ctime", "mtime") for part in PAIR},
    ),
    structs.Statfs: ("struct statfs", "asm/statfs.h", "f_", {}),
    structs.Iovec: ("struct iovec", "linux/uio.h", "iov_", {}),
    structs.Flock: ("struct flock", "linux/fcntl.h", "l_", {}),
    structs.FOwnerEx: ("struct f_owner_ex", "linux/fcntl.h", "", {}),
    structs.OpenHow: ("struct open_how", "linux/openat2.h", "", {}),
    structs.FileCloneRange: ("struct file_clone_range", "linux/fs.h", "", {}),
    structs.InotifyEvent: ("struct inotify_event", "linux/inotify.h", "", {}),
    aiostructs.Iocb: ("struct iocb", "linux/aio_abi.h", "aio_", {"opcode": "aio_lio_opcode"}),
    aiostructs.IoEvent: ("struct io_event", "linux/aio_abi.h", "", {}),
    structs.PollFd: ("struct pollfd", "asm/poll.h", "", {}),
    structs.Rlimit: ("struct rlimit64", "linux/resource.h", "rlim_", {}),
    structs.Rusage: ("struct rusage", "linux/time.h linux/resource.h", "ru_", nested("utime", "stime", prefix="ru_")),
    structs.Utsname: ("struct new_utsname", "linux/utsname.h", "", {}),
    structs.Sysinfo: (
        "struct sysinfo",
        "linux/sysinfo.h",
        "",
        {"load1": "loads[0]", "load5": "loads[1]", "load15": "loads[2]"},
    ),
    structs.CloneArgs: ("struct clone_args", "linux/sched.h", "", {}),
    structs.RobustListHead: ("struct robust_list_head", "linux/futex.h", "", {}),
    structs.FutexWaitv: ("struct futex_waitv", "linux/futex.h", "", {"reserved": "__reserved"}),
    structs.SchedAttr: ("struct sched_attr", "linux/sched/types.h", "sched_", {"size": "size"}),
    structs.CapHeader: ("struct __user_cap_header_struct", "linux/capability.h", "", {}),
    structs.CapData: ("struct __user_cap_data_struct", "linux/capability.h", "", {}),
    structs.SigactionKernel: ("struct sigaction", "asm/signal.h", "sa_", {}),
    structs.StackT: ("stack_t", "asm/signal.h", "ss_", {}),
    structs.Sigevent: ("sigevent_t", "asm/siginfo.h", "sigev_", {"tid": "_sigev_un._tid"}),
    structs.Termios: ("struct termios", "asm/termbits.h", "c_", {}),
    structs.Termios2: ("struct termios2", "asm/termbits.h", "c_", {}),
    structs.Termio: ("struct termio", "asm/termios.h", "c_", {}),
    structs.Winsize: ("struct winsize", "asm/termios.h", "ws_", {}),
    sockstructs.SockaddrIn: ("struct sockaddr_in", "linux/in.h", "sin_", {}),
    sockstructs.SockaddrIn6: ("struct sockaddr_in6", "linux/in6.h", "sin6_", {}),
    sockstructs.SockaddrNl: ("struct sockaddr_nl", "linux/netlink.h", "nl_", {}),
    sockstructs.Msghdr: ("struct msghdr", "sys/socket.h", "msg_", {}),
    sockstructs.Cmsghdr: ("struct cmsghdr", "sys/socket.h", "cmsg_", {}),
    sockstructs.Ucred: ("struct ucred", "sys/socket.h", "", {}),
    sockstructs.Linger: ("struct linger", "sys/socket.h", "l_", {}),
    ipcstructs.IpcPerm: ("struct ipc64_perm", "asm/ipcbuf.h", "", {}),
    ipcstructs.MsqidDs: ("struct msqid64_ds", "linux/msg.h", "msg_", {}),
    ipcstructs.ShmidDs: ("struct shmid64_ds", "linux/shm.h", "shm_", {}),
    ipcstructs.Seminfo: ("struct seminfo", "linux/sem.h", "", {}),
    ipcstructs.Msginfo: ("struct msginfo", "linux/msg.h", "", {}),
    ipcstructs.Shminfo64: ("struct shminfo64", "linux/shm.h", "", {}),
    ipcstructs.ShmInfo: ("struct shm_info", "linux/shm.h", "", {}),
    ipcstructs.Sembuf: ("struct sembuf", "linux/sem.h", "sem_", {}),
    ipcstructs.MqAttr: ("struct mq_attr", "linux/mqueue.h", "mq_", {}),
    structs.Ehdr: ("Elf64_Ehdr", "elf.h", "e_", {}),
    structs.Phdr: ("Elf64_Phdr", "elf.h", "p_", {}),
    structs.Shdr: ("Elf64_Shdr", "elf.h", "sh_", {}),
    structs.Sym: ("Elf64_Sym", "elf.h", "st_", {}),
    structs.Dyn: ("Elf64_Dyn", "elf.h", "d_", {"val": "d_un.d_val"}),
    structs.Nhdr: ("Elf64_Nhdr", "elf.h", "n_", {}),
    structs.Auxv: ("Elf64_auxv_t", "elf.h", "a_", {"val": "a_un.a_val"}),
    siginfo.SiginfoKill: ("siginfo_t", "asm/siginfo.h", "_sifields._kill._", SIGINFO_HEAD),
    siginfo.SiginfoTimer: (
        "siginfo_t",
        "asm/siginfo.h",
        "_sifields._timer._",
        {**SIGINFO_HEAD, "value": "_sifields._timer._sigval"},
    ),
    siginfo.SiginfoRt: (
        "siginfo_t",
        "asm/siginfo.h",
        "_sifields._rt._",
        {**SIGINFO_HEAD, "value": "_sifields._rt._sigval"},
    ),
    siginfo.SiginfoChld: ("siginfo_t", "asm/siginfo.h", "_sifields._sigchld._", SIGINFO_HEAD),
    siginfo.SiginfoFault: (
        "siginfo_t",
        "asm/siginfo.h",
        "_sifields._sigfault._",
        {
            **SIGINFO_HEAD,
            "lower": "_sifields._sigfault._addr_bnd._lower",
            "upper": "_sifields._sigfault._addr_bnd._upper",
        },
    ),
    siginfo.SiginfoPoll: ("siginfo_t", "asm/siginfo.h", "_sifields._sigpoll._", SIGINFO_HEAD),
    siginfo.SiginfoSys: ("siginfo_t", "asm/siginfo.h", "_sifields._sigsys._", SIGINFO_HEAD),
    siginfo.SignalfdSiginfo: ("struct signalfd_siginfo", "linux/signalfd.h", "ssi_", {}),
}
STAT_TIMES = {f"{name}_nsec": f"st_{name}_nsec" for name in ("atime", "mtime", "ctime")}
for _module in (x86_64, aarch64):
    LAYOUTS[_module.Stat] = ("struct stat", "asm/stat.h", "st_", STAT_TIMES)
    LAYOUTS[_module.SemidDs] = ("struct semid64_ds", "linux/sem.h", "sem_", {})
    LAYOUTS[_module.EpollEvent] = ("struct epoll_event", "linux/eventpoll.h", "", {})

# Offsets in the signal frame and what else the architectures' modules say: expression and its headers.
CONTEXT = "asm/signal.h asm/sigcontext.h asm/ucontext.h"
EXPRESSIONS = {
    "UC_SIGMASK": ("offsetof(struct ucontext, uc_sigmask)", CONTEXT),
    "UC_MCONTEXT": ("offsetof(struct ucontext, uc_mcontext)", CONTEXT),
    "UC_FP_XSTATE": ("UC_FP_XSTATE", CONTEXT),
    "UC_SIGCONTEXT_SS": ("UC_SIGCONTEXT_SS", CONTEXT),
    "UC_STRICT_RESTORE_SS": ("UC_STRICT_RESTORE_SS", CONTEXT),
    "FP_XSTATE_MAGIC1": ("FP_XSTATE_MAGIC1", CONTEXT),
    "FP_XSTATE_MAGIC2": ("FP_XSTATE_MAGIC2", CONTEXT),
    "FP_XSTATE_MAGIC2_SIZE": ("FP_XSTATE_MAGIC2_SIZE", CONTEXT),
    "FPX_SW_BYTES_OFFSET": ("offsetof(struct _fpstate_64, sw_reserved)", CONTEXT),
    "XSTATE_BV_OFFSET": ("offsetof(struct _xstate, xstate_hdr)", CONTEXT),
    "SIGCONTEXT_RECORDS": ("offsetof(struct sigcontext, __reserved)", CONTEXT),
    "SIGCONTEXT_RECORDS_SIZE": ("sizeof(((struct sigcontext *)0)->__reserved)", CONTEXT),
    "FPSIMD_MAGIC": ("FPSIMD_MAGIC", CONTEXT),
    "ESR_MAGIC": ("ESR_MAGIC", CONTEXT),
    "EXTRA_MAGIC": ("EXTRA_MAGIC", CONTEXT),
    "MINSIGSTKSZ": ("MINSIGSTKSZ", "asm/signal.h"),
    "SIGSTKSZ": ("SIGSTKSZ", "asm/signal.h"),
    "AUDIT_ARCH": ("AUDIT_ARCH_{ARCH}", "linux/audit.h"),
    "ELF_MACHINE": ("EM_{ARCH}", "elf.h"),
    "HWCAP2_FSGSBASE": ("HWCAP2_FSGSBASE", "asm/hwcap2.h"),
    **{
        f"HWCAP_{bit}": (f"HWCAP_{bit}", "asm/hwcap.h")
        for bit in ("FP", "ASIMD", "EVTSTRM", "AES", "PMULL", "SHA1", "SHA2", "CRC32", "ATOMICS", "CPUID")
    },
    # The sizes of struct.Structs
    "UCONTEXT": ("offsetof(struct ucontext, uc_stack) + sizeof(stack_t)", CONTEXT),
    "SIGCONTEXT": ("{SIGCONTEXT}", CONTEXT),
    "FPX_SW_BYTES": ("sizeof(struct _fpx_sw_bytes)", CONTEXT),
    "RECORD": ("sizeof(struct _aarch64_ctx)", CONTEXT),
    "FPSIMD": ("sizeof(struct fpsimd_context)", CONTEXT),
    "ESR": ("sizeof(struct esr_context)", CONTEXT),
    # The registers' places in them
    "sigcontext.first": ("{SIGCONTEXT_FIRST}", CONTEXT),
    "sigcontext.pc": ("offsetof(struct sigcontext, {PC})", CONTEXT),
    "sigcontext.sp": ("offsetof(struct sigcontext, {SP})", CONTEXT),
}
ARCH_WORDS = {
    "x86_64": {
        "ARCH": "X86_64",
        "SIGCONTEXT": "sizeof(struct sigcontext)",
        "SIGCONTEXT_FIRST": "offsetof(struct sigcontext, r8)",
        "PC": "rip",
        "SP": "rsp",
    },
    "aarch64": {
        "ARCH": "AARCH64",
        "SIGCONTEXT": "offsetof(struct sigcontext, __reserved)",
        "SIGCONTEXT_FIRST": "offsetof(struct sigcontext, regs)",
        "PC": "pc",
        "SP": "sp",
    },
}


def compiler(arch: str) -> str | None:
    """A C compiler for arch, or None."""
    names = [f"{arch}-linux-gnu-gcc", *(("cc", "gcc") if platform.machine() == arch else ())]
    return next((found for name in names if (found := shutil.which(name))), None)


def evaluate(cc: str, headers: str, expressions: dict[Key, str]) -> dict[Key, int]:
    """The values of the C expressions, by key; those that the headers do not know are left out."""
    wanted = list(expressions)
    present = "".join(f"#if __has_include(<{name}>)\n#include <{name}>\n#endif\n" for name in headers.split())
    while wanted:
        lines = (f'__asm__ volatile("@@{n} %0" :: "i"((long)({expressions[key]})));' for n, key in enumerate(wanted))
        text = "\n".join(
            ("#define _GNU_SOURCE", "#include <stddef.h>", present, "void f(void) {", "#line 1", *lines, "}\n")
        )
        run = subprocess.run(
            [cc, "-w", "-S", "-O1", "-fmax-errors=0", "-x", "c", "-o", "-", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        if run.returncode == 0:
            return {wanted[int(n)]: int(value) for n, value in re.findall(r"@@(\d+) [$#]?(-?\d+)", run.stdout)}
        unknown = {int(line) - 1 for line in re.findall(r"<stdin>:(\d+):\d+: error", run.stderr)}
        if not unknown:
            raise RuntimeError(run.stderr)
        wanted = [key for n, key in enumerate(wanted) if n not in unknown]
    return {}


def constants(module: str) -> dict[str, int]:
    """The public int constants of a module of noah.abi."""
    found = vars(importlib.import_module(f"noah.abi.{module}"))
    return {
        name: value for name, value in found.items() if type(value) is int and name.isidentifier() and name[0] != "_"
    }


def layout_name(layout: type[Layout]) -> str:
    return f"{layout.__module__.rpartition('.')[2]}.{layout.__name__}"


def questions(arch: str) -> dict[str, dict[Key, str]]:
    """The C expressions of all that arch has, by the headers that they need."""
    found: dict[str, dict[Key, str]] = {}
    for module, header_sets in HEADERS.items():
        for headers in header_sets:
            found[headers] = {(module, name): SPELLINGS.get(name, name) for name in constants(module)}
    for layout, (ctype, headers, prefix, members) in LAYOUTS.items():
        name = layout_name(layout)
        if name.startswith(ARCHES) and not name.startswith(arch):
            continue
        asked = found.setdefault(headers, {})
        asked[name, "sizeof"] = f"sizeof({ctype})"
        for field in layout.OFFSETS:
            member = members.get(field, prefix + field)
            asked[name, field] = f"offsetof({ctype}, {member})"
            asked[name, field + ".size"] = f"sizeof((({ctype} *)0)->{member})"
    for name, (text, headers) in EXPRESSIONS.items():
        for word, replacement in ARCH_WORDS[arch].items():
            text = text.replace(f"{{{word}}}", replacement)
        found.setdefault(headers, {})[arch, name] = text
    return found


def ask(arch: str, cc: str) -> Answers:
    """{module or structure: {name: value}} of all that the compiler's headers know; the first header set counts."""
    answers: Answers = {}
    for headers, expressions in questions(arch).items():
        for (group, name), value in evaluate(cc, headers, expressions).items():
            answers.setdefault(group, {}).setdefault(name, value)
    return answers


def render(answers: Answers) -> str:
    """JSON with a line for each module and structure."""
    lines = (f"{json.dumps(group)}: {json.dumps(values, sort_keys=True)}" for group, values in sorted(answers.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    for arch in ARCHES:
        cc = compiler(arch)
        if cc is None:
            print(f"no C compiler for {arch}", file=sys.stderr)
            return 1
        (GOLDEN / f"{arch}.json").write_text(render(ask(arch, cc)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
