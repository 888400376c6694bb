"""Connections that ask for nothing are not kept.

uvicorn waits for the first request of a connection, for the rest of a request's head, and for an
answer to be read as long as it takes. Anybody could hold as many connections as a process may have.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_SECONDS = 30.0
"""A connection that has neither asked nor read anything for so long is cut, at twice it at most."""


class Connection(H11Protocol):
    """One connection of the API's server."""

    _look: asyncio.TimerHandle | None = None
    _asked = False
    """Whether a request arrived since the last look."""
    _unread = 0
    """Bytes of answers that nobody had read at the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._asked = True
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._asked |= self._is_asking

    @property
    def _is_asking(self) -> bool:
        """Whether a request's head is here whole, and its answer is not yet given."""
        return self.conn.their_state is not h11.IDLE

    def _look_later(self) -> None:
        self._look = self.loop.call_later(PATIENCE_SECONDS, self._look_at)

    def _look_at(self) -> None:
        unread = self.transport.get_write_buffer_size()
        reads = unread < self._unread
        if not (self._is_asking or self._asked or reads):
            self.transport.abort()
            return
        self._asked, self._unread = False, unread
        self._look_later()
