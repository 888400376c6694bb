"""A deployment as its clients see it: the HTTP API, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from agent.local.rehearsal.record import Receipt, Stored, Turn

REQUEST_SECONDS = 10.0
LISTED = 200
KEY_NEEDED = (
    "a key for rehearsals has the scopes admin and client and an identity: "
    "coach keys create --name rehearsal --scope admin --scope client --identity client-rehearsal"
)


class DeploymentError(Exception):
    """There is no deployment to rehearse with, or it does not let us."""


@dataclass(frozen=True)
class Ticket:
    """What lets a participant into a room."""

    url: str
    token: str


class Deployment:
    """The API at `url`, called with `api_key`; an asynchronous context manager."""

    def __init__(self, url: str, api_key: str) -> None:
        parts = _parts(url)
        if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
            raise DeploymentError(f"the key is none: {KEY_NEEDED}")
        self.url = url.rstrip("/")
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {api_key.strip()}"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            trust_env=not _is_local(parts.hostname or ""),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def check(self) -> None:
        """Return if the API answers and lets this key read; raises DeploymentError."""
        await self._get("/api/admin/transcripts", {"limit": "1"})

    async def make_room(self, name: str) -> None:
        """Make a room with the agent dispatched to it; raises DeploymentError."""
        await self._call("POST", "/api/rooms/create", json={"roomName": name})

    async def ticket(self, room: str) -> Ticket:
        """Return what lets the key's identity into `room`; raises DeploymentError."""
        path = "/api/livekit/token"
        given = await self._call("POST", path, json={"room_name": room})
        try:
            return Ticket(str(given["server_url"]), str(given["participant_token"]))
        except (KeyError, TypeError):
            raise _not_ours(self.url + path) from None

    async def sessions_in(self, room: str, identity: str) -> list[str]:
        """Return the ids of the sessions in `room` of the client `identity`, newest first.

        Looks at the client's newest 200. Raises DeploymentError.
        """
        query = {"client": identity, "limit": str(LISTED)}
        listed = await self._get("/api/admin/transcripts", query)
        try:
            return [str(s["id"]) for s in listed if s.get("roomName") == room]
        except (KeyError, TypeError, AttributeError):
            raise _not_ours(self.url) from None

    async def stored(self, session_id: str) -> Stored:
        """Return what Postgres holds of a session; raises DeploymentError."""
        path = f"/api/admin/transcripts/{session_id}"
        try:
            return stored_of(await self._get(path))
        except (KeyError, TypeError, ValueError):
            raise _not_ours(self.url + path) from None

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return await self._call("GET", path, params=query)

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        what = f"{method} {self.url}{path}"
        try:
            async with self._http.request(method, self.url + path, **more) as response:
                if not response.ok:
                    raise await _refused(what, response)
                return await response.json()
        except aiohttp.ContentTypeError:
            raise _not_ours(self.url + path) from None
        except TimeoutError:
            raise DeploymentError(f"no answer within {REQUEST_SECONDS:.0f} s: {what}") from None
        except aiohttp.InvalidURL:
            raise DeploymentError(f"this is no URL: {self.url}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeploymentError(f"cannot reach {self.url}: {_reason(error)}") from None


def stored_of(transcript: Mapping[str, Any]) -> Stored:
    """Return the API's transcript of a session; raises KeyError, TypeError, ValueError."""
    ended = transcript.get("endTime")
    receipt = transcript.get("receipt")
    return Stored(
        session_id=str(transcript["sessionId"]),
        status=str(transcript["status"]),
        end_reason=transcript.get("endReason"),
        started_at=datetime.fromisoformat(transcript["startTime"]),
        ended_at=datetime.fromisoformat(ended) if ended else None,
        turns=tuple(_turn(message) for message in transcript["messages"]),
        receipt=receipt
        and Receipt(
            turn_count=receipt["turnCount"],
            completeness=transcript.get("completeness"),
            reason=receipt.get("reason"),
            kept=bool(receipt["kept"]),
        ),
    )


def _turn(message: Mapping[str, Any]) -> Turn:
    started = datetime.fromisoformat(message["timestamp"])
    ended = message.get("endTime")
    return Turn(
        seq=int(message["seq"]),
        role=str(message["speakerRole"]),
        text=str(message["content"]),
        started_at=started,
        ended_at=datetime.fromisoformat(ended) if ended else started,
        interrupted=bool(message.get("interrupted")),
    )


async def _refused(what: str, response: aiohttp.ClientResponse) -> DeploymentError:
    details = await _details(response)
    match response.status:
        case HTTPStatus.UNAUTHORIZED:
            return DeploymentError(f"the key was refused: {details}")
        case HTTPStatus.FORBIDDEN:
            return DeploymentError(f"the key is not enough for {what}: {details}; {KEY_NEEDED}")
        case status:
            return DeploymentError(f"{status} from {what}: {details}")


async def _details(response: aiohttp.ClientResponse) -> str:
    """Return what the API says of its refusal, at most a line of it."""
    try:
        said = (await response.json())["details"]
    except (aiohttp.ClientError, KeyError, TypeError, ValueError):
        return response.reason or "no details"
    return " ".join(str(said).split())[:300]


def _not_ours(url: str) -> DeploymentError:
    return DeploymentError(f"{url} does not answer as a voice-coach API does")


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return getattr(cause, "strerror", None) or str(error) or type(error).__name__


def _parts(url: str) -> Any:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise DeploymentError(f"--url is the API's, as https://coach.example; not {url!r}")
    return parts


def _is_local(host: str) -> bool:
    """Return whether `host` is this machine: then no proxy is asked."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
