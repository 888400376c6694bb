"""What opens a local deployment for its user: an API key, and a token for a room with the coach."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from pathlib import Path

from livekit.api import AccessToken

from agent.local import state
from agent.local.livekit_server import Credentials
from agent.settings import Settings
from agent.tickets import ticket
from persistence import database, keys
from persistence.keys import NewKey

KEY_FILE = "api-key"
SCOPES = ["admin", "client", "internal"]
TOKEN_LIFETIME = timedelta(days=1)
CLIENT = "client-you"


def room_name() -> str:
    """Return a name that no other room has."""
    return f"coaching-{secrets.token_hex(4)}"


def client_token(credentials: Credentials, room: str, settings: Settings) -> str:
    """Return a token with which a client joins `room`; whoever makes the room calls the agent."""
    token = ticket(
        AccessToken(credentials.key, credentials.secret),
        identity=CLIENT,
        attributes={"role": "client"},
        room=room,
        settings=settings,
    )
    return token.with_ttl(TOKEN_LIFETIME).to_jwt()


def api_key(folder: Path, database_url: str) -> str:
    """Return the user's key for the API, the same at each start, kept in the state folder.

    Raises PersistenceError.
    """
    file = folder / KEY_FILE
    kept = file.read_text(encoding="utf-8") if file.exists() else None
    key = asyncio.run(_valid_key(kept, database_url))
    state.write_private(file, key)
    return key


async def _valid_key(kept: str | None, database_url: str) -> str:
    with database.translated():
        async with await database.connect(database_url, "up") as db:
            known = await keys.find(db, kept) if kept is not None else None
            if kept is not None and known is not None and set(SCOPES) <= set(known.scopes):
                return kept
            made = keys.generate()
            await keys.create(db, made, NewKey(name="coach up", scopes=SCOPES, identity=CLIENT))
            return made
