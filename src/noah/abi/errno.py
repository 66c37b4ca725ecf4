"""Error numbers of Linux (asm-generic/errno-base.h, asm-generic/errno.h): the same on x86-64 and aarch64.

A handler answers an error to the guest by raising `LinuxError(ENOENT)`. It is no OSError, so that a host's error, with
the host's numbers, cannot pass for one of the guest's.
"""

from __future__ import annotations

from typing import Final

EPERM: Final = 1  # operation not permitted
ENOENT: Final = 2  # no such file or directory
ESRCH: Final = 3  # no such process
EINTR: Final = 4  # interrupted system call
EIO: Final = 5  # I/O error
ENXIO: Final = 6  # no such device or address
E2BIG: Final = 7  # argument list too long
ENOEXEC: Final = 8  # exec format error
EBADF: Final = 9  # bad file number
ECHILD: Final = 10  # no child processes
EAGAIN: Final = 11  # try again
ENOMEM: Final = 12  # out of memory
EACCES: Final = 13  # permission denied
EFAULT: Final = 14  # bad address
ENOTBLK: Final = 15  # block device required
EBUSY: Final = 16  # device or resource busy
EEXIST: Final = 17  # file exists
EXDEV: Final = 18  # cross-device link
ENODEV: Final = 19  # no such device
ENOTDIR: Final = 20  # not a directory
EISDIR: Final = 21  # is a directory
EINVAL: Final = 22  # invalid argument
ENFILE: Final = 23  # file table overflow
EMFILE: Final = 24  # too many open files
ENOTTY: Final = 25  # not a typewriter
ETXTBSY: Final = 26  # text file busy
EFBIG: Final = 27  # file too large
ENOSPC: Final = 28  # no space left on device
ESPIPE: Final = 29  # illegal seek
EROFS: Final = 30  # read-only file system
EMLINK: Final = 31  # too many links
EPIPE: Final = 32  # broken pipe
EDOM: Final = 33  # math argument out of domain of func
ERANGE: Final = 34  # math result not representable
EDEADLK: Final = 35  # resource deadlock would occur
ENAMETOOLONG: Final = 36  # file name too long
ENOLCK: Final = 37  # no record locks available
ENOSYS: Final = 38  # invalid system call number
ENOTEMPTY: Final = 39  # directory not empty
ELOOP: Final = 40  # too many symbolic links encountered
ENOMSG: Final = 42  # no message of desired type
EIDRM: Final = 43  # identifier removed
ECHRNG: Final = 44  # channel number out of range
EL2NSYNC: Final = 45  # level 2 not synchronized
EL3HLT: Final = 46  # level 3 halted
EL3RST: Final = 47  # level 3 reset
ELNRNG: Final = 48  # link number out of range
EUNATCH: Final = 49  # protocol driver not attached
ENOCSI: Final = 50  # no CSI structure available
EL2HLT: Final = 51  # level 2 halted
EBADE: Final = 52  # invalid exchange
EBADR: Final = 53  # invalid request descriptor
EXFULL: Final = 54  # exchange full
ENOANO: Final = 55  # no anode
EBADRQC: Final = 56  # invalid request code
EBADSLT: Final = 57  # invalid slot
EBFONT: Final = 59  # bad font file format
ENOSTR: Final = 60  # device not a stream
ENODATA: Final = 61  # no data available
ETIME: Final = 62  # timer expired
ENOSR: Final = 63  # out of streams resources
ENONET: Final = 64  # machine is not on the network
ENOPKG: Final = 65  # package not installed
EREMOTE: Final = 66  # object is remote
ENOLINK: Final = 67  # link has been severed
EADV: Final = 68  # advertise error
ESRMNT: Final = 69  # srmount error
ECOMM: Final = 70  # communication error on send
EPROTO: Final = 71  # protocol error
EMULTIHOP: Final = 72  # multihop attempted
EDOTDOT: Final = 73  # RFS specific error
EBADMSG: Final = 74  # not a data message
EOVERFLOW: Final = 75  # value too large for defined data type
ENOTUNIQ: Final = 76  # name not unique on network
EBADFD: Final = 77  # file descriptor in bad state
EREMCHG: Final = 78  # remote address changed
ELIBACC: Final = 79  # can not access a needed shared library
ELIBBAD: Final = 80  # accessing a corrupted shared library
ELIBSCN: Final = 81  # .lib section in a.out corrupted
ELIBMAX: Final = 82  # attempting to link in too many shared libraries
ELIBEXEC: Final = 83  # cannot exec a shared library directly
EILSEQ: Final = 84  # illegal byte sequence
ERESTART: Final = 85  # interrupted system call should be restarted
ESTRPIPE: Final = 86  # streams pipe error
EUSERS: Final = 87  # too many users
ENOTSOCK: Final = 88  # socket operation on non-socket
EDESTADDRREQ: Final = 89  # destination address required
EMSGSIZE: Final = 90  # message too long
EPROTOTYPE: Final = 91  # protocol wrong type for socket
ENOPROTOOPT: Final = 92  # protocol not available
EPROTONOSUPPORT: Final = 93  # protocol not supported
ESOCKTNOSUPPORT: Final = 94  # socket type not supported
EOPNOTSUPP: Final = 95  # operation not supported on transport endpoint
EPFNOSUPPORT: Final = 96  # protocol family not supported
EAFNOSUPPORT: Final = 97  # address family not supported by protocol
EADDRINUSE: Final = 98  # address already in use
EADDRNOTAVAIL: Final = 99  # cannot assign requested address
ENETDOWN: Final = 100  # network is down
ENETUNREACH: Final = 101  # network is unreachable
ENETRESET: Final = 102  # network dropped connection because of reset
ECONNABORTED: Final = 103  # software caused connection abort
ECONNRESET: Final = 104  # connection reset by peer
ENOBUFS: Final = 105  # no buffer space available
EISCONN: Final = 106  # transport endpoint is already connected
ENOTCONN: Final = 107  # transport endpoint is not connected
ESHUTDOWN: Final = 108  # cannot send after transport endpoint shutdown
ETOOMANYREFS: Final = 109  # too many references: cannot splice
ETIMEDOUT: Final = 110  # connection timed out
ECONNREFUSED: Final = 111  # connection refused
EHOSTDOWN: Final = 112  # host is down
EHOSTUNREACH: Final = 113  # no route to host
EALREADY: Final = 114  # operation already in progress
EINPROGRESS: Final = 115  # operation now in progress
ESTALE: Final = 116  # stale file handle
EUCLEAN: Final = 117  # structure needs cleaning
ENOTNAM: Final = 118  # Not a XENIX named type file
ENAVAIL: Final = 119  # no XENIX semaphores available
EISNAM: Final = 120  # is a named type file
EREMOTEIO: Final = 121  # remote I/O error
EDQUOT: Final = 122  # quota exceeded
ENOMEDIUM: Final = 123  # no medium found
EMEDIUMTYPE: Final = 124  # wrong medium type
ECANCELED: Final = 125  # operation Canceled
ENOKEY: Final = 126  # required key not available
EKEYEXPIRED: Final = 127  # key has expired
EKEYREVOKED: Final = 128  # key has been revoked
EKEYREJECTED: Final = 129  # key was rejected by service
EOWNERDEAD: Final = 130  # owner died
ENOTRECOVERABLE: Final = 131  # state not recoverable
ERFKILL: Final = 132  # operation not possible due to RF-kill
EHWPOISON: Final = 133  # memory page has hardware error

