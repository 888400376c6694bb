"""API keys: shown once, stored as a hash, each saying who its caller is and what it may do."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence.ids import new_id
from persistence.people import lookup
from persistence.rows import claim

Connection = AsyncConnection[Any]

PREFIX = "vck_"
_SHAPE = re.compile(r"vck_[A-Za-z0-9_-]{43}")
TOUCH_SECONDS = 60
"""How old a noted last use may be before a new one is written."""

_COLUMNS = """
    k.id, k.name, k.scopes, k.identity, k.rooms, k.user_id, u.display_name,
    k.created_at, k.expires_at, k.last_used_at, k.revoked_at
"""


@dataclass(frozen=True, slots=True)
class Key:
    id: UUID
    name: str
    scopes: list[str]
    identity: str | None
    """Who its caller is in a room."""
    rooms: list[str] | None
    """The rooms that its caller may join; null for any."""
    user_id: UUID | None
    display_name: str | None
    """Its user's."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    name: str
    scopes: list[str]
    identity: str | None = None
    rooms: list[str] | None = None
    lifetime: timedelta | None = None


def generate() -> str:
    """Return a new key: 32 random bytes behind a prefix by which a leaked one can be found."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> bytes:
    """Return what is stored of a key. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def create(db: Connection, key: str, new: NewKey) -> UUID:
    """Store `key`; its identity is linked to the user who has it. Return the key's id."""
    query = f"""
        INSERT INTO api_keys (id, name, key_hash, scopes, identity, rooms, user_id, expires_at)
        VALUES (%(id)s, %(name)s, %(hash)s, %(scopes)s, %(identity)s, %(rooms)s,
                {lookup("user")}, now() + %(lifetime)s::interval)
    """  # noqa: S608 - the lookup is a constant
    values = {
        "id": new_id(),
        "name": new.name,
        "hash": hash_of(key),
        "scopes": new.scopes,
        "identity": new.identity,
        "rooms": new.rooms,
        "lifetime": new.lifetime,
        **claim("user", new.identity),
    }
    await db.execute(query, values)
    return UUID(str(values["id"]))


async def find(db: Connection, key: str) -> Key | None:
    """Return whose key this is, None if it is unknown, expired or revoked."""
    if not _SHAPE.fullmatch(key):
        return None
    query = f"""
        SELECT {_COLUMNS} FROM api_keys k LEFT JOIN users u ON u.id = k.user_id
        WHERE k.key_hash = %s AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now())
    """  # noqa: S608 - the columns are a constant
    async with db.cursor(row_factory=class_row(Key)) as cursor:
        found = await (await cursor.execute(query, (hash_of(key),))).fetchone()
    return await _linked(db, found) if found and found.identity and not found.user_id else found


async def _linked(db: Connection, key: Key) -> Key:
    """Return the key with its user, who may have come after it: as sessions find theirs."""
    query = f"SELECT id, display_name FROM users WHERE id = {lookup('user')}"  # noqa: S608
    user = await (await db.execute(query, claim("user", key.identity))).fetchone()
    if user is None:
        return key
    await db.execute("UPDATE api_keys SET user_id = %s WHERE id = %s", (user[0], key.id))
    return replace(key, user_id=user[0], display_name=user[1])


async def ended(db: Connection, key_ids: Collection[UUID]) -> set[UUID]:
    """Return which of these keys hold no longer: revoked, expired or gone."""
    query = """
        SELECT id FROM unnest(%s::uuid[]) AS asked (id) WHERE NOT EXISTS (
            SELECT FROM api_keys k WHERE k.id = asked.id AND k.revoked_at IS NULL
              AND (k.expires_at IS NULL OR k.expires_at > now()))
    """
    return {key_id for (key_id,) in await (await db.execute(query, (list(key_ids),))).fetchall()}


def use_is_due(key: Key) -> bool:
    """Return whether a use of `key` has to be noted: most do not, and need not ask Postgres."""
    due = timedelta(seconds=TOUCH_SECONDS)
    return key.last_used_at is None or datetime.now(UTC) - key.last_used_at >= due


async def note_use(db: Connection, key_id: UUID) -> None:
    """Note that the key was used, and its user active, unless that was within the last minute."""
    query = """
        WITH used AS (
            UPDATE api_keys SET last_used_at = now() WHERE id = %s
              AND (last_used_at IS NULL OR last_used_at < now() - %s * interval '1 second')
            RETURNING user_id)
        UPDATE users u SET last_active_at = now() FROM used WHERE u.id = used.user_id
    """
    await db.execute(query, (key_id, TOUCH_SECONDS))


async def listed(db: Connection) -> list[Key]:
    """Return all keys, newest first, revoked and expired ones too."""
    query = f"""
        SELECT {_COLUMNS} FROM api_keys k LEFT JOIN users u ON u.id = k.user_id
        ORDER BY k.created_at DESC, k.id DESC
    """  # noqa: S608 - the columns are a constant
    async with db.cursor(row_factory=class_row(Key)) as cursor:
        return await (await cursor.execute(query)).fetchall()


async def revoke(db: Connection, key_id: UUID) -> bool:
    """Revoke the key for good; return False if there is no such key. Revoking twice is one."""
    query = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, now()) WHERE id = %s"
    return (await db.execute(query, (key_id,))).rowcount == 1
