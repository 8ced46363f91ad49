"""No alert goes to a cloud's metadata service, whatever name leads there.

An address in the settings may come from somebody who should not reach what this process reaches. What a name resolves
to is looked at, and that address, not the name, is connected to: a name that resolves otherwise a moment later leads
nowhere else. TLS is still asked for by the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import httpx

from birdwatch.errors import DeliveryError

__all__ = ["Guarded", "Resolve", "forbidden", "resolve"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host."""

# Metadata services that are not link-local: of AWS over IPv6, Alibaba, Azure and Oracle.
_METADATA: Final = frozenset(
    ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_NAT64: Final = ip_network("64:ff9b::/96")


def forbidden(address: str) -> bool:
    """Tell whether an address is link-local or a cloud's metadata service, in whatever notation.

    >>> forbidden("169.254.169.254"), forbidden("::ffff:169.254.169.254"), forbidden("127.0.0.1")
    (True, True, False)
    """
    found = _bare(address)
    return found.is_link_local or found in _METADATA


def _bare(address: str) -> IPv4Address | IPv6Address:
    """Give the IPv4 address that an IPv6 one stands for, or the address itself."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found in _NAT64:
            return IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found.sixtofour or found
    return found


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guarded(httpx.AsyncBaseTransport):
    """Connects only to addresses that are not forbidden.

    Parameters
    ----------
    inner
        What makes the connections.
    allow
        Hosts, addresses and networks that are allowed all the same.
    resolve
        How names become addresses.

    Raises
    ------
    DeliveryError
        The host resolves to nothing, or to something that is forbidden.
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, *, allow: Sequence[str] = (), resolve: Resolve = resolve
    ) -> None:
        self._inner = inner
        self._allow = frozenset(host.lower() for host in allow)
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Look where the request would go, and send it there."""
        host = request.url.host
        try:
            addresses = await self._resolve(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        except (OSError, UnicodeError) as error:
            raise DeliveryError("its name cannot be resolved") from error
        if any(forbidden(address) and not self._allowed(host, address) for address in addresses):
            raise DeliveryError(
                "leads to a link-local address or a cloud's metadata service: nothing was sent; if that is meant, name the"
                " host in `allow_hosts`"
            )
        failed: httpx.ConnectError | None = None
        for address in addresses:
            there = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(there)
            except httpx.ConnectError as error:
                failed = error
        raise failed or DeliveryError("its name cannot be resolved")

    def _allowed(self, host: str, address: str) -> bool:
        if host.lower() in self._allow:
            return True
        found = ip_address(address.partition("%")[0])
        return any(found in network for network in map(_network, self._allow) if network is not None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None  # a name
