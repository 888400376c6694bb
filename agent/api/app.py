"""The HTTP application: routes by topic, one shape of error, everything opened at its start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agent.api import (
    errors,
    events,
    figures,
    health,
    page,
    probes,
    processes,
    ratings,
    reported,
    resources,
    rooms,
    signin,
    sync_runs,
    tokens,
    transcripts,
    upkeep,
    users,
)
from agent.api.bounds import Bounds
from agent.api.cors import Cors
from agent.api.edge import Edge
from agent.api.measures import Measures
from agent.api.shapes import Problem
from agent.settings import Settings, listed
from agent.worker.background import running

TITLE = "voice-coach"
VERSION = "1"
SUMMARY = "Sessions of an AI voice coach: rooms, tokens, transcripts, health."


TOPICS = (
    health,
    figures,
    transcripts,
    events,
    ratings,
    users,
    rooms,
    tokens,
    sync_runs,
    reported,
    signin,
    probes,
    processes,
)


def create_app(settings: Settings) -> FastAPI:
    """Return the application; `settings` must have LiveKit and the database.

    Its start raises DatabaseUnavailableError, or SchemaOutdatedError on another version's schema.
    """
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        summary=SUMMARY,
        docs_url=None,  # its page loads scripts from a content delivery network
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings),
    )
    for topic in TOPICS:
        app.include_router(topic.router)
    page.install(app, settings)
    errors.install(app)
    _surround(app, settings)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _surround(app: FastAPI, settings: Settings) -> None:
    """Put around the routes what every request goes through; what is added last is outermost."""
    app.add_middleware(Bounds)
    if origins := listed(settings.api_origins):
        app.add_middleware(Cors, origins=origins)
    app.state.measures = Measures()
    app.add_middleware(Edge, measures=app.state.measures)


def _lifespan(
    settings: Settings,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with resources.opened(settings) as opened:
            app.state.resources = opened
            tasks = {
                "health_checks": lambda: health.record_regularly(opened),
                "following": opened.following.run,
                "search": lambda: upkeep.gather_words(opened),
                "reported_sessions": lambda: upkeep.give_up_the_silent(opened),
            }
            async with running(tasks):
                yield

    return lifespan


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description; what cannot be validated is a 400 here, never a 422."""
    if app.openapi_schema is None:
        schema = get_openapi(title=TITLE, version=VERSION, summary=SUMMARY, routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        app.openapi_schema = schema
    return app.openapi_schema
