"""Which of the faults every run plays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Take the brief ones into the long run as well: it plays every fault."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.get_closest_marker("full") is None:
            item.add_marker(pytest.mark.brief)
            item.add_marker(pytest.mark.full)
