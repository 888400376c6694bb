"""What a figure is made of: samples, their percentiles, and how sure a difference of medians is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Where samples lie; in their unit."""

    count: int
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Difference:
    """By how much one side of a paired measurement is above the other; in the samples' unit."""

    pairs: int
    median: float
    low: float
    high: float
    """The ends of the bootstrap interval of the median, of `CONFIDENCE`."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of `values` lie, interpolated linearly.

    Raises ValueError for no values, or a share outside its range.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share of 0 to 1")
    return float(np.quantile(np.asarray(values, dtype=float), share))


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of two figures that were measured in turns, pair by pair.

    What slows the machine down for a while slows down both figures of a pair.
    """
    return percentile([one / other for one, other in zip(above, below, strict=True)], 0.5)


def spread(values: Sequence[float]) -> Spread:
    """Return where `values` lie."""
    return Spread(len(values), percentile(values, 0.5), percentile(values, 0.99), max(values))


def paired_difference(
    treated: Sequence[float],
    control: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """Return the median of `treated` minus `control`, pair by pair, with its interval.

    Pairs are resampled as wholes (Efron's percentile bootstrap), so that what disturbs both sides
    of a pair alike, a machine that others use as well, cancels out. `seed` makes it repeatable.
    Raises ValueError unless both have the same number of samples, at least one.
    """
    if len(treated) != len(control) or not treated:
        raise ValueError("a paired difference needs pairs")
    differences = np.asarray(treated, dtype=float) - np.asarray(control, dtype=float)
    picks = np.random.default_rng(seed).integers(
        differences.size, size=(resamples, differences.size)
    )
    medians = np.median(differences[picks], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Difference(differences.size, float(np.median(differences)), float(low), float(high))
