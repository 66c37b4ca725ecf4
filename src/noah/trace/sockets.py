"""Socket addresses as strace(1) writes them."""

from __future__ import annotations

from noah.abi.names import TABLES, flags
from noah.abi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX
from noah.trace.text import quote


def sockaddr(raw: bytes) -> str:
    """`{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}`."""
    if len(raw) < 2:
        return quote(raw)
    number = int.from_bytes(raw[:2], "little")
    family = f"sa_family={flags(TABLES['socket_domain'], number)}"
    port = int.from_bytes(raw[2:4], "big")
    if number == AF_INET and len(raw) >= 8:
        address = ".".join(map(str, raw[4:8]))
        return f'{{{family}, sin_port=htons({port}), sin_addr=inet_addr("{address}")}}'
    if number == AF_INET6 and len(raw) >= 24:
        from ipaddress import IPv6Address  # large, and few traces need it

        flow, scope = int.from_bytes(raw[4:8], "big"), int.from_bytes(raw[24:28], "little")
        address = str(IPv6Address(raw[8:24]))
        return (
            f"{{{family}, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
            f'inet_pton(AF_INET6, "{address}", &sin6_addr), sin6_scope_id={scope}}}'
        )
    if number == AF_UNIX:
        return f"{{{family}{_unix(raw[2:])}}}"
    if number == AF_NETLINK and len(raw) >= 12:
        pid, groups = int.from_bytes(raw[4:8], "little"), int.from_bytes(raw[8:12], "little")
        return f"{{{family}, nl_pid={pid}, nl_groups={groups:08x}}}"
    return f"{{{family}, sa_data={quote(raw[2:])}}}"


def _unix(path: bytes) -> str:
    if not path:
        return ""
    if path[0]:
        end = path.find(0)
        return f", sun_path={quote(path[:end] if end >= 0 else path)}"
    return f", sun_path=@{quote(path[1:])}"  # the abstract name space (unix(7))
