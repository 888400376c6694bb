"""Sessions and keys for a person in a terminal, or as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.api import messages
from agent.api.messages import Message, Receipt, Session
from agent.api.shapes import iso
from agent.printing import moment, plain, print_json, print_table
from persistence.keys import Key
from persistence.transcripts import SessionRow, TurnRow

ROLE_STYLES = {"client": "cyan", "coach": "green", "ai": "magenta"}
STATUS_STYLES = {"active": "yellow", "completed": "green", "cancelled": "red"}


def show_sessions(rows: Iterable[SessionRow], *, as_json: bool) -> None:
    """Print sessions: a table, or what the API answers."""
    sessions = [messages.session(row) for row in rows]
    if as_json:
        print_json([s.model_dump(mode="json", exclude_none=True) for s in sessions])
        return
    table = Table("id", "started (UTC)", "client", "coach", box=None, header_style="bold")
    for column in ("minutes", "messages"):
        table.add_column(column, justify="right")
    table.add_column("status")
    for session in sessions:
        table.add_row(
            str(session.id),
            moment(session.start_time),
            plain(session.client_name),
            plain(session.coach_name or ""),
            str(session.duration_minutes),
            str(session.message_count),
            _status(session),
        )
    print_table(table, Text("no sessions", style="dim"))


def show_transcript(row: SessionRow, turns: list[TurnRow], *, as_json: bool) -> None:
    """Print what was said, by whom, when, and what the receipt says of it."""
    transcript = messages.transcript(row, turns)
    if as_json:
        print_json(transcript.model_dump(mode="json", exclude_none=True))
        return
    table = Table(box=None, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for message in transcript.messages:
        style = ROLE_STYLES[message.speaker_role.value]
        speaker = message.speaker_name or message.speaker_role.value
        clock = message.timestamp.astimezone(UTC).strftime("%H:%M:%S")
        table.add_row(clock, plain(speaker, style), _said(message))
    heading = Text.assemble(
        (str(transcript.id), "bold"),
        f"\n{moment(transcript.start_time)} UTC, {transcript.duration_minutes} min, ",
        _status(transcript),
        f" ({transcript.end_reason})" if transcript.end_reason else "",
    )
    body: list[Text | Table] = [table, _receipt(transcript.receipt, transcript.completeness)]
    if transcript.summary:
        body.insert(0, plain(f"{transcript.summary}\n", "italic"))
    Console().print(Panel(heading, expand=False), Group(*body))


def show_new_key(key_id: UUID, key: str, *, as_json: bool) -> None:
    """Print a key that nobody can read again; on standard output, nothing but the key."""
    if as_json:
        print_json({"id": str(key_id), "key": key})
        return
    Console(stderr=True).print(f"key {key_id}; it is shown this once:", style="dim")
    print(key)  # noqa: T201


def show_revoked(key_id: UUID, *, as_json: bool) -> None:
    """Print which key works no more."""
    if as_json:
        print_json({"id": str(key_id), "revoked": True})
        return
    print(f"revoked {key_id}")  # noqa: T201


def show_keys(keys: Iterable[Key], *, as_json: bool) -> None:
    """Print what is known of keys; the keys themselves are known to nobody here."""
    if as_json:
        print_json([_described(key) for key in keys])
        return
    columns = ("id", "name", "scopes", "identity", "rooms", "last used (UTC)", "state")
    table = Table(*columns, box=None, header_style="bold")
    for key in keys:
        table.add_row(
            str(key.id),
            plain(key.name),
            ", ".join(key.scopes),
            plain(key.identity or ""),
            plain("any" if key.rooms is None else ", ".join(key.rooms)),
            moment(key.last_used_at) if key.last_used_at else "never",
            _state(key),
        )
    print_table(table, Text("no keys", style="dim"))


def _described(key: Key) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "name": key.name,
        "scopes": key.scopes,
        "identity": key.identity,
        "rooms": key.rooms,
        "createdAt": iso(key.created_at),
        "expiresAt": iso(key.expires_at) if key.expires_at else None,
        "lastUsedAt": iso(key.last_used_at) if key.last_used_at else None,
        "revokedAt": iso(key.revoked_at) if key.revoked_at else None,
    }


def _said(message: Message) -> Text:
    """Return what was heard, and apart from it what the AI meant to say."""
    said = plain(message.content)
    if message.interrupted:
        said.append(" — interrupted", style="yellow")
    if message.generated_content:
        said.append_text(plain(f"\nmeant: {message.generated_content}", "dim"))
    return said


def _receipt(receipt: Receipt | None, completeness: str | None) -> Text:
    if receipt is None:
        return Text("\nno receipt", style="dim")
    turns, digest = receipt.turn_count, receipt.transcript_sha256[:12]
    words = f"\nreceipt: {completeness or 'unknown'}, {turns} turns, sha256 {digest}…"
    if receipt.reason:
        words += f", {receipt.reason}"
    if receipt.kept:
        return Text(f"{words}, and these are the turns", style="green")
    return Text(f"{words}, but the turns here are others", style="bold red")


def _status(session: Session) -> Text:
    text = Text(session.status, style=STATUS_STYLES[session.status])
    if session.completeness and session.completeness != "complete":
        text.append(f", {session.completeness}", style="yellow")
    return text


def _state(key: Key) -> Text:
    if key.revoked_at is not None:
        return Text("revoked", style="red")
    if key.expires_at is None:
        return Text("valid", style="green")
    if key.expires_at <= datetime.now(UTC):
        return Text("expired", style="red")
    return Text(f"until {moment(key.expires_at)}", style="green")