# Inside the kernel only (include/linux/errno.h): how an interrupted call goes on. strace sees these, programs never.
ERESTARTSYS: Final = 512  # restart if SA_RESTART or no handler ran, else EINTR
ERESTARTNOINTR: Final = 513  # restart always
ERESTARTNOHAND: Final = 514  # restart if no handler ran, else EINTR
ERESTART_RESTARTBLOCK: Final = 516  # go on through restart_syscall(2) if no handler ran, else EINTR

ERRNO_NAMES: Final[dict[int, str]] = {
    value: name for name, value in globals().items() if name.startswith("E") and isinstance(value, int)
}
"""The one canonical name of each error number."""

# Second names of numbers above.
EWOULDBLOCK: Final = EAGAIN
EDEADLOCK: Final = EDEADLK
ENOTSUP: Final = EOPNOTSUPP  # of the C library; the kernel's own ENOTSUPP (524) never reaches programs


class LinuxError(Exception):
    """The guest's system call fails with `errno`, one of the numbers above.

    `why` is for people who read a trace: `= -1 EINVAL (unknown flags)`.
    """

    __slots__ = ("errno", "why")

    def __init__(self, errno: int, why: str = "") -> None:
        self.errno = errno
        self.why = why

    def __str__(self) -> str:
        name = ERRNO_NAMES.get(self.errno, str(self.errno))
        return f"{name} ({self.why})" if self.why else name
