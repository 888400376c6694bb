"""Imported transcripts: lines of `role: text` become messages, whatever else stands between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.events import Role
from persistence.legacy import LegacyMessage, parse


@pytest.mark.parametrize(
    ("label", "role"),
    [
        ("client", Role.CLIENT),
        ("user", Role.CLIENT),
        ("coach", Role.COACH),
        ("ai", Role.AI),
        ("assistant", Role.AI),
        ("ASSISTANT", Role.AI),
        ("  Client ", Role.CLIENT),
    ],
)
def test_every_label_names_its_role_in_any_case(label: str, role: Role) -> None:
    assert parse(f"{label}: hello") == [LegacyMessage(1, role, "hello")]


@pytest.mark.parametrize(
    "line", ["", "hello", "system: hello", "client hello", "client:", "client:   ", "my client: x"]
)
def test_other_lines_and_empty_ones_are_skipped(line: str) -> None:
    assert parse(line) == []


def test_skipped_lines_count_and_text_is_kept_whole() -> None:
    text = "Session of May\r\nclient: at 10:30: tea\r\n\r\n ai:well\x0bthen\n"
    assert parse(text) == [
        LegacyMessage(2, Role.CLIENT, "at 10:30: tea"),
        LegacyMessage(4, Role.AI, "well\x0bthen"),
    ]


@given(st.lists(st.text()))
def test_any_text_gives_messages_whose_lines_rise_and_whose_text_is_in_it(lines: list[str]) -> None:
    text = "\n".join(lines)
    messages = parse(text)
    numbers = [message.line for message in messages]
    assert numbers == sorted(set(numbers))
    assert all(message.text and message.text in text for message in messages)
