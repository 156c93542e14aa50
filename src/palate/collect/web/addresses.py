"""Network addresses: of clients, of proxies, and of this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache

IPV6_NETWORK = 64
"""Bits of an IPv6 address that name a network; one client usually has all addresses in it."""


class Trusted:
    """Addresses and networks of proxies that are trusted to name a client's address.

    Args:
        names: such as `127.0.0.1` or `10.0.0.0/8`.

    Raises:
        ValueError: a name is neither an address nor a network.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(name, strict=False) for name in names]

    def __contains__(self, host: str) -> bool:
        address = _parsed(host) if self._networks else None
        return address is not None and any(address in network for network in self._networks)

    def __bool__(self) -> bool:
        return bool(self._networks)


def client_of(peer: str, forwarded: str, trusted: Trusted) -> str:
    """The address of the client: the last one in X-Forwarded-For that is not of a trusted proxy.

    Args:
        peer: the address at the other end of the connection, which is returned if it is not a trusted proxy.
        forwarded: the values of all X-Forwarded-For headers of the request, joined by commas.
        trusted: the trusted proxies.
    """
    if peer not in trusted:
        return peer
    for name in reversed(forwarded.split(",")):
        address = _parsed(_without_port(name.strip()))
        if address is None:
            break
        peer = str(address)
        if peer not in trusted:
            break
    return peer


@lru_cache(maxsize=4096)
def group_of(host: str) -> str:
    """The group in which an address is counted: an IPv4 address itself, the network of an IPv6 address."""
    address = _parsed(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), IPV6_NETWORK), strict=False))
    return str(address or host)


def reachable(host: str, family: socket.AddressFamily) -> list[str]:
    """The hosts, as parts of a URL, at which a server that listens on `host` can be reached.

    This is `host` itself, unless it means every address of the machine: then the addresses that can be found, or the
    loopback address where none can.
    """
    if host not in ("0.0.0.0", "::", ""):  # compared only, nothing listens there
        return [_in_url(host)]
    families = (socket.AF_INET, socket.AF_INET6) if family == socket.AF_INET6 else (socket.AF_INET,)
    found = [*_outward(families), *_of_name(families)]
    sound = [each for each in found if not (each.is_loopback or each.is_link_local or each.is_unspecified)]
    return list(dict.fromkeys(_in_url(str(each)) for each in sound)) or ["127.0.0.1"]


def _outward(families: Sequence[socket.AddressFamily]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses from which this machine would send packets to others; connecting a UDP socket sends nothing."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        if family in families:
            with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as wire:
                wire.connect((elsewhere, 9))
                found.append(_parsed(wire.getsockname()[0]))
    return [each for each in found if each is not None]


def _of_name(families: Sequence[socket.AddressFamily]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses that this machine's name resolves to."""
    found = []
    with suppress(OSError):
        for family, *_, address in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
            if family in families:
                found.append(_parsed(str(address[0])))
    return [each for each in found if each is not None]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_port(name: str) -> str:
    if name.startswith("["):
        return name[1:].partition("]")[0]
    host, colon, _ = name.partition(":")
    return host if colon and name.count(":") == 1 else name


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
