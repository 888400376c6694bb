"""Fixtures of the tests of faults."""

from __future__ import annotations

from broken_postgres import database, one_database, way
from killing import stage
from wrong_clocks import wrong_clock

__all__ = ["database", "one_database", "stage", "way", "wrong_clock"]
