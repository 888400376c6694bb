"""What time it is by LiveKit's clock: what it says of jobs is by that one, not by this machine's.

Its answers say it, to the second, in HTTP's `Date`; in between this process's monotonic clock goes
on from there. So neither a machine whose clock is wrong nor one whose clock jumps takes an agent
that is on its way for one that broke off.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import aiohttp


class LiveKitClock:
    """LiveKit's clock as the last answer told it; this machine's until one did."""

    def __init__(self) -> None:
        self._began: float | None = None

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.time() if self._began is None else self._began + time.monotonic()

    def traced(self) -> aiohttp.TraceConfig:
        """Return what makes a session of HTTP tell the time."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self, _session: aiohttp.ClientSession, _context: object, end: aiohttp.TraceRequestEndParams
    ) -> None:
        try:
            said = parsedate_to_datetime(end.response.headers.get("Date", ""))
        except ValueError:
            return  # a proxy may leave it out
        self._began = said.timestamp() - time.monotonic()
