"""Fixtures of the integration tests."""

from __future__ import annotations

from commanding import coach
from serving import api

__all__ = ["api", "coach"]
