"""Credentials: who the guest believes to be. They are emulated; the host only ever sees the host user."""

from __future__ import annotations

from typing import Final, NamedTuple

from noah.abi.capability import (
    CAP_AUDIT_CONTROL,
    CAP_AUDIT_READ,
    CAP_BLOCK_SUSPEND,
    CAP_BPF,
    CAP_CHECKPOINT_RESTORE,
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_FULL_SET,
    CAP_IPC_OWNER,
    CAP_LINUX_IMMUTABLE,
    CAP_MAC_ADMIN,
    CAP_MAC_OVERRIDE,
    CAP_MKNOD,
    CAP_NET_ADMIN,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYS_BOOT,
    CAP_SYS_MODULE,
    CAP_SYS_PACCT,
    CAP_SYS_PTRACE,
    CAP_SYS_RAWIO,
    CAP_SYS_TIME,
    CAP_SYS_TTY_CONFIG,
    CAP_SYSLOG,
    CAP_WAKE_ALARM,
    SECBIT_KEEP_CAPS,
    SECBIT_NO_SETUID_FIXUP,
    SECBIT_NOROOT,
)

_FS_MASK: Final = (
    1 << CAP_CHOWN
    | 1 << CAP_MKNOD
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_DAC_READ_SEARCH
    | 1 << CAP_FOWNER
    | 1 << CAP_FSETID
    | 1 << CAP_LINUX_IMMUTABLE
    | 1 << CAP_MAC_OVERRIDE
)
"""The capabilities that go with the file system's user id (CAP_FS_MASK)."""


CONFINED: Final = CAP_FULL_SET & ~(
    1 << CAP_SYS_ADMIN
    | 1 << CAP_SYS_BOOT
    | 1 << CAP_SYS_MODULE
    | 1 << CAP_SYS_PTRACE
    | 1 << CAP_SYS_RAWIO
    | 1 << CAP_SYS_TIME
    | 1 << CAP_SYS_PACCT
    | 1 << CAP_SYS_TTY_CONFIG
    | 1 << CAP_NET_ADMIN
    | 1 << CAP_LINUX_IMMUTABLE
    | 1 << CAP_IPC_OWNER
    | 1 << CAP_AUDIT_CONTROL
    | 1 << CAP_AUDIT_READ
    | 1 << CAP_MAC_ADMIN
    | 1 << CAP_MAC_OVERRIDE
    | 1 << CAP_SYSLOG
    | 1 << CAP_WAKE_ALARM
    | 1 << CAP_BLOCK_SUSPEND
    | 1 << CAP_PERFMON
    | 1 << CAP_BPF
    | 1 << CAP_CHECKPOINT_RESTORE
)
"""What root of a box with its own root keeps of the host's capabilities: nothing that is about the whole machine.

CAP_DAC_READ_SEARCH stays, as files may give it to programs: there is no open_by_handle_at(2) to leave the root by."""


class FileCapabilities(NamedTuple):
    """What the security.capability attribute of a program says. effective: they are raised when it starts."""

    permitted: int
    inheritable: int
    effective: bool


class Credentials:
    """User and group ids of a task (credentials(7)), and its capabilities (capabilities(7)) as sets of 1 << CAP_*.

    Copied on fork, changed in place by setuid(2) and its like.
    """

    __slots__ = (
        "ambient",
        "bounding",
        "effective",
        "egid",
        "euid",
        "fsgid",
        "fsuid",
        "gid",
        "groups",
        "inheritable",
        "permitted",
        "securebits",
        "sgid",
        "suid",
        "uid",
    )

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...] = ()) -> None:
        self.uid = self.euid = self.suid = self.fsuid = uid
        self.gid = self.egid = self.sgid = self.fsgid = gid
        self.groups = groups
        self.effective = self.permitted = 0 if uid else CAP_FULL_SET
        self.bounding = CAP_FULL_SET
        self.inheritable = self.ambient = 0
        self.securebits = 0

    @property
    def privileged(self) -> bool:
        """Whether the task has what most of root's calls need (CAP_SYS_ADMIN)."""
        return bool(self.effective >> CAP_SYS_ADMIN & 1)

    def capable(self, capability: int) -> bool:
        """Whether a CAP_* is effective."""
        return bool(self.effective >> capability & 1)

    def in_group(self, gid: int) -> bool:
        return gid == self.fsgid or gid in self.groups

    def set_users(self, real: int, effective: int, saved: int) -> None:
        """Change the user ids; the file system's follows the effective one. Capabilities come and go with root."""
        had_root = 0 in (self.uid, self.euid, self.suid)
        old_effective = self.euid
        self.uid, self.euid, self.suid = real, effective, saved
        self.fsuid = effective
        if self.securebits & SECBIT_NO_SETUID_FIXUP:
            return
        # cap_emulate_setxuid()
        if had_root and 0 not in (real, effective, saved):
            if not self.securebits & SECBIT_KEEP_CAPS:
                self.permitted = self.effective = 0
            self.ambient = 0
        if old_effective == 0 and effective != 0:
            self.effective = 0
        elif old_effective != 0 and effective == 0:
            self.effective = self.permitted

    def set_groups(self, real: int, effective: int, saved: int) -> None:
        self.gid, self.egid, self.sgid = real, effective, saved
        self.fsgid = effective

    def set_fs_user(self, uid: int) -> None:
        """setfsuid(2): some of root's capabilities go with it."""
        old, self.fsuid = self.fsuid, uid
        if not self.securebits & SECBIT_NO_SETUID_FIXUP:
            if old == 0 and uid != 0:
                self.effective &= ~_FS_MASK
            elif old != 0 and uid == 0:
                self.effective |= self.permitted & _FS_MASK

    def set_capabilities(self, effective: int, permitted: int, inheritable: int) -> None:
        self.effective, self.permitted, self.inheritable = effective, permitted, inheritable
        self.ambient &= permitted & inheritable

    def execute(
        self, set_uid: int | None, set_gid: int | None, file: FileCapabilities | None = None, *, gains: bool = True
    ) -> bool:
        """execve(2) of a file with these set-user-ID and set-group-ID owners. Returns whether it is a secure execution.

        gains: more capabilities than there were may come of it (not so with no_new_privs). cap_bprm_creds_from_file()
        """
        if set_uid is not None:
            self.euid = set_uid
        if set_gid is not None:
            self.egid = set_gid
        old = self.permitted
        effective = file is not None and file.effective
        permitted = self._of_file(file) if file is not None else 0
        is_mixed = file is not None and self.uid != 0 and self.euid == 0  # then the file's count, not root's
        if not self.securebits & SECBIT_NOROOT and not is_mixed:
            if 0 in (self.uid, self.euid):
                permitted = self.bounding | self.inheritable
            effective = effective or self.euid == 0
        changed = self.uid != self.euid or self.gid != self.egid
        if not gains:
            permitted &= old
        if changed or file is not None:
            self.ambient = 0
        self.permitted = permitted | self.ambient
        self.effective = self.permitted if effective else self.ambient
        self.suid = self.fsuid = self.euid
        self.sgid = self.fsgid = self.egid
        self.securebits &= ~SECBIT_KEEP_CAPS
        return changed or (self.uid != 0 and (effective or bool(self.permitted & ~self.ambient)))

    def _of_file(self, file: FileCapabilities) -> int:
        return file.permitted & self.bounding | file.inheritable & self.inheritable

    def may_execute(self, file: FileCapabilities) -> bool:
        """Whether a program that relies on its capabilities gets them all: bprm_caps_from_vfs_caps()."""
        return not file.effective or not file.permitted & ~self._of_file(file)
