"""Sockets: socket(2), connect(2), send(2), recv(2) and their family."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import (
    EACCES,
    EAFNOSUPPORT,
    EFAULT,
    EINVAL,
    EMSGSIZE,
    ENOBUFS,
    ENOPROTOOPT,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    LinuxError,
)
from noah.abi.kinds import (
    AcceptFlags,
    Addr,
    Fd,
    FdPairPtr,
    InBuf,
    Int,
    MmsghdrPtr,
    MsgFlags,
    MsghdrOutPtr,
    MsghdrPtr,
    OutBuf,
    ShutdownHow,
    Size,
    SockaddrOutPtr,
    SockaddrPtr,
    SocketDomain,
    SocketLevel,
    SocketOption,
    SocketProtocol,
    SocketType,
    SocklenPtr,
    TimespecPtr,
    UInt,
)
from noah.abi.limits import IOV_MAX
from noah.abi.socket import (
    AF_NETLINK,
    AF_UNIX,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_WAITFORONE,
    NETLINK_AUDIT,
    NETLINK_ROUTE,
    SO_ATTACH_FILTER,
    SO_ATTACH_REUSEPORT_CBPF,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SOCK_TYPE_MASK,
    SOL_IP,
    SOL_IPV6,
    SOL_SOCKET,
    SOL_TCP,
    SOMAXCONN,
    TCP_ZEROCOPY_RECEIVE,
)
from noah.abi.sockstructs import Msghdr
from noah.abi.stat import S_IFMT, S_IFSOCK
from noah.abi.structs import Timespec
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.fs.adopt import tree_of
from noah.fs.hostfile import make_inherited
from noah.fs.received import make_received
from noah.kernel import peer
from noah.kernel.task import Task
from noah.net import control
from noah.net.address import guest_address, new_address, own_address, peer_address
from noah.net.netlink import NetlinkFile
from noah.net.socket import SocketFile, as_socket, make_socket
from noah.net.unix import path_of
from noah.syscalls.paths import check_flags, file_of
from noah.syscalls.registry import syscall
from noah.vfs.file import OpenFile
from noah.vfs.handle import Handle

_ADDRESS_MAX: Final = 128  # sizeof(struct sockaddr_storage)
_OPTION_MAX: Final = 1 << 16
_CONTROL_MAX: Final = 1 << 17
_NETFILTER: Final = (64, 65, 68, 69)  # IPT_SO_*, IP6T_SO_*: linux/netfilter_ipv*/ip*_tables.h
_MMSGHDR: Final = 64
_MSG_LEN: Final = 56
_WITH_POINTERS: Final = frozenset(
    ((SOL_SOCKET, SO_ATTACH_FILTER), (SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF), (SOL_TCP, TCP_ZEROCOPY_RECEIVE))
)
"""Options whose value has addresses in it: the host would take them for its own."""


def _check_family(task: Task, domain: int) -> None:
    if domain < 0:
        raise LinuxError(EAFNOSUPPORT)
    if task.process.network.offline and domain != AF_UNIX:
        raise LinuxError(EAFNOSUPPORT, "the box has no network")


def _socket(task: Task, fd: int) -> SocketFile:
    return as_socket(file_of(task, fd))


def _read_address(task: Task, pointer: int, length: int) -> bytes:
    if not 0 <= length <= _ADDRESS_MAX:
        raise LinuxError(EINVAL)
    return task.mem.read(pointer, length)


def _write_address(task: Task, address: bytes, pointer: int, length: int) -> None:
    """Fill a struct sockaddr and its length, which says the true one even if there was less room."""
    if not pointer:
        return
    room = task.mem.read_s32(length)
    if room < 0:
        raise LinuxError(EINVAL)
    task.mem.write(pointer, address[:room])
    task.mem.write_u32(length, len(address))


@syscall
def socket(task: Task, domain: SocketDomain, type: SocketType, protocol: SocketProtocol) -> int:
    """socket(2): make a socket."""
    if type & ~(SOCK_TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK):
        raise LinuxError(EINVAL)
    _check_family(task, domain)
    if domain == AF_NETLINK and protocol == NETLINK_AUDIT:
        raise LinuxError(EPROTONOSUPPORT, "the host's audit is not the guest's")
    return task.fds.install(_make(task, domain, type, protocol), cloexec=bool(type & SOCK_CLOEXEC))


def _make(task: Task, domain: int, type: int, protocol: int) -> SocketFile:
    try:
        return make_socket(task, task.host.sockets.socket(domain, type & ~SOCK_CLOEXEC, protocol), type)
    except LinuxError as error:
        if error.errno != EAFNOSUPPORT or domain != AF_NETLINK or protocol != NETLINK_ROUTE:
            raise
    if type & SOCK_TYPE_MASK not in (SOCK_RAW, SOCK_DGRAM):
        raise LinuxError(ESOCKTNOSUPPORT)
    return NetlinkFile(task, type)


@syscall
def socketpair(task: Task, domain: SocketDomain, type: SocketType, protocol: SocketProtocol, sv: FdPairPtr) -> int:
    """socketpair(2): make two connected sockets."""
    if type & ~(SOCK_TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK):
        raise LinuxError(EINVAL)
    _check_family(task, domain)
    ends = task.host.sockets.socketpair(domain, type & ~SOCK_CLOEXEC, protocol)
    files = [make_socket(task, fd, type) for fd in ends]
    fds = []
    try:
        while files:
            fds.append(task.fds.install(files.pop(0), cloexec=bool(type & SOCK_CLOEXEC)))
        task.mem.write(sv, b"".join(fd.to_bytes(4, "little") for fd in fds))
    except LinuxError:
        for fd in fds:
            task.fds.close(fd)
        for file in files:
            file.release()
        raise
    return 0


@syscall
def bind(task: Task, sockfd: Fd, addr: SockaddrPtr, addrlen: Int) -> int:
    """bind(2): give a socket a name."""
    file = _socket(task, sockfd)
    address = _read_address(task, addr, addrlen)
    host, place = new_address(task, task.process.network, file, address)
    if place is None:
        try:
            file.bind(host.address)
        except LinuxError as error:
            if error.errno == EACCES:
                raise LinuxError(EACCES, "a port of the host's own: publish another (noah run --publish)") from None
            raise
    else:
        place.bind(lambda: file.bind(host.address), task.fs.umask)
        file.bound = address[:2] + path_of(address) + b"\0"
        file.host_name = host
    return 0


@syscall
def connect(task: Task, sockfd: Fd, addr: SockaddrPtr, addrlen: Int) -> int:
    """connect(2): connect a socket."""
    file = _socket(task, sockfd)
    address = _read_address(task, addr, addrlen)
    host = peer_address(task, task.process.network, file, address)
    file.connect(task, host.address)
    return 0


@syscall
def listen(task: Task, sockfd: Fd, backlog: Int) -> int:
    """listen(2): wait for connections."""
    _socket(task, sockfd).listen(min(backlog & 0xFFFF_FFFF, SOMAXCONN))
    return 0


@syscall
def accept(task: Task, sockfd: Fd, addr: SockaddrOutPtr, addrlen: SocklenPtr) -> int:
    """accept(2): take a connection."""
    return accept4(task, sockfd, addr, addrlen, 0)


@syscall
def accept4(task: Task, sockfd: Fd, addr: SockaddrOutPtr, addrlen: SocklenPtr, flags: AcceptFlags) -> int:
    """accept(2): take a connection, with flags."""
    listener = file_of(task, sockfd)
    check_flags(flags, SOCK_CLOEXEC | SOCK_NONBLOCK)
    file, address = as_socket(listener).accept(task, flags & ~SOCK_CLOEXEC)
    try:
        _write_address(task, guest_address(task.process.network, file, address), addr, addrlen)
    except LinuxError:
        file.release()
        raise
    return task.fds.install(file, cloexec=bool(flags & SOCK_CLOEXEC))


@syscall
def sendto(task: Task, sockfd: Fd, buf: InBuf, length: Size, flags: MsgFlags, addr: SockaddrPtr, addrlen: Int) -> int:
    """send(2): send a message, to an address if one is given."""
    views = task.mem.buffer(buf, min(length, (1 << 63) - 1), write=False)
    file = _socket(task, sockfd)
    if not addr:
        return file.send(task, views, (), flags, b"")
    host = peer_address(task, task.process.network, file, _read_address(task, addr, addrlen))
    return file.send(task, views, (), flags, host.address)


@syscall
def recvfrom(
    task: Task, sockfd: Fd, buf: OutBuf, length: Size, flags: MsgFlags, addr: SockaddrOutPtr, addrlen: SocklenPtr
) -> int:
    """recv(2): receive a message, and where it is from."""
    views = task.mem.buffer(buf, min(length, (1 << 63) - 1), write=True)
    file = _socket(task, sockfd)
    if not addr:
        return file.receive_bare(task, views, flags)
    received = file.receive(task, views, 0, flags)
    _write_address(task, guest_address(task.process.network, file, received.address), addr, addrlen)
    return received.length


def _header(task: Task, pointer: int) -> list[int]:
    """name, namelen, iov, iovlen, control, controllen, flags of a struct msghdr."""
    header = list(Msghdr.struct.unpack(task.mem.read(pointer, Msghdr.struct.size)))
    if header[1] < 0:
        raise LinuxError(EINVAL)
    if header[3] > IOV_MAX:
        raise LinuxError(EMSGSIZE)
    if not header[0]:
        header[1] = 0
    return header


def _sendmsg(task: Task, file: SocketFile, pointer: int, flags: int) -> int:
    name, namelen, iov, iovlen, control_at, control_length, _ = _header(task, pointer)
    host = peer_address(task, task.process.network, file, _read_address(task, name, min(namelen, _ADDRESS_MAX)))
    if control_length > _CONTROL_MAX:
        raise LinuxError(ENOBUFS)
    messages = control.parse(task, task.mem.read(control_at, control_length)) if control_length else []
    views = task.mem.iovec(iov, iovlen, write=False)
    return file.send(task, views, peer.to_send(task, messages), flags, host.address)


@syscall
def sendmsg(task: Task, sockfd: Fd, msg: MsghdrPtr, flags: MsgFlags) -> int:
    """send(2): send a message with control data."""
    return _sendmsg(task, _socket(task, sockfd), msg, flags)


def adopt(task: Task, fd: int) -> OpenFile:
    """The file for a host descriptor that came from elsewhere."""
    files = task.host.files
    kind = files.fstat(fd).mode & S_IFMT
    if kind == S_IFSOCK:
        return make_socket(task, fd)
    anonymous = make_received(task, fd, files.fd_path(fd) or b"")
    if anonymous is not None:
        return anonymous
    tree = tree_of(task.fs.mounts, fd, kind)
    return make_inherited(tree, Handle(tree.files, fd), files.get_flags(fd), kind)


def _recvmsg(task: Task, file: SocketFile, pointer: int, flags: int) -> int:
    name, namelen, iov, iovlen, control_at, control_length, _ = _header(task, pointer)
    views = task.mem.iovec(iov, iovlen, write=True)
    room = min(control_length, _CONTROL_MAX)
    received = file.receive(task, views, room, flags & ~MSG_CMSG_CLOEXEC)
    got_flags = received.flags | flags & MSG_CMSG_CLOEXEC
    data, truncated = control.pack(
        task,
        peer.received(task, received.control),
        room,
        lambda fd: adopt(task, fd),
        cloexec=bool(flags & MSG_CMSG_CLOEXEC),
    )
    if truncated:
        got_flags |= MSG_CTRUNC
    if data:
        task.mem.write(control_at, data)
    offsets = Msghdr.OFFSETS
    if name:
        address = guest_address(task.process.network, file, received.address)
        task.mem.write(name, address[:namelen])
        task.mem.write_u32(pointer + offsets["namelen"], len(address))
    task.mem.write_u64(pointer + offsets["controllen"], len(data))
    task.mem.write_u32(pointer + offsets["flags"], got_flags)
    return received.length


@syscall
def recvmsg(task: Task, sockfd: Fd, msg: MsghdrOutPtr, flags: MsgFlags) -> int:
    """recv(2): receive a message with control data."""
    return _recvmsg(task, _socket(task, sockfd), msg, flags)


@syscall
def sendmmsg(task: Task, sockfd: Fd, msgvec: MmsghdrPtr, vlen: UInt, flags: MsgFlags) -> int:
    """sendmmsg(2): send several messages."""
    file = _socket(task, sockfd)
    done = 0
    try:
        for index in range(min(vlen, IOV_MAX)):
            at = msgvec + index * _MMSGHDR
            count = _sendmsg(task, file, at, flags)
            task.mem.write_u32(at + _MSG_LEN, count)
            done += 1
    except LinuxError:
        if not done:
            raise
    return done


@syscall
def recvmmsg(task: Task, sockfd: Fd, msgvec: MmsghdrPtr, vlen: UInt, flags: MsgFlags, timeout: TimespecPtr) -> int:
    """recvmmsg(2): receive several messages. As in Linux the timeout is looked at after each message only."""
    file = _socket(task, sockfd)
    deadline = None
    if timeout:
        sec, nsec = Timespec.struct.unpack(task.mem.read(timeout, Timespec.struct.size))
        if sec < 0 or not 0 <= nsec < NSEC_PER_SEC:
            raise LinuxError(EINVAL)
        deadline = task.host.clock.clock_gettime(CLOCK_MONOTONIC) + sec * NSEC_PER_SEC + nsec
    done = 0
    try:
        for index in range(min(vlen, IOV_MAX)):
            at = msgvec + index * _MMSGHDR
            count = _recvmsg(task, file, at, flags & ~MSG_WAITFORONE)
            task.mem.write_u32(at + _MSG_LEN, count)
            done += 1
            if flags & MSG_WAITFORONE:
                flags |= MSG_DONTWAIT
            if deadline is not None and task.host.clock.clock_gettime(CLOCK_MONOTONIC) >= deadline:
                break
    except LinuxError:
        if not done:
            raise
    return done


@syscall
def getsockname(task: Task, sockfd: Fd, addr: SockaddrOutPtr, addrlen: SocklenPtr) -> int:
    """getsockname(2): the name of a socket."""
    file = _socket(task, sockfd)
    _put_address(task, own_address(task.process.network, file), addr, addrlen)
    return 0


@syscall
def getpeername(task: Task, sockfd: Fd, addr: SockaddrOutPtr, addrlen: SocklenPtr) -> int:
    """getpeername(2): the name of the socket at the other end."""
    file = _socket(task, sockfd)
    _put_address(task, guest_address(task.process.network, file, file.peer_name()), addr, addrlen)
    return 0


def _put_address(task: Task, address: bytes, addr: int, addrlen: int) -> None:
    if not addr:
        raise LinuxError(EFAULT)
    _write_address(task, address, addr, addrlen)


def _check_option(level: int, option: int) -> None:
    if (level, option) in _WITH_POINTERS or (level in (SOL_IP, SOL_IPV6) and option in _NETFILTER):
        raise LinuxError(ENOPROTOOPT)


@syscall(partial="no options whose value holds addresses: packet filters, netfilter, TCP_ZEROCOPY_RECEIVE")
def setsockopt(task: Task, sockfd: Fd, level: SocketLevel, optname: SocketOption, optval: Addr, optlen: Int) -> int:
    """getsockopt(2): set an option of a socket."""
    file = _socket(task, sockfd)
    if not 0 <= optlen <= _OPTION_MAX:
        raise LinuxError(EINVAL)
    _check_option(level, optname)
    file.set_option(level, optname, task.mem.read(optval, optlen))
    return 0


@syscall(partial="no options whose value holds addresses: packet filters, netfilter, TCP_ZEROCOPY_RECEIVE")
def getsockopt(
    task: Task, sockfd: Fd, level: SocketLevel, optname: SocketOption, optval: Addr, optlen: SocklenPtr
) -> int:
    """getsockopt(2): an option of a socket."""
    file = _socket(task, sockfd)
    room = task.mem.read_s32(optlen)
    if room < 0:
        raise LinuxError(EINVAL)
    _check_option(level, optname)
    value = file.get_option(level, optname, min(room, _OPTION_MAX))
    if (level, optname) == (SOL_SOCKET, SO_PEERCRED):
        value = peer.peer_credentials(task, value)
    task.mem.write(optval, value)
    task.mem.write_u32(optlen, len(value))
    return 0


@syscall
def shutdown(task: Task, sockfd: Fd, how: ShutdownHow) -> int:
    """shutdown(2): end one or both directions of a connection."""
    file = _socket(task, sockfd)
    if not 0 <= how <= 2:
        raise LinuxError(EINVAL)
    task.host.sockets.shutdown(file.fd, how)
    return 0
