"""aio_abi.h: io_submit(2) and its family."""

from __future__ import annotations

from typing import Final

IOCB_CMD_PREAD: Final = 0
IOCB_CMD_PWRITE: Final = 1
IOCB_CMD_FSYNC: Final = 2
IOCB_CMD_FDSYNC: Final = 3
IOCB_CMD_POLL: Final = 5
IOCB_CMD_NOOP: Final = 6
IOCB_CMD_PREADV: Final = 7
IOCB_CMD_PWRITEV: Final = 8
IOCB_FLAG_RESFD: Final = 1
IOCB_FLAG_IOPRIO: Final = 2
AIO_MAX_NR: Final = 65536
"""fs.aio-max-nr"""
