"""Connections that ask for nothing are not kept, and no address has them all.

uvicorn waits for the first request of a connection, for the rest of a request's head, and for an
answer to be read as long as it takes. Anybody could hold as many connections as a process may have.

A reverse proxy holds its clients' connections: it has as many as it likes, and limits theirs.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from agent.api import errors
from agent.api.limits import is_listed, site_of

AT_ONCE = 500
"""Connections that an address may hold, in one process; a proxy's are not counted."""

PATIENCE_SECONDS = 30.0
"""A connection that has neither asked nor read anything for so long is cut, at twice it at most."""


class Connection(H11Protocol):
    """One connection of the API's server."""

    _by_site: ClassVar[Counter[str]] = Counter()
    """Of all connections in this process."""
    _site: str | None = None
    _look: asyncio.TimerHandle | None = None
    _asked = False
    """Whether a request arrived since the last look."""
    _unread = 0
    """Bytes of answers that nobody had read at the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._site = self._site_of(transport)
        if self._site is not None:
            self._by_site[self._site] += 1
            if self._by_site[self._site] > AT_ONCE:
                transport.abort()
                return
        self._asked = True
        self._look_later()

    def _site_of(self, transport: asyncio.Transport) -> str | None:
        """Return from where the connection comes, None if that is a proxy."""
        address = (get_remote_addr(transport) or ("", 0))[0]
        return None if is_listed(address, self.config.forwarded_allow_ips) else site_of(address)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        if self._site is not None:
            self._by_site.subtract([self._site])
            if not self._by_site[self._site]:
                del self._by_site[self._site]
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as any error is answered."""
        answer = errors.response(HTTPStatus.BAD_REQUEST, msg, {"X-Request-ID": uuid.uuid4().hex})
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

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
