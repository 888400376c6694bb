"""The Procrastinate app: which tasks there are, and how each is tried again.

Arguments of a job are ids alone, since Procrastinate logs them and keeps them in its tables.

There is no queueing lock on what is tried again. Procrastinate cannot put a failed job back while
another with the same queueing lock waits: the job then stays `doing` for good and its `lock` holds
up every later one of the session (procrastinate issues 1446 and 1543). Jobs deferred twice are
harmless instead: one of a session runs at a time, and each looks first whether its work is done.
"""

from __future__ import annotations

from procrastinate import App, RetryStrategy
from procrastinate.connector import BaseConnector

from agent.jobs.follow_up import follow_up
from agent.jobs.names import FOLLOW_UP, SUMMARISE
from agent.jobs.summary import summarise

AFTER_SESSION_RETRY = RetryStrategy(max_attempts=8, exponential_wait=4)
"""4 s, 16 s, 64 s … 18 h: a provider may be away for a day. After that a job stays `failed`."""


def build(connector: BaseConnector) -> App:
    """Return the app with all tasks on `connector`, which may be closed still."""
    app = App(connector=connector)
    app.task(name=SUMMARISE, retry=AFTER_SESSION_RETRY, pass_context=True)(summarise)
    app.task(name=FOLLOW_UP, retry=AFTER_SESSION_RETRY, pass_context=True)(follow_up)
    return app
