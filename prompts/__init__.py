"""The prompts: Markdown beside this file, read once, versioned by what they say.

A session stores the version of its prompt, so that what the AI was told can be told later. Nothing
in here knows who uses a prompt. Beside them, in `spoken`, is what the AI says where no model can
be asked for words.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

_VERSION_LENGTH = 12
"""Hex digits of the SHA-256 that make a version: 48 bits, plenty for a folder of prompts."""


class UnknownPromptError(LookupError):
    """There is no prompt of that name."""


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str
    text: str
    version: str
    """The first 12 hex digits of the SHA-256 of `text` in UTF-8."""


@cache
def names() -> tuple[str, ...]:
    """Return the names of all prompts, sorted."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name.removesuffix(".md") for f in files if f.name.endswith(".md")))


@cache
def load(name: str) -> Prompt:
    """Return the prompt `name`; raise UnknownPromptError, which lists the known ones."""
    if name not in names():
        raise UnknownPromptError(f"no prompt {name!r}; there are: {', '.join(names())}")
    return _read(name)


@cache
def spoken(name: str) -> Prompt:
    """Return the words of `spoken/<name>.md`; raise UnknownPromptError where there are none."""
    if not resources.files(__name__).joinpath("spoken", f"{name}.md").is_file():
        raise UnknownPromptError(f"no spoken words {name!r}")
    return _read(name, "spoken")


def _read(name: str, *folder: str) -> Prompt:
    file = resources.files(__name__).joinpath(*folder, f"{name}.md")
    text = file.read_text(encoding="utf-8").strip()
    version = hashlib.sha256(text.encode()).hexdigest()[:_VERSION_LENGTH]
    return Prompt(name=name, text=text, version=version)
