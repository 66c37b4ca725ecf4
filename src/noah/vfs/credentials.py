"""Credentials: who the guest believes to be. They are emulated; the host only ever sees the host user."""

from __future__ import annotations


class Credentials:
    """User and group ids of a task (credentials(7)). Copied on fork, changed in place by setuid(2) and its like."""

    __slots__ = ("egid", "euid", "fsgid", "fsuid", "gid", "groups", "sgid", "suid", "uid")

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...] = ()) -> None:
        self.uid = self.euid = self.suid = self.fsuid = uid
        self.gid = self.egid = self.sgid = self.fsgid = gid
        self.groups = groups

    @property
    def privileged(self) -> bool:
        """Whether the task has root's capabilities."""
        return self.euid == 0

    def in_group(self, gid: int) -> bool:
        return gid == self.fsgid or gid in self.groups
