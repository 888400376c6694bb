"""Roles and ids: from token attributes, else from the identity; anything gives a sane answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.worker.people import Person, person_of
from persistence.events import IDENTITY_MAX_LENGTH, Role


@pytest.mark.parametrize(
    ("identity", "attributes", "expected"),
    [
        ("client-7", {}, Person(Role.CLIENT, "client-7", "7")),
        ("coach-9", {}, Person(Role.COACH, "coach-9", "9")),
        ("user-9", {}, Person(Role.CLIENT, "user-9", "9")),
        ("ada@home", {}, Person(Role.CLIENT, "ada@home", "ada@home")),
        ("client-7", {"role": "coach"}, Person(Role.COACH, "client-7", "7")),
        ("x", {"role": "assistant"}, Person(Role.AI, "x", "x")),
        ("x", {"role": "agent"}, Person(Role.AI, "x", "x")),
        ("x", {"role": "user", "user_id": "12"}, Person(Role.CLIENT, "x", "12")),
        ("coach-1", {"role": "nonsense"}, Person(Role.COACH, "coach-1", "1")),
        ("client-", {}, Person(Role.CLIENT, "client-", "client-")),
        ("", {}, Person(Role.CLIENT, None, None)),
    ],
)
def test_who_is_who(identity: str, attributes: dict[str, str], expected: Person) -> None:
    assert person_of(identity, attributes) == expected


@given(identity=st.text(max_size=12_000), role=st.text(), user=st.text())
def test_any_identity_is_stored_bounded_and_without_control_characters(
    identity: str, role: str, user: str
) -> None:
    person = person_of(identity, {"role": role, "user_id": user})
    for kept in (person.identity, person.user):
        assert kept is None or 0 < len(kept) <= IDENTITY_MAX_LENGTH
        assert kept is None or kept.isprintable() or not any(ord(c) < 32 for c in kept)
