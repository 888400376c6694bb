"""The figures of a shipper: how long events take to Postgres."""

from __future__ import annotations

from persistence.shipper_status import BOUNDS, Lags


def test_lags_are_counted_by_their_bounds() -> None:
    lags = Lags()
    lags.note([100.0, 99.75, 99.0, 98.5, 0.0], now=100.0)
    by_bound = dict(zip(BOUNDS, lags.counts, strict=False))
    assert {bound for bound, events in by_bound.items() if events} == {0.005, 0.25, 1.0, 2.5, 600.0}
    assert (lags.events, lags.seconds) == (5, 102.75)


def test_what_is_older_than_all_bounds_is_counted_and_what_is_to_come_took_no_time() -> None:
    lags = Lags()
    lags.note([0.0, 9000.0], now=8000.0)
    assert (lags.counts[-1], lags.counts[0], lags.seconds) == (1, 1, 8000.0)


def test_a_copy_stays_as_it_was() -> None:
    lags = Lags()
    copy = lags.copy()
    lags.note([1.0], now=1.0)
    assert (lags.events, copy.events) == (1, 0)
