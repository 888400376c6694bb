"""Fixtures of the integration tests."""

from __future__ import annotations

from serving import api

__all__ = ["api"]
