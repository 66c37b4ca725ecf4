"""inotify.h: watching files and directories."""

from __future__ import annotations

from typing import Final

# inotify_init1(2)
IN_CLOEXEC: Final = 0o2000000
IN_NONBLOCK: Final = 0o4000

# Events
IN_ACCESS: Final = 1
IN_MODIFY: Final = 2
IN_ATTRIB: Final = 4
IN_CLOSE_WRITE: Final = 8
IN_CLOSE_NOWRITE: Final = 0x10
IN_OPEN: Final = 0x20
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_CLOSE: Final = 0x18
IN_MOVE: Final = 0xC0
IN_ALL_EVENTS: Final = 0xFFF

# inotify_add_watch(2) flags
IN_ONLYDIR: Final = 0x1000000
IN_DONT_FOLLOW: Final = 0x2000000
IN_EXCL_UNLINK: Final = 0x4000000
IN_MASK_CREATE: Final = 0x10000000
IN_MASK_ADD: Final = 0x20000000
IN_ISDIR: Final = 0x40000000
IN_ONESHOT: Final = 0x80000000
