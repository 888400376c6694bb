"""Tasks and futures that nobody awaited: what asyncio says of one fails the test that left it.

asyncio says it while garbage is collected: in a later, innocent test, and in the middle of whatever
that was at. Formatted there and then, its traceback parses code; CPython 3.11 takes a parse within
a parse for an error of the outer one. So a filter keeps such records from every handler, and the
next test that ends tells them; at the end of each file its garbage is collected, so that no test of
another file has to.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest

SAID = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending!",
)


class Forgotten(logging.Filter):
    """Takes out what asyncio's loops log of tasks and futures; `told` has it until asked."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.funcName != "default_exception_handler" or not record.msg.startswith(SAID):
            return True
        self._kept.append(record)
        return False

    def told(self) -> list[str]:
        """Return what was said since the last call, with tracebacks."""
        kept, self._kept = self._kept, []
        return [logging.Formatter().format(record) for record in kept]


forgotten = Forgotten()


def pytest_configure() -> None:
    logging.getLogger("asyncio").addFilter(forgotten)


def pytest_collection_finish() -> None:
    """Leave out of each collection what lives as long as the run: it takes milliseconds then."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
    if told := forgotten.told():
        left = f"left by this test, or by another in {item.path.name}:"
        pytest.fail("\n\n".join([left, *told]), pytrace=False)
