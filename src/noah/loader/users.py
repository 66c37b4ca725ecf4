"""As whom a program starts: `USER[:GROUP]` looked up in the guest's own passwd(5) and group(5), as docker does it."""

from __future__ import annotations

from typing import Final, NamedTuple

from noah.util.text import printable

_ID_MAX: Final = (1 << 32) - 2  # (uid_t)-1 means "no user" (chown(2))


class User(NamedTuple):
    """Who it is. `home` is b"" if the guest does not know the user."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: bytes


class NoSuchUser(Exception):
    """The text says what was not found."""


def find_user(text: bytes, passwd: bytes, group: bytes) -> User:
    """Find a user in the contents of /etc/passwd and /etc/group. Raises NoSuchUser.

    Numbers need no entry. A user without an entry is of group 0. With GROUP there are no supplementary groups.
    """
    user, colon, wanted = text.partition(b":")
    entry = _find(passwd, user, 7)
    if entry is not None:
        uid, gid, name, home = _id(entry[2]), _id(entry[3]), entry[0], entry[5]
    else:
        uid, gid, name, home = _id(user), 0, b"", b""
    if uid < 0 or gid < 0:
        raise NoSuchUser(f"user '{printable(user)}' is not in the root's /etc/passwd")
    if not colon:
        members = (fields for fields in _entries(group, 4) if name and name in fields[3].split(b","))
        groups = {_id(fields[2]) for fields in members} | {gid}
        return User(uid, gid, tuple(sorted(number for number in groups if number >= 0)), home)
    found = _find(group, wanted, 4)
    gid = _id(found[2]) if found is not None else _id(wanted)
    if gid < 0:
        raise NoSuchUser(f"group '{printable(wanted)}' is not in the root's /etc/group")
    return User(uid, gid, (gid,), home)


def _entries(text: bytes, count: int) -> list[list[bytes]]:
    lines = (line.split(b":") for line in text.split(b"\n"))
    return [fields for fields in lines if len(fields) >= count]


def _find(text: bytes, wanted: bytes, count: int) -> list[bytes] | None:
    """The entry with this name, or with this number."""
    if not wanted:
        return None
    entries = _entries(text, count)
    by_name = next((fields for fields in entries if fields[0] == wanted), None)
    return by_name or next((fields for fields in entries if wanted.isdigit() and fields[2] == wanted), None)


def _id(text: bytes) -> int:
    """-1 if it is no id."""
    if not text.isdigit() or len(text) > 10:
        return -1
    number = int(text)
    return number if number <= _ID_MAX else -1
