"""limits.h and the kernel's own limits."""

from __future__ import annotations

from typing import Final

NAME_MAX: Final = 255
PATH_MAX: Final = 4096
PIPE_BUF: Final = 4096
NGROUPS_MAX: Final = 65536

# execve(2): one string's bytes with its NUL; all of them get a quarter of RLIMIT_STACK, ARG_MAX at least
MAX_ARG_STRLEN: Final = 131072  # 32 pages (linux/binfmts.h)
ARG_MAX: Final = 131072
BINPRM_BUF_SIZE: Final = 256  # bytes of a file's head that #! lines and ELF are known by

# readv(2) and its like (linux/uio.h: UIO_MAXIOV)
IOV_MAX: Final = 1024

# One read or write transfers no more than this: INT_MAX rounded down to a page (include/linux/fs.h: MAX_RW_COUNT)
MAX_RW_COUNT: Final = 0x7FFFF000

# Path walk: symbolic links followed in one walk (include/linux/namei.h: MAXSYMLINKS)
MAXSYMLINKS: Final = 40

# Pipes (fs/pipe.c)
PIPE_SIZE: Final = 65536  # the capacity that a pipe starts with
PIPE_MAX_SIZE: Final = 1048576  # F_SETPIPE_SZ without privilege

# Defaults of sysctl: fs.nr_open, kernel.pid_max on 64 bits
NR_OPEN: Final = 1048576
PID_MAX_LIMIT: Final = 4194304

# uname(2): bytes of a field without its NUL
HOST_NAME_MAX: Final = 64
