"""The page, as it was built from `agent/web`: one document for all its views, and its files.

It may load scripts, styles and fonts from here, and talk to here and to LiveKit; nothing inline,
and nothing from anywhere else.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from agent.api import errors, unchanged
from agent.api.built import BUILT
from agent.api.errors import ApiError
from agent.settings import Settings

VIEWS = ("/", "/sessions", "/sessions/{session_id}")
LIVEKIT_CLOUD = ".livekit.cloud"
FOREVER = "public, max-age=31536000, immutable"
"""For files whose name holds a hash of what is in them."""

WELCOME = """voice-coach: an AI coach that is spoken with.

This is its API. What it answers: /openapi.json
It wants a key: Authorization: Bearer <key>, from `coach keys create`.
To join a room, ask POST /api/livekit/token with a key that has that room.

Its page is not here: it was not built. In a checkout, `python -m agent.local.page` builds it.
"""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class _File(NamedTuple):
    content: bytes
    compressed: bytes | None


def install(app: FastAPI, settings: Settings, built: Path = BUILT) -> None:
    """Serve the page that is in the folder `built`, now or later; until then, say what this is."""
    headers = {
        "Content-Security-Policy": policy(settings.livekit_url or ""),
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    }
    files: dict[str, _File] = {}

    async def show_page(request: Request) -> Response:
        try:
            document = (built / "index.html").read_bytes()
        except OSError:
            return PlainTextResponse(WELCOME)
        return unchanged.answer(request, document, "text/html; charset=utf-8", headers)

    async def give_file(request: Request, name: str) -> Response:
        if name not in files:
            files[name] = _read(built / "assets", name)
        return _answer(request, name, files[name])

    async def show_page_of_nothing(request: Request, error: Exception) -> Response:
        page = built / "index.html"
        if not (_wants_page(request) and page.exists()):
            return await errors.http_error(request, error)
        return HTMLResponse(page.read_bytes(), HTTPStatus.NOT_FOUND, headers=headers)

    app.add_exception_handler(HTTPStatus.NOT_FOUND, show_page_of_nothing)
    for path in VIEWS:
        app.add_api_route(path, show_page, include_in_schema=False, methods=["GET", "HEAD"])
    app.add_api_route("/assets/{name}", give_file, include_in_schema=False, methods=["GET", "HEAD"])


def _wants_page(request: Request) -> bool:
    """Return whether a person's browser asks for a view, rather than a program for data."""
    reads = request.method in ("GET", "HEAD") and not request.url.path.startswith("/api/")
    return reads and "text/html" in request.headers.get("accept", "")


def policy(livekit_url: str) -> str:
    """Return the page's Content-Security-Policy, with LiveKit as the only other server."""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            "img-src 'self'",
            "media-src 'self' blob:",
            " ".join(["connect-src 'self'", *_livekit(livekit_url)]),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _livekit(url: str) -> list[str]:
    """Return where LiveKit's client connects: a WebSocket, and HTTP to learn why there is none.

    LiveKit's cloud has a host for each of its regions.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        return []
    encrypted = "s" if parts.scheme in ("wss", "https") else ""
    hosts = [parts.netloc.rpartition("@")[2]]
    if (parts.hostname or "").endswith(LIVEKIT_CLOUD):
        hosts.append(f"*{LIVEKIT_CLOUD}")
    return [f"{scheme}{encrypted}://{host}" for host in hosts for scheme in ("ws", "http")]


def _read(folder: Path, name: str) -> _File:
    """Return a file of the page; raises 404, for a name of any other form too."""
    if not _NAME.fullmatch(name) or Path(name).suffix not in _MEDIA_TYPES:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such file")
    try:
        content = (folder / name).read_bytes()
    except OSError:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such file") from None
    smaller = folder / f"{name}.gz"
    return _File(content, smaller.read_bytes() if smaller.exists() else None)


def _answer(request: Request, name: str, file: _File) -> Response:
    """Return a file, compressed for who takes it so."""
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    body = file.content
    if file.compressed and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = file.compressed, "gzip"
    return Response(body, headers=headers, media_type=_MEDIA_TYPES[Path(name).suffix])
