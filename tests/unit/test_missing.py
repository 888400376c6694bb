"""What is missing on a machine: skipped by a developer, never by CI."""

from __future__ import annotations

import pytest
from missing import give_up


def test_a_developer_may_do_without_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such server"):
        give_up("no such server")


def test_in_ci_a_missing_part_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such server"):
        give_up("no such server")
