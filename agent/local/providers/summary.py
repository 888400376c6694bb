"""An honest summary without a language model: what was said is counted and quoted, not understood.

`fill` gives an object for the JSON schema that a request asks for. Texts count and quote, lists of
texts quote, a list of statements with a `quote` has one for each line that it quotes, and whatever
would be a judgement (a mood, a score) is null, or where the schema has no null the least that it
allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.local.providers.brain import Message

QUOTES = 3
QUOTE_CHARACTERS = 160
_MAX_DEPTH = 8
_SPEAKER = re.compile(
    r"^\W*(?:(\d+)\W+)?(client|user|coach|ai|assistant)\b[^:]{0,80}:\s*(\S.*)$", re.IGNORECASE
)
_CLIENTS = frozenset({"client", "user"})


@dataclass(frozen=True)
class Line:
    """One line of a transcript, with the number that it has there."""

    number: int | None
    speaker: str
    text: str

    @property
    def quote(self) -> str:
        """The line, or as many of its first words as a quote may have characters."""
        if len(self.text) <= QUOTE_CHARACTERS:
            return self.text
        return self.text[:QUOTE_CHARACTERS].rpartition(" ")[0] or self.text[:QUOTE_CHARACTERS]


def fill(schema: dict[str, Any], messages: Sequence[Message]) -> str:
    """Return JSON text that satisfies `schema`, made only of the transcript in `messages`."""
    said = transcript(messages)
    return json.dumps(_Filler(schema, said).value(schema, 0), ensure_ascii=False)


def transcript(messages: Sequence[Message]) -> list[Line]:
    """Return the lines of the transcript in the last message of the user."""
    text = next((m.text for m in reversed(messages) if m.role == "user"), "")
    found = (_SPEAKER.match(line) for line in text.splitlines())
    return [
        Line(int(match[1]) if match[1] else None, match[2].lower(), match[3].strip())
        for match in found
        if match
    ]


class _Filler:
    def __init__(self, root: dict[str, Any], said: list[Line]) -> None:
        self._root = root
        self._count = len(said)
        client = [line for line in said if line.speaker in _CLIENTS]
        self._quoted = _longest(client)
        self._client_count = len(client)

    def value(self, schema: dict[str, Any], depth: int) -> Any:  # noqa: PLR0911 — one a type
        """Return a value for `schema`."""
        schema, types = self._resolve(schema)
        if depth > _MAX_DEPTH or "null" in types:
            return None
        if "const" in schema or schema.get("enum"):
            return schema.get("const", (schema.get("enum") or [None])[0])
        match types[0] if types else "object":
            case "object":
                fields = schema.get("properties", {}).items()
                return {name: self.value(field, depth + 1) for name, field in fields}
            case "array":
                return self._list(schema, depth)
            case "string":
                return self._text()
            case "boolean":
                return False
            case _:
                return schema.get("minimum", 0)

    def _resolve(self, schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the schema behind a reference, and the types that it allows."""
        if isinstance(reference := schema.get("$ref"), str):
            name = reference.rsplit("/", 1)[-1]
            schema = self._root.get("$defs", self._root.get("definitions", {})).get(name, {})
        if options := schema.get("anyOf"):
            types = [kind for option in options for kind in self._resolve(option)[1]]
            return (schema if "null" in types else self._resolve(options[0])[0]), types
        kind = schema.get("type", [])
        return schema, [kind] if isinstance(kind, str) else list(kind)

    def _list(self, schema: dict[str, Any], depth: int) -> list[Any]:
        items, types = self._resolve(schema.get("items", {}))
        if types == ["string"] and not items.get("enum"):
            return [line.quote for line in self._quoted]
        if "quote" in items.get("properties", {}):
            return [self._statement(items["properties"], line, depth) for line in self._quoted]
        return [self.value(items, depth + 1) for _ in range(schema.get("minItems", 0))]

    def _statement(self, fields: dict[str, Any], line: Line, depth: int) -> dict[str, Any]:
        said = f"Quoted without a language model: the client said “{line.quote.rstrip('.')}”."
        known = {"quote": line.quote, "turn": line.number, "text": said}
        return {
            name: known[name] if known.get(name) is not None else self.value(field, depth + 1)
            for name, field in fields.items()
        }

    def _text(self) -> str:
        counted = (
            f"Made without a language model, by counting and quoting: {self._count} turns,"
            f" {self._client_count} of them the client's."
        )
        quotes = [line.quote for line in self._quoted]
        quoted = " ".join(f"“{quote}”" for quote in quotes)
        return f"{counted} The client said: {quoted}" if quoted else counted


def _longest(said: list[Line]) -> list[Line]:
    """Return the longest few lines, in the order in which they were said."""
    chosen = sorted(range(len(said)), key=lambda n: len(said[n].text), reverse=True)[:QUOTES]
    return [said[n] for n in sorted(chosen)]
