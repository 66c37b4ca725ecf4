"""What O_PATH gives on a host without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from noah.abi.errno import ENOENT, ENOTDIR, ESTALE, LinuxError
from noah.abi.fcntl import O_PATH
from noah.abi.stat import S_IFIFO
from noah.fs.pathfile import NamedFile
from noah.host.values import Stat
from noah.vfs.place import Place

if TYPE_CHECKING:
    from noah.vfs.mounts import Mount


class Name(Place):
    """A name that means the file of an inode; none for 0."""

    def __init__(self, inode: int) -> None:
        super().__init__(cast("Mount", None))
        self.inode = inode

    def stat(self) -> Stat:
        if not self.inode:
            raise LinuxError(ENOENT)
        return Stat(1, self.inode, S_IFIFO | 0o600, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0)


def test_a_name_is_good_as_long_as_it_means_the_file() -> None:
    name = Name(5)
    file = NamedFile(name, name.stat(), O_PATH)
    assert file.stat().ino == 5
    assert file.place() is name
    with pytest.raises(LinuxError) as caught:
        file.directory()
    assert caught.value.errno == ENOTDIR


@pytest.mark.parametrize("inode", [0, 6])
def test_a_name_that_is_gone_or_means_another_file_is_stale(inode: int) -> None:
    name = Name(5)
    file = NamedFile(name, name.stat(), O_PATH)
    name.inode = inode
    for call in (file.stat, file.place):
        with pytest.raises(LinuxError) as caught:
            call()
        assert caught.value.errno == ESTALE
