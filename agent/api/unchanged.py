"""Answers that need not be sent twice: an ETag, and 304 to whoever has it already."""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from fastapi import Request, Response

KEPT = "private, no-cache"
"""A browser may keep it, and asks each time whether it still holds."""


def answer(
    request: Request, body: bytes, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """Return `body`, or 304 without one if the caller has just that."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    said = {"ETag": tag, "Cache-Control": KEPT, **(headers or {})}
    if {tag, "*"} & _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=said)
    return Response(body, media_type=media_type, headers=said)


def _tags(header: str) -> set[str]:
    """Return the entity tags that a caller has, "*" for any; a weak one is as good for reading."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
