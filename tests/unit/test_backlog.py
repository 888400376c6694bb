"""What waits in memory for the disk."""

from __future__ import annotations

from persistence.journal.backlog import Backlog


def test_lines_leave_in_order_and_by_number() -> None:
    backlog = Backlog()
    for data in (b"a\n", b"bb\n", b"c\n"):
        backlog.put(data, droppable=False)
    assert (backlog.head(), backlog.last) == (b"a\nbb\nc\n", 3)
    assert backlog.remove(5) == 2
    assert (backlog.head(), len(backlog)) == (b"c\n", 1)
    assert backlog.remove(0) == 0
    assert backlog.remove(2) == 3
    assert (backlog.head(), backlog.last) == (b"", 0)


def test_one_batch_is_not_the_whole_backlog() -> None:
    backlog = Backlog()
    for _ in range(10):
        backlog.put(b"x" * 100_000, droppable=False)
    assert len(backlog.head()) == 300_000


def test_what_the_disk_was_offered_is_not_let_go_of() -> None:
    """A reader may have seen it before it was cut back, and reads on from behind it."""
    backlog = Backlog(memory_bytes=30)
    backlog.put(b"progress 1\n", droppable=True)
    offered = backlog.head()
    backlog.put(b"progress 2\n", droppable=True)
    backlog.put(b"turn 1\n", droppable=False)
    backlog.put(b"turn 2\n", droppable=False)
    assert backlog.head() == offered + b"turn 1\nturn 2\n"
    assert backlog.dropped == 1


def test_over_the_limit_progress_is_refused_and_turns_are_kept() -> None:
    backlog = Backlog(memory_bytes=10)
    for n in range(5):
        backlog.put(b"turn %d\n" % n, droppable=False)
        backlog.put(b"progress\n", droppable=True)
    assert backlog.head() == b"turn 0\nturn 1\nturn 2\nturn 3\nturn 4\n"
    assert backlog.dropped == 5
