"""What tests of the page stand on."""

from __future__ import annotations

from page_site import nothing_wrong, site

__all__ = ["nothing_wrong", "site"]
