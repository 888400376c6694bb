"""What machines ask: is this process alive, is it ready, and what did it do."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from agent.api.auth import Scope, needs
from agent.api.errors import documented
from agent.api.measures import Measures
from agent.api.resources import The

router = APIRouter(tags=["probes"])


@router.get("/livez", response_class=PlainTextResponse)
async def live() -> str:
    """Say that this process serves; it asks nobody else."""
    return "alive\n"


@router.get("/readyz", response_class=PlainTextResponse, responses={**documented(503)})
async def ready(resources: The) -> str:
    """Say whether requests can be answered: whether Postgres answered within the last second."""
    await resources.readiness.require()
    return "ready\n"


@router.get(
    "/metrics",
    response_class=Response,
    dependencies=[Depends(needs(Scope.ADMIN, Scope.INTERNAL))],
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(401, 403, 503),
    },
)
async def show_figures(request: Request, resources: The) -> Response:
    """Give this process's figures as Prometheus reads them."""
    measures: Measures = request.app.state.measures
    measures.watchers.set(resources.following.watchers)
    return Response(measures.page(), media_type=CONTENT_TYPE_LATEST)
