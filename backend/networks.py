"""Which addresses may be asked for what tasks name: public ones, and those that the operator names.

Public is what every host of the internet may be reached under: the registries of special addresses (IANA, RFC 6890) are
left out, and so are multicast, the metadata services of clouds, and IPv6 forms of all of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

SPECIAL = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # behind a provider's NAT; Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's services for its own machines
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",
        ),
    )
)
UNICAST = IPv6Network("2000::/3")  # all that is given out; local, link-local, multicast and mapped ones lie elsewhere
SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Teredo among them, which holds an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4, which holds one too
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",
            "fe80::/10",
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle
            "fd00:42::42",  # Scaleway
            "fd00:ec2::/32",  # Amazon
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where clouds give a machine its keys: within larger networks that are named these are not meant"""
NAT64 = IPv6Network("64:ff9b::/96")  # an IPv4 address seen from a network that has none
ISATAP = (0x00005EFE, 0x02005EFE)  # third quarter of an address that holds an IPv4 address in the fourth

# fmt: off
BAD_PORTS = frozenset((
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on
"""the ports that browsers refuse (Fetch standard, "bad port"), so no annotator sees an image there; and Redis"""


def plain(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: IPAddress) -> bool:
    """Whether any host of the internet may be reached under it."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL)
    if address not in UNICAST or any(address in network for network in SPECIAL_6):
        return False
    tunnelled = (int(address) >> 32) & 0xFFFFFFFF in ISATAP
    return not tunnelled or is_public(IPv4Address(int(address) & 0xFFFFFFFF))


class NetworksError(ValueError):
    """Something that names neither a network nor a host; the message says what would."""


@dataclass(frozen=True)
class Networks:
    """What may be asked beside public addresses.

    Attributes:
        networks: of addresses.
        hosts: (name, port or None for any) of hosts, whatever their address; a name that begins with a dot stands for
            all names that end so.
    """

    networks: tuple[IPNetwork, ...] = ()
    hosts: tuple[tuple[str, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Networks:
        """Of "10.1.0.0/16, fd12::/16, minio:9000, *.images.internal". Raises NetworksError naming what is wrong."""
        networks: list[IPNetwork] = []
        hosts: list[tuple[str, int | None]] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                networks.append(ip_network(part.strip("[]")))
                continue
            except ValueError as error:
                if "/" in part:
                    raise NetworksError(f"{part!r}: {error}; write it as 10.1.0.0/16, or as a host's name") from None
            found = re.fullmatch(r"(\*?(?=\.)|)([^:/@?#\s*]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?", part)
            if found is None or not found[2].strip("."):
                raise NetworksError(f"{part!r}: neither a network, as 10.1.0.0/16, nor a host, as minio or minio:9000")
            hosts.append((_name(found[2]), int(found[3]) if found[3] else None))
        return cls(tuple(networks), tuple(hosts))

    def may_ask(self, host: str, port: int, addresses: Iterable[str]) -> bool:
        """Whether a host may be asked that has these addresses: one that may not be asked is enough to refuse it.

        Args:
            host: as it is named in the request.
            addresses: all that its name stands for.
        """
        found = [ip_address(address) for address in addresses]
        fitting = [name for name, allowed in self.hosts if allowed in (None, port) and _fits(_name(host), name)]
        if any(not name.startswith(".") for name in fitting):
            return True
        if fitting and not any(_is_metadata(plain(one)) for one in found):  # *.internal is not metadata.google.internal
            return True
        return port not in BAD_PORTS and bool(found) and all(is_public(one) or self._holds(one) for one in found)

    def _holds(self, address: IPAddress) -> bool:
        """Whether a named network holds an address. 0.0.0.0/0 means the local networks, not the metadata of clouds."""
        address = plain(address)
        services = [network for network in METADATA if address in network]
        return any(
            address in network and all(network.version == of.version and network.subnet_of(of) for of in services)  # type: ignore[arg-type]
            for network in self.networks
        )


def _is_metadata(address: IPAddress) -> bool:
    return any(address in network for network in METADATA)


def _name(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _fits(host: str, name: str) -> bool:
    return host.endswith(name) if name.startswith(".") else host == name
