"""Handlers of system calls, a module for each family of man pages."""

from __future__ import annotations

from typing import Final

# Written down because looking for modules (pkgutil) takes longer than loading them; a test compares.
HANDLER_MODULES: Final = (
    "aio",
    "attributes",
    "compare",
    "credentials",
    "dir",
    "epoll",
    "eventfd",
    "fcntl",
    "file",
    "fileat",
    "futex",
    "inotify",
    "ioctl",
    "link",
    "lock",
    "memory",
    "mqueue",
    "msg",
    "namespace",
    "pidfd",
    "pipe",
    "poll",
    "prctl",
    "processmemory",
    "process",
    "schedule",
    "sem",
    "sendfile",
    "shm",
    "signal",
    "socket",
    "stat",
    "statfs",
    "sync",
    "system",
    "time",
    "xattr",
)
"""The modules that declare system calls."""
