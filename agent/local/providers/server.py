"""The stand-in as one HTTP server: every protocol on one port."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from agent.local.providers import deepgram, openai, realtime, speak, transcriptions
from agent.local.providers.brain import Brain
from agent.local.providers.faults import Fault, Faults, WireLog
from agent.local.providers.wire import (
    MAX_BODY_BYTES,
    WIRE,
    ProtocolError,
    Wire,
    json_value,
    outcomes,
)

_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


@dataclass(frozen=True)
class Providers(AbstractAsyncContextManager["Providers"]):
    """A running stand-in."""

    url: str
    """`http://host:port`; control is at `/control` of it."""
    wire: Wire
    runner: web.AppRunner

    @property
    def deepgram_url(self) -> str:
        return f"{self.url}/v1/listen"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    async def aclose(self) -> None:
        """Stop serving; what is under way is cut."""
        await self.runner.cleanup()
        await self.wire.brain.aclose()

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


async def serve(
    brain: Brain, host: str = "127.0.0.1", port: int = 0, *, control: bool = False
) -> Providers:
    """Serve `brain` on a port (0: a free one); raises OSError where the port is taken.

    `control` opens the routes for faults and for the log of what was said: for tests alone.
    """
    wire = Wire(brain, Faults(), WireLog(keep=control))
    runner = web.AppRunner(
        application(wire, control=control),
        handler_cancellation=True,
        shutdown_timeout=0.1,
        access_log=None,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return Providers(f"http://{host}:{runner.addresses[0][1]}", wire, runner)


def application(wire: Wire, *, control: bool) -> web.Application:
    """Return the application that speaks every protocol."""
    app = web.Application(middlewares=[outcomes], client_max_size=MAX_BODY_BYTES)
    app[WIRE] = wire
    for protocol in (deepgram, speak, openai, transcriptions, realtime):
        app.add_routes(protocol.routes())
    if control:
        app.router.add_get("/control", _faults)
        app.router.add_post("/control", _add_faults)
        app.router.add_delete("/control", _clear_faults)
        app.router.add_get("/control/log", _log)
    return app


async def _faults(request: web.Request) -> web.Response:
    return web.json_response([f.model_dump() for f in request.app[WIRE].faults.in_force])


async def _add_faults(request: web.Request) -> web.Response:
    value = await json_value(request)
    try:
        faults = _FAULTS.validate_python(value if isinstance(value, list) else [value])
    except ValidationError as error:
        raise ProtocolError(str(error)) from None
    for fault in faults:
        request.app[WIRE].faults.add(fault)
    return await _faults(request)


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[WIRE].faults.clear()
    return await _faults(request)


async def _log(request: web.Request) -> web.Response:
    after = request.query.get("after", "0")
    if not after.isascii() or not after.isdigit():
        raise ProtocolError("after must be the number of an entry")
    return web.json_response(request.app[WIRE].log.since(int(after)))
