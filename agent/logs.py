"""Logs of every process, to stderr, for a person or a machine, and never with what was said.

Our own events (`coach.*`) are short static names with key-values and pass as they are. What other
libraries log is not ours to trust: LiveKit puts transcripts under `lk.pii.*`, identities and whole
job descriptions under other keys, and provider errors, which quote their input, into its messages;
drivers quote rows and addresses. So a foreign record keeps its name, level, place, numbers, the
static part of its message and the strings under a few keys that hold no content; an exception keeps
its type, its code and its frames, and its words only where its type cannot quote what was said.

It is done by one filter on the root logger's handlers, before anything is formatted. A job process
of LiveKit has a handler that formats and sends records to its parent: `configure` puts the filter
there too, and the parent's filter sees each of those records again.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, date, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any
from uuid import UUID

import structlog

from agent.settings import Settings

DRIVERS = (
    "aiohttp",
    "alembic.runtime.plugins",
    "asyncio",
    "hpack",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "livekit",
    "openai",
    "procrastinate",
    "psycopg",
    "psycopg.pool",
    "sqlalchemy",
    "urllib3",
    "websockets",
)
"""Loggers of libraries that describe each request, frame or row below WARNING."""

READABLE = ("coach", "uvicorn.error", "alembic.runtime.migration")
"""Loggers whose messages are static text and figures of their own."""

STRINGS = frozenset({
    "agent_name", "call_id", "deployment", "dispatch_id", "error_type", "event_id", "function",
    "id", "impl_id", "job_id", "label", "language", "llm", "method", "model", "plugin", "region",
    "request_id", "role", "room_id", "runner", "source", "speech_id", "state", "stt", "task",
    "thread_name", "track_id", "tts", "type", "version", "rtc-version",
})  # fmt: skip
"""Keys whose strings say what ran, never who or what was said; numbers pass under any key."""

_STRING_LIMIT = 128
_CUT = "…"
_OURS = "coach_fields"
_DONE = "coach_filtered"
_RECORD_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", _OURS, _DONE}
_QUOTED = re.compile(r"""(`[^`]*`)|('[^']*')|("[^"]*")|(<[^>]*>)|\b\w+://\S+""")
_SPEAKING = (OSError, ImportError, AttributeError, NameError, TypeError)
_OUR_MODULES = ("agent.", "persistence.", "prompts.")


def configure(settings: Settings) -> None:
    """Set up logging in this process; calling it again, or in a job process, is safe."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False  # a handler's own error report prints the record's arguments
    logging.captureWarnings(capture=True)
    _set_levels(settings.log_level)
    _set_handlers(settings.log_format)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread_death


def _set_levels(level: str) -> None:
    logging.getLogger().setLevel(level)
    for name in ("livekit.agents", "livekit.plugins"):
        logging.getLogger(name).setLevel(level)
    floor = max(logging.WARNING, logging.getLevelNamesMapping()[level])
    for name in DRIVERS:
        logging.getLogger(name).setLevel(floor)


def _set_handlers(log_format: str) -> None:
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h.formatter, _Formatter)]:
        root.removeHandler(handler)
    if not any(_leads_to_parent(handler) for handler in root.handlers):
        ours = logging.StreamHandler(sys.stderr)
        ours.setFormatter(_Formatter(log_format))
        root.addHandler(ours)
    for handler in root.handlers:
        if _leads_to_parent(handler):
            handler.setFormatter(_MessageOnly())
        if not any(isinstance(f, WhatWasSaid) for f in handler.filters):
            handler.addFilter(WhatWasSaid())


def _leads_to_parent(handler: logging.Handler) -> bool:
    """Tell whether this is LiveKit's handler in a job process (by name: its import is slow)."""
    return type(handler).__name__ == "LogQueueHandler"


def _to_record(_: Any, method: str, event: MutableMapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Turn a structlog event into a stdlib record, its key-values under one attribute of it."""
    name = event.pop("event")
    passed: dict[str, Any] = {k: event.pop(k) for k in ("exc_info", "stack_info") if k in event}
    if method == "exception":
        passed.setdefault("exc_info", True)
    return (name,), {**passed, "extra": {_OURS: {k: _plain(v) for k, v in event.items()}}}


def _plain(value: Any) -> Any:
    """Return `value` as JSON and pickle have it; of an unknown object, its type's name alone."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, UUID | PurePath):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return type(value).__name__


class WhatWasSaid(logging.Filter):
    """Takes out of a record, in place, whatever may be speech, a person, an address or a row."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, _DONE, False):
            self._clean(record)
        return True

    def _clean(self, record: logging.LogRecord) -> None:
        if not _is_ours(record):
            record.msg, record.args = _static_message(record), ()
        elif not record.name.startswith("coach"):  # uvicorn logs a failed start as a traceback
            record.msg, record.args = record.getMessage().partition("\n")[0], ()
        for key in set(vars(record)) - _RECORD_KEYS:
            if not _may_stay(key, getattr(record, key)):
                delattr(record, key)
        fields = getattr(record, _OURS, None)
        if fields:
            setattr(record, _OURS, {k: v for k, v in fields.items() if not _is_pii(k)})
        _clean_exception(record)
        setattr(record, _DONE, True)


def _is_ours(record: logging.LogRecord) -> bool:
    return any(record.name == name or record.name.startswith(name + ".") for name in READABLE)


def _is_pii(key: str) -> bool:
    return "pii" in key.split(".") or key.startswith("gen_ai.")


def _may_stay(key: str, value: Any) -> bool:
    if _is_pii(key):
        return False
    if value is None or isinstance(value, bool | int | float):
        return True
    return key in STRINGS and isinstance(value, str) and len(value) <= _STRING_LIMIT


def _static_message(record: logging.LogRecord) -> str:
    """Return the part of a foreign message that its source wrote, with figures filled in.

    That is the first line up to the first colon, without what is quoted; of the arguments,
    numbers. Python's warnings come as one argument, which begins with their place in the code.
    """
    template = str(record.msg)
    try:
        if record.name == "py.warnings":
            text = record.getMessage()
        else:
            text = template % _only_numbers(record.args) if record.args else template
    except (TypeError, ValueError, KeyError):
        text = template
    first = text.partition("\n")[0].partition(": ")[0]
    return _QUOTED.sub(_CUT, first)


def _only_numbers(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {key: _number(value) for key, value in args.items()}
    return tuple(_number(value) for value in args)


def _number(value: Any) -> Any:
    if isinstance(value, BaseException):
        return type(value).__name__
    return value if isinstance(value, int | float) else _CUT


def _clean_exception(record: logging.LogRecord) -> None:
    """Put our own account of the exception where formatters look for a cached one."""
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        record.exc_text = account(record.exc_info[1])
    elif record.exc_text:
        record.exc_text = "(left out: this process could not filter it)"
    record.exc_info = None


def account(error: BaseException) -> str:
    """Return an exception's chain: types, codes and frames; words only where none were said."""
    chain: list[str] = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        frames = traceback.extract_tb(at.__traceback__)
        lines = [f'  File "{f.filename}", line {f.lineno}, in {f.name}' for f in frames]
        chain.append("\n".join([*lines, _name_of(at)]))
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return "\n\n".join(reversed(chain))


def _name_of(error: BaseException) -> str:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    codes = [
        f"{key}={value}"
        for key in ("sqlstate", "status_code", "errno")
        if isinstance(value := getattr(error, key, None), int | str) and len(str(value)) <= 8  # noqa: PLR2004
    ]
    if isinstance(error, _SPEAKING) or kind.__module__.startswith(_OUR_MODULES):
        return f"{name}: {error}"
    return " ".join([name, *codes])


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if isinstance(error, Exception):  # an interrupt or an exit is no fault
        logging.getLogger("coach.process").critical("uncaught", exc_info=(kind, error, trace))


def _log_thread_death(death: threading.ExceptHookArgs) -> None:
    if death.exc_value is not None:
        _log_uncaught(death.exc_type, death.exc_value, death.exc_traceback)


class _MessageOnly(logging.Formatter):
    """For records on their way to the parent, which renders them with their exception."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()


class _Formatter(logging.Formatter):
    """Renders a filtered record as one JSON line, or in colours for a terminal."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._render: Any
        if log_format == "json":
            self._render = structlog.processors.JSONRenderer(ensure_ascii=False)
        else:
            self._render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        extra = {k: v for k, v in vars(record).items() if k not in _RECORD_KEYS}
        event |= {k: v for k, v in (extra | getattr(record, _OURS, {})).items() if v is not None}
        if record.exc_text:
            event["exception"] = record.exc_text
        event["pid"] = record.process
        return str(self._render(None, record.levelname.lower(), event))
