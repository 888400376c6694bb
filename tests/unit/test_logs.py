"""What was said is in no log, whoever logs it and in whatever form."""

import json
import logging
import pickle
import queue
import sys
import warnings
from collections.abc import Callable, Iterator

import psycopg.errors
import pytest
import structlog
from livekit.agents.ipc import log_queue

from agent import logs
from agent.settings import Settings
from persistence.errors import DatabaseUnavailableError

CANARY = "the purple heron sings"


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging.raiseExceptions, sys.excepthook
    filters = [(handler, handler.filters[:]) for handler in root.handlers]
    yield
    root.handlers[:], logging.raiseExceptions, sys.excepthook = kept[0], kept[2], kept[3]
    root.setLevel(kept[1])
    for handler, before in filters:
        handler.filters[:] = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture(params=["json", "console"])
def log_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def configure(log_format: str) -> Callable[[], None]:
    """Called in the test itself: pytest gives each phase another stderr."""
    settings = Settings(_env_file=None, log_level="DEBUG", log_format=log_format)
    return lambda: logs.configure(settings)


def livekit_logger() -> logging.Logger:
    return logging.getLogger("livekit.agents")


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "key",
    [
        "lk.pii.text",
        "lk.pii.user_transcript",
        "lk.pii.event",
        "lk.pii.user_input",
        "gen_ai.input.messages",
        "participant",
        "error",
        "job",
        "job_request",
        "room",
        "added",
        "stack",
        "headers",
        "what_a_later_version_may_invent",
    ],
)
@pytest.mark.parametrize("wrap", [str, lambda s: {"text": s}, ValueError])
def test_livekit_extras_with_content_are_dropped(
    configure: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    key: str,
    wrap: Callable[[str], object],
) -> None:
    configure()
    livekit_logger().debug("conversation_item_added", extra={key: wrap(CANARY), "n": 3})
    said = capsys.readouterr().err
    assert "conversation_item_added" in said
    assert CANARY not in said
    assert "3" in said


@pytest.mark.parametrize(
    ("name", "message", "args"),
    [
        ("livekit.agents", f"failed to generate LLM completion: {CANARY}, retrying in 1s", ()),
        ("livekit.agents", f"OpenAI Realtime API returned an error: {CANARY}", ()),
        ("livekit.agents", f"AgentSession is closing due to unrecoverable error: {CANARY}", ()),
        ("livekit.agents", f"error in participant entrypoint f for '{CANARY}'", ()),
        ("livekit.agents", "failed to synthesize speech: %s, retrying in %.1fs", (CANARY, 0.1)),
        ("livekit.agents", "Error in _realtime_reply_task %s", (ValueError(CANARY),)),
        ("livekit.agents", "%s", (f"error: {CANARY}",)),
        ("livekit.agents", f"keyterm detection\n{CANARY}", ()),
        ("root", "error running user callback for %s: %s", ("data", {"text": CANARY})),
        ("livekit", "track_published for untracked participant %s", (CANARY,)),
        ("psycopg.pool", "error connecting in %r: %s", ("pool", Exception(CANARY))),
        ("sqlalchemy.engine.Engine", "INSERT INTO turns %s", (CANARY,)),
        ("openai._base_client", "Request options: %s", ({"json": CANARY},)),
        ("aiohttp.access", "%s", (f"GET /rtc?access_token={CANARY}",)),
        ("asyncio", f"Task exception was never retrieved\nfuture: <{CANARY}>", ()),
        ("procrastinate.worker", f"Job ended - Result: {CANARY}", ()),
        ("some.library", "got {}", ({"text": CANARY},)),
    ],
)
def test_messages_with_content_keep_their_static_part_alone(
    configure: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
    message: str,
    args: tuple[object, ...],
) -> None:
    configure()
    logging.getLogger(name).error(message, *args)
    said = capsys.readouterr().err
    assert CANARY not in said
    assert name in said


def test_figures_in_a_foreign_message_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(_env_file=None))
    livekit_logger().warning("event loop blocked for %.0fms%s; synchronous", 12.4, f" at {CANARY}")
    assert (
        json.loads(capsys.readouterr().err)["event"] == "event loop blocked for 12ms…; synchronous"
    )


