"""Lists in pages: plain arrays, and the next page behind an opaque cursor in the Link header.

A cursor names the last row that was given and not a count of rows, so that a list stays what it is
while rows arrive at its top, and its last page costs what its first one does.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field

from agent.api.resources import Resources
from agent.api.shapes import MAX_PAGE_SIZE, PAGE_SIZE, Shape, in_utc
from persistence.paging import Position

Row = TypeVar("Row")

NOT_OURS = "is not one that a Link header gave"


def cursor_of(position: Position) -> str:
    """Return a place in a list as an opaque query parameter."""
    plain = f"{position.at.isoformat()} {position.id}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def position_of(cursor: str) -> Position:
    """Return the place that `cursor_of` wrote; raises ValueError for anything else."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at, row_id = base64.urlsafe_b64decode(padded.encode()).decode().split(" ")
        position = Position(datetime.fromisoformat(at), UUID(row_id))
    except (binascii.Error, UnicodeError, ValueError):
        raise ValueError(NOT_OURS) from None
    if position.at.tzinfo is None:
        raise ValueError(NOT_OURS)
    return Position(in_utc(position.at), position.id)


def _checked(cursor: str) -> str:
    position_of(cursor)
    return cursor


class Paged(Shape):
    """The query parameters of every list."""

    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    cursor: Annotated[str, Field(max_length=200), AfterValidator(_checked)] | None = Field(
        None, description="As the Link header of the page before has it."
    )

    @property
    def after(self) -> Position | None:
        """Where the page begins, None for the first one."""
        return position_of(self.cursor) if self.cursor else None

    @property
    def one_more(self) -> int:
        """How many rows to ask for, to know whether there is a page behind this one."""
        return self.limit + 1


def described(what: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of a page; `what` says of what."""
    return {
        200: {
            "description": f"{what}, newest first.",
            "headers": {
                "Link": {
                    "description": 'The next page, `<…>; rel="next"`; absent on the last one.',
                    "schema": {"type": "string"},
                }
            },
        }
    }


def cut(
    request: Request, response: Response, paged: Paged, rows: list[Row], places: list[Position]
) -> list[Row]:
    """Return the page's rows, of one more than it holds; name the next page if there is one.

    `places` are those of `rows`, in the same order.
    """
    if len(rows) > paged.limit:
        link = _next(request, cursor_of(places[paged.limit - 1]))
        response.headers["Link"] = f'<{link}>; rel="next"'
    return rows[: paged.limit]


def _next(request: Request, cursor: str) -> str:
    """Return where the next page is: under the URL of the setting, else from this one's root.

    A host that the request names is nobody's word but its sender's.
    """
    resources: Resources = request.app.state.resources
    query = [
        (name, value) for name, value in request.query_params.multi_items() if name != "cursor"
    ]
    base = (resources.settings.api_public_url or "").rstrip("/")
    return f"{base}{request.scope['path']}?{urlencode([*query, ('cursor', cursor)])}"
