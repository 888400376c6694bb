"""Where the page is, once it is built: in a checkout beside its source, else in the package."""

from __future__ import annotations

from pathlib import Path

BUILT = Path(__file__).parents[1] / "web" / "dist"
