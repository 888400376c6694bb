"""A moment as people give it on the command line: how long ago, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
"""At most 19 centuries: there is such a date."""
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def moment_of(text: str, now: datetime) -> datetime:
    """Return the moment; a date without a zone is in UTC. Raises ValueError, which says how."""
    if match := _AGO.fullmatch(text):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "is how long ago, as 30m, 24h, 7d or 2w, or a date, as 2026-11-21"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
