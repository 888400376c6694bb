"""What jobs and their locks are called in the queue: jobs that wait there outlive this process."""

from __future__ import annotations

SUMMARISE = "summarise"
FOLLOW_UP = "follow_up"


def session_lock(session_id: str) -> str:
    """Return the lock under which the jobs of one session run one at a time."""
    return f"session:{session_id}"
