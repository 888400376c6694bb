"""An honest summary without a language model: what was said is counted and quoted, not understood.

`fill` gives an object for the JSON schema that a request asks for. Texts count and quote, lists of
texts quote, and whatever would be a judgement (a mood, a score) is null, or where the schema has
no null the least that it allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from agent.local.providers.brain import Message

QUOTES = 3
QUOTE_CHARACTERS = 160
_MAX_DEPTH = 8
_SPEAKER = re.compile(
    r"^\W*(?:\d+\W+)?(client|user|coach|ai|assistant)\b[^:]{0,80}:\s*(\S.*)$", re.IGNORECASE
)
_CLIENTS = frozenset({"client", "user"})


def fill(schema: dict[str, Any], messages: Sequence[Message]) -> str:
    """Return JSON text that satisfies `schema`, made only of the transcript in `messages`."""
    said = transcript(messages)
    return json.dumps(_Filler(schema, said).value(schema, 0), ensure_ascii=False)


def transcript(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Return `(speaker, line)` of the transcript in the last message of the user."""
    text = next((m.text for m in reversed(messages) if m.role == "user"), "")
    found = (_SPEAKER.match(line) for line in text.splitlines())
    return [(match[1].lower(), match[2].strip()) for match in found if match]


class _Filler:
    def __init__(self, root: dict[str, Any], said: list[tuple[str, str]]) -> None:
        self._root = root
        self._count = len(said)
        client = [line for speaker, line in said if speaker in _CLIENTS]
        self._quotes = [line[:QUOTE_CHARACTERS] for line in _longest(client)]
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
            return list(self._quotes)
        return [self.value(items, depth + 1) for _ in range(schema.get("minItems", 0))]

    def _text(self) -> str:
        counted = (
            f"Made without a language model, by counting and quoting: {self._count} turns,"
            f" {self._client_count} of them the client's."
        )
        quoted = " ".join(f"“{quote}”" for quote in self._quotes)
        return f"{counted} The client said: {quoted}" if quoted else counted


def _longest(said: list[str]) -> list[str]:
    """Return the longest few lines, in the order in which they were said."""
    chosen = sorted(range(len(said)), key=lambda n: len(said[n]), reverse=True)[:QUOTES]
    return [said[n] for n in sorted(chosen)]
