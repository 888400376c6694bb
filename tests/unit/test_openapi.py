"""What OpenAPI says: bodies and answers with examples that are some, errors in one shape."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from agent.api import server
from agent.api.app import create_app
from agent.settings import Settings

PROBLEM = {"$ref": "#/components/schemas/Problem"}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    settings = Settings(
        _env_file=None,
        database_url="postgresql://nobody/none",
        livekit_url="ws://127.0.0.1:1",
        livekit_api_key="key",
        livekit_api_secret="secret" * 8,
    )
    return create_app(settings).openapi()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def json_schemas(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the schemas of a request's body and of what it is answered when it succeeds."""
    holders = [operation["requestBody"]] if "requestBody" in operation else []
    holders += [answer for status, answer in operation["responses"].items() if status < "300"]
    for holder in holders:
        schema = holder.get("content", {}).get("application/json", {}).get("schema")
        if schema is not None:
            yield schema


def named(schema: dict[str, Any]) -> str | None:
    """Return the name of the shape that `schema` is, or is a list of, or may be."""
    for part in (schema, schema.get("items", {}), *schema.get("anyOf", [])):
        if "$ref" in part:
            return str(part["$ref"]).rpartition("/")[2]
    return None


def test_every_body_and_every_answer_has_an_example(described: dict[str, Any]) -> None:
    shapes = described["components"]["schemas"]
    for name, operation in operations(described):
        for schema in json_schemas(operation):
            shape = named(schema)
            assert shape, f"{name}: {schema}"
            assert shapes[shape].get("examples"), f"{name}: {shape}"


def test_every_example_is_what_it_is_an_example_of(described: dict[str, Any]) -> None:
    shapes = described["components"]["schemas"]
    tried = 0
    for name, shape in shapes.items():
        whole = {"components": described["components"], "$ref": f"#/components/schemas/{name}"}
        check = jsonschema_rs.validator_for(whole, validate_formats=True)
        for example in shape.get("examples", []):
            check.validate(example)
            tried += 1
    assert tried >= 10


def test_every_error_is_a_problem_with_an_example_of_its_own(described: dict[str, Any]) -> None:
    check = jsonschema_rs.validator_for(described["components"]["schemas"]["Problem"])
    for name, operation in operations(described):
        for status, answer in operation["responses"].items():
            if status >= "400":
                content = answer["content"]["application/json"]
                assert content["schema"] == PROBLEM, f"{name}: {status}"
                check.validate(content["example"])


def test_every_route_says_what_it_does(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        assert operation["description"].endswith("."), name
        assert operation["tags"], name


def test_an_answer_is_sent_without_waiting_for_what_was_sent_before() -> None:
    """Else its second part waits 40 ms for the acknowledgement of its first."""
    with server._listen("127.0.0.1", 0) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
