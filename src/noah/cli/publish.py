"""`--publish` and `noah port`: ports of a container that are others on the host."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.cli.command import command, open_containers
from noah.cli.main import say
from noah.cli.parse import UsageError
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.cli.parse import Parsed
    from noah.image.container import Container
    from noah.net.ports import Published

_PROTOCOLS: Final = ("tcp", "udp")
_PORTS: Final = range(1, 1 << 16)
_ANY: Final = "0.0.0.0"


class Port(NamedTuple):
    """As container.json has it. address: of the host; "" for all."""

    address: str
    host: int
    guest: int
    protocol: str

    @property
    def at(self) -> str:
        """Where it is on the host."""
        address = self.address or _ANY
        return f"[{address}]:{self.host}" if ":" in address else f"{address}:{self.host}"

    @property
    def name(self) -> str:
        return f"{self.guest}/{self.protocol}"


def parse_ports(words: Sequence[bytes]) -> list[Port]:
    """What all --publish together say. UsageError."""
    ports = [port for word in words for port in _parse(printable(word))]
    inside = [f"{port.guest}/{port.protocol} of the container" for port in ports]
    outside = [f"{port.host}/{port.protocol} of the host" for port in ports]
    for seen in (inside, outside):
        twice = next((each for each in seen if seen.count(each) > 1), None)
        if twice is not None:
            raise UsageError(f"--publish: port {twice} is there twice")
    return ports


def _parse(text: str) -> list[Port]:
    """[[ADDRESS:]HOST:]PORT[/PROTOCOL], as docker-run(1) has it; a port may be a range, as 8000-8010."""
    ports, _, protocol = text.partition("/")
    address, bracket, rest = ports.removeprefix("[").partition("]:") if ports.startswith("[") else ("", "", ports)
    *before, guest = rest.split(":")
    host = before.pop() if before else guest
    if before and not bracket:
        address = before.pop()
    wanted, inside = _range(host), _range(guest)
    if before or not wanted or len(wanted) != len(inside) or (protocol or "tcp") not in _PROTOCOLS:
        raise UsageError(f"--publish '{text}': write PORT, HOST:PORT or ADDRESS:HOST:PORT, with /udp if it is not TCP")
    if address:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            raise UsageError(f"--publish '{text}': {address} is no address") from None
    return [
        Port("" if address == _ANY else address, one, other, protocol or "tcp")
        for one, other in zip(wanted, inside, strict=True)
    ]


def _range(text: str) -> range:
    """FIRST-LAST, or one port; empty for what is none."""
    first, _, last = text.partition("-")
    if not all(part.isascii() and part.isdigit() and int(part) in _PORTS for part in (first, last or first)):
        return range(0)
    return range(int(first), int(last or first) + 1)


def ports_of(container: Container) -> list[Port]:
    return [Port(*each) for each in container.record.get("ports", ())]


def to_publish(ports: Sequence[Port]) -> list[Published]:
    """Those that differ from what the program says."""
    from noah.net.ports import Published

    return [
        Published(
            ipaddress.ip_address(port.address).packed if port.address else b"",
            port.host,
            port.guest,
            port.protocol == "tcp",
        )
        for port in ports
        if port.address or port.host != port.guest
    ]


@command("PORT", least=1, most=2, wanted="name a container")
def port(parsed: Parsed) -> int:
    """`noah port CONTAINER [PORT[/PROTOCOL]]`: where its ports are on the host."""
    from noah.image.errors import ImageError

    container = open_containers().find(printable(parsed.words[0]))
    ports = ports_of(container)
    if len(parsed.words) == 1:
        return say("".join(f"{port.name} -> {port.at}\n" for port in ports))
    wanted = printable(parsed.words[1])
    wanted += "" if "/" in wanted else "/tcp"
    found = [port for port in ports if port.name == wanted]
    if not found:
        raise ImageError(f"container {container.name} publishes no port {wanted}")
    return say(f"{found[0].at}\n")
