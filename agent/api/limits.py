"""How often a caller may call: by address before anything is looked up, by key after.

A site has 2^64 addresses of IPv6 to call from: they count as one.

Counted in this process, over a sliding minute; several API processes allow as many times as much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address, ip_address, ip_network

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from agent.api.errors import ApiError
from agent.settings import Settings

LONGEST_ADDRESS = 64
"""Characters that are kept of what a proxy says and is none."""


@dataclass
class Limits:
    """The limits of one application."""

    per_address: RateLimitItemPerMinute
    per_key: RateLimitItemPerMinute
    _counted: SlidingWindowCounterRateLimiter = field(
        default_factory=lambda: SlidingWindowCounterRateLimiter(MemoryStorage())
    )

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that the settings give."""
        return cls(
            RateLimitItemPerMinute(settings.api_address_requests_per_minute),
            RateLimitItemPerMinute(settings.api_key_requests_per_minute),
        )

    async def count_address(self, address: str) -> None:
        """Count a call from `address`; raises ApiError 429 if it is one too many."""
        await self._count(self.per_address, "address", site_of(address))

    async def count_key(self, key_id: str) -> None:
        """Count a call with a key; raises ApiError 429 if it is one too many."""
        await self._count(self.per_key, "key", key_id)

    async def _count(self, limit: RateLimitItemPerMinute, kind: str, caller: str) -> None:
        if await self._counted.hit(limit, kind, caller):
            return
        free = (await self._counted.get_window_stats(limit, kind, caller)).reset_time
        wait = max(1, math.ceil(free - time.time()))
        details = f"at most {limit.amount} requests a minute for each {kind}"
        raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, details, {"Retry-After": str(wait)})


def site_of(address: str) -> str:
    """Return what an address counts as: itself, or the network of 64 bits that it is in."""
    try:
        known = ip_address(address)
    except ValueError:
        return address[:LONGEST_ADDRESS]
    if isinstance(known, IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((known.packed, 64), strict=False))


def is_listed(address: str, proxies: str | Sequence[str] | None) -> bool:
    """Return whether `address` is one of `proxies`, as uvicorn takes them: "*" is everybody."""
    listed = proxies.split(",") if isinstance(proxies, str) else list(proxies or [])
    if "*" in listed or address in listed:
        return True
    try:
        known = ip_address(address)
        return any(known in ip_network(network) for network in listed if "/" in network)
    except ValueError:
        return False
