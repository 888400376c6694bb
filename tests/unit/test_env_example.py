"""`.env.example` names all settings that exist, with the defaults that they have."""

from __future__ import annotations

import re
from pathlib import Path

from agent.settings import Settings, environment_name

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()
NAMED = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
FIELDS = {environment_name(field): field for field in Settings.model_fields}


def test_every_name_is_a_setting_and_every_setting_is_named() -> None:
    assert NAMED.keys() == FIELDS.keys()


def test_every_value_is_the_settings_default() -> None:
    for name, value in NAMED.items():
        default = Settings.model_fields[FIELDS[name]].default
        shown = "" if default in (None, ()) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        assert shown.removesuffix(".0") == value, name
