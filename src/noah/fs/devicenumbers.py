"""Device numbers (st_dev) of the file systems that are Noah's own.

Linux numbers what has no disk from 0:1 on (get_anon_bdev()); these are the last ones, which no file system of the host
that is mounted beside them has.
"""

from typing import Final

from noah.abi.stat import makedev

_LAST: Final = (1 << 20) - 1

PROC: Final = makedev(0, _LAST)
DEV: Final = makedev(0, _LAST - 1)
SHM: Final = makedev(0, _LAST - 2)
MQUEUE: Final = makedev(0, _LAST - 3)
SYS: Final = makedev(0, _LAST - 4)
EMPTY: Final = makedev(0, _LAST - 5)
