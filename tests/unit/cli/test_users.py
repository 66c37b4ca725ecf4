"""USER[:GROUP]: looked up as docker does."""

from __future__ import annotations

import pytest

from noah.loader.users import NoSuchUser, find_user

PASSWD = b"""root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
ann:x:1000:1001::/home/ann:/bin/sh
77:x:78:79::/home/odd:/bin/sh

broken line
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
bad:x:-1:0::/:/bin/sh
"""
GROUP = b"root:x:0:\nstaff:x:50:ann,daemon\nann:x:1001:\naudio:x:29:ann\nnogroup:x:65534:\n"


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        (b"root", 0, 0, (0,), b"/root"),
        (b"ann", 1000, 1001, (29, 50, 1001), b"/home/ann"),
        (b"1000", 1000, 1001, (29, 50, 1001), b"/home/ann"),
        (b"ann:staff", 1000, 50, (50,), b"/home/ann"),
        (b"ann:5", 1000, 5, (5,), b"/home/ann"),
        (b"4242", 4242, 0, (0,), b""),
        (b"4242:4243", 4242, 4243, (4243,), b""),
        (b"77", 78, 79, (79,), b"/home/odd"),
        (b"4294967294", 4294967294, 0, (0,), b""),
        (b"nobody:nogroup", 65534, 65534, (65534,), b"/nonexistent"),
    ],
)
def test_find_user(text: bytes, uid: int, gid: int, groups: tuple[int, ...], home: bytes) -> None:
    assert find_user(text, PASSWD, GROUP) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (b"bob", "user 'bob'"),
        (b"-1", "user '-1'"),
        (b"4294967295", "user '4294967295'"),
        (b"", "user ''"),
        (b":staff", "user ''"),
        (b"bad", "user 'bad'"),
        (b"ann:", "group ''"),
        (b"ann:wheel", "group 'wheel'"),
        (b"ann:-5", "group '-5'"),
        (b"\xff", r"user '\xff'"),
    ],
)
def test_unknown_names(text: bytes, missing: str) -> None:
    with pytest.raises(NoSuchUser) as caught:
        find_user(text, PASSWD, GROUP)
    assert str(caught.value).startswith(missing)


def test_a_root_without_passwd_knows_numbers() -> None:
    assert find_user(b"5:6", b"", b"") == (5, 6, (6,), b"")