@pytest.mark.parametrize("name", ["livekit.agents", "coach.api", "uvicorn.error", "root"])
def test_an_exception_is_logged_by_type_code_and_frames_without_its_words(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configure()

    def refuse() -> None:
        raise psycopg.errors.UniqueViolation(CANARY)

    try:
        try:
            refuse()
        except psycopg.Error as error:
            raise ValueError(CANARY) from error
    except ValueError:
        logging.getLogger(name).exception("failed")
    said = capsys.readouterr().err
    assert CANARY not in said
    assert "ValueError" in said
    assert "UniqueViolation" in said
    assert "sqlstate=23505" in said
    assert "in refuse" in said


def test_the_words_of_our_own_errors_and_of_the_system_are_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Settings(_env_file=None))
    for error in (DatabaseUnavailableError(), ConnectionRefusedError(111, "Connection refused")):
        try:
            fail(error)
        except type(error):
            structlog.get_logger("coach.test").exception("failed")
        assert str(error) in json.loads(capsys.readouterr().err)["exception"]


def test_our_own_events_pass_with_their_key_values(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(_env_file=None))
    structlog.get_logger("coach.test").info("turn_recorded", seq=3, name="a key of logging's own")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "turn_recorded"
    assert (line["seq"], line["name"], line["level"]) == (3, "a key of logging's own", "info")
    assert line["logger"] == "coach.test"


def test_an_unknown_object_in_our_own_event_is_named_by_type_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Settings(_env_file=None))
    structlog.get_logger("coach.test").info("x", thing=ValueError(CANARY))
    assert json.loads(capsys.readouterr().err)["thing"] == "ValueError"


def test_a_warning_that_quotes_its_input_is_cut(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"Expected `int` [input_value='{CANARY}']", UserWarning, stacklevel=1)
    assert CANARY not in capsys.readouterr().err


def test_drivers_are_silent_below_warning_and_livekit_agents_is_not(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    for name in ("openai._base_client", "httpx", "psycopg", "websockets.client", "livekit"):
        logging.getLogger(name).info("request")
    assert capsys.readouterr().err == ""
    logging.getLogger("livekit.agents").info("registered worker")
    assert "registered worker" in capsys.readouterr().err


def test_configuring_twice_logs_once(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        logs.configure(Settings(_env_file=None, log_format=log_format))
    structlog.get_logger("coach.test").info("once_only")
    assert capsys.readouterr().err.count("once_only") == 1


def test_a_failing_handler_does_not_print_what_it_was_given(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    record = {"name": "coach.test", "levelno": 40, "msg": "%d apples", "args": (CANARY,)}
    logging.getLogger().handlers[-1].handle(logging.makeLogRecord(record))
    assert CANARY not in capsys.readouterr().err


class LogQueueHandler(log_queue.LogQueueHandler):
    """LiveKit's own, with nothing behind its queue."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self._send_q: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def sent(self) -> list[bytes]:
        return [item for _ in range(self._send_q.qsize()) if (item := self._send_q.get())]


def test_livekits_handler_in_a_job_process_has_the_name_by_which_it_is_known() -> None:
    assert logs._leads_to_parent(log_queue.LogQueueHandler.__new__(log_queue.LogQueueHandler))


def test_a_job_process_sends_only_what_is_clean_and_its_parent_renders_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    handler = LogQueueHandler()
    others, root.handlers[:] = root.handlers[:], [handler]
    logs.configure(Settings(_env_file=None))
    assert root.handlers == [handler]
    livekit_logger().info("received user transcript", extra={"lk.pii.user_transcript": CANARY})
    try:
        fail(ValueError(CANARY))
    except ValueError:
        structlog.get_logger("coach.job").exception("turn_failed", seq=7)
    records = handler.sent()
    assert not any(CANARY.encode() in record for record in records)

    root.handlers[:] = others
    logs.configure(Settings(_env_file=None))
    for record in map(pickle.loads, records):
        logging.getLogger(record.name).callHandlers(record)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["event"] == "received user transcript"
    assert (second["event"], second["seq"]) == ("turn_failed", 7)
    assert "ValueError" in second["exception"]


def test_a_traceback_from_an_unconfigured_process_is_left_out(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    record = logging.makeLogRecord({"name": "livekit.agents", "levelno": 40, "msg": "crashed"})
    record.exc_text = f"Traceback\nValueError: {CANARY}"
    logging.getLogger("livekit.agents").callHandlers(record)
    said = capsys.readouterr().err
    assert "crashed" in said
    assert CANARY not in said


def test_an_uncaught_exception_is_logged_without_its_words(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    try:
        fail(RuntimeError(CANARY))
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert CANARY not in said
