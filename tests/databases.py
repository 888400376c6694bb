"""Databases for tests: clones of a template, gone when the test is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
from psycopg import sql


def fresh_database(url: str, template: str) -> Iterator[str]:
    """Yield the URL of a new database made from `template`, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    yield at(url, name)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(drop.format(sql.Identifier(name)))


def at(url: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    return url.replace("/postgres?", f"/{database}?")
