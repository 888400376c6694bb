"""What providers say beside the words, as JSON and the database can hold it; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from persistence.events import clean_text


def share(confidence: float | None) -> float | None:
    """Return a confidence of 0 to 1; anything else a provider may say is none."""
    if confidence is None or math.isnan(confidence) or not 0 <= confidence <= 1:
        return None
    return confidence


def finite(value: Any) -> Any:
    """Return `value` as JSON can hold it: a number that is none goes, other objects as text."""
    match value:
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return clean_text(value)
        case Mapping():
            return {str(key): finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return clean_text(str(value))
