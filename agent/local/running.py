"""What other commands of this checkout may know of its running `coach up`.

It is in a file of the state folder that only the owner can read, and counts only while the folder's
lock is held: a killed `coach up` leaves the file, not the lock. Nothing here needs what `coach up`
brings along: the production image has this module, too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.local import state

FILE_NAME = "up.json"


@dataclass(frozen=True)
class Running:
    """A deployment that is ready; URLs, a room, and what opens them."""

    api_url: str
    api_key: str
    livekit_url: str
    livekit_api_key: str
    livekit_api_secret: str
    database_url: str
    room: str
    token: str
    """A client's, for `room`."""
    join_url: str

    def __repr__(self) -> str:
        return f"Running({self.api_url!r})"


def save(folder: Path, running: Running) -> None:
    """Let others know."""
    state.write_private(folder / FILE_NAME, json.dumps(asdict(running)))


def forget(folder: Path) -> None:
    """Let others know that nothing runs any more."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def find(checkout: Path) -> Running | None:
    """Return the deployment that `coach up` runs in `checkout`, None without one that is ready."""
    folder = checkout.resolve() / state.FOLDER_NAME
    if not state.owned(folder):
        return None
    try:
        return Running(**json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def database_url(checkout: Path) -> str | None:
    """Return the database of the `coach up` that runs in `checkout`, None without one."""
    found = find(checkout)
    return found.database_url if found else None
