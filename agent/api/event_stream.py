"""An answer of server-sent events: what one watcher is given, as soon as it is there.

Hundreds may watch one session, and each of its events goes to all of them: it is put into bytes
once, and nothing but the sending stands between a watcher's queue and its connection.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from starlette.responses import StreamingResponse
from starlette.types import Send

from agent.api.following import Event, Watcher

KEEPALIVE_SECONDS = 15.0
KEEPALIVE = b": there is nothing new\n\n"
"""A comment, which shows proxies that the connection is in use."""


class EventStream(StreamingResponse):
    """The events of a watcher; a stream that is broken off gives the watcher up."""

    media_type = "text/event-stream"

    def __init__(self, watching: AbstractAsyncContextManager[Watcher]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__((), headers=headers)
        self._watching = watching

    async def stream_response(self, send: Send) -> None:
        """Send the events until there are no more of them."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        async with self._watching as watcher:
            goes_on = True
            while goes_on:
                chunk, goes_on = await _next(watcher.events)
                await send({"type": "http.response.body", "body": chunk, "more_body": goes_on})


async def _next(events: asyncio.Queue[Event | None]) -> tuple[bytes, bool]:
    """Return what is there, or a sign of life if that is nothing; and whether more may come."""
    try:
        async with asyncio.timeout(KEEPALIVE_SECONDS):
            event = await events.get()
    except TimeoutError:
        return KEEPALIVE, True
    chunks = []
    while event is not None:
        chunks.append(event.encoded)
        if events.empty():
            return b"".join(chunks), True
        event = events.get_nowait()
    return b"".join(chunks), False
