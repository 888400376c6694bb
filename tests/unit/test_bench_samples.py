"""The arithmetic under the bench's figures."""

from __future__ import annotations

import random

import pytest
from samples import paired_difference, percentile, spread


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([0.0, 10.0], 0.25) == 2.5
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_a_percentile_of_nothing_or_beyond_all_is_refused(
    values: list[float], share: float
) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_a_spread_names_the_worst_sample() -> None:
    found = spread([float(n) for n in range(101)])
    assert (found.count, found.p50, found.p99, found.worst) == (101, 50.0, 99.0, 100.0)


def test_what_disturbs_both_sides_of_a_pair_cancels_out() -> None:
    """A constant difference is found exactly under noise a hundred times its size."""
    noise = random.Random(1)
    control = [noise.gauss(500, 100) for _ in range(50)]
    found = paired_difference([value + 1.0 for value in control], control)
    assert found.pairs == 50
    assert (found.median, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_an_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    """Of 200 experiments with a true median of 2, about 95 % have it in their interval."""
    noise = random.Random(2)
    held = 0
    for seed in range(200):
        control = [noise.gauss(0, 5) for _ in range(80)]
        treated = [value + noise.gauss(2, 3) for value in control]
        found = paired_difference(treated, control, seed=seed, resamples=500)
        held += found.low <= 2 <= found.high
    assert 180 <= held <= 199


def test_one_wild_pair_moves_no_median() -> None:
    control = [0.0] * 99
    assert paired_difference([1.0] * 98 + [1e9], control).median == 1.0


def test_the_sign_says_which_side_is_above() -> None:
    assert paired_difference([1.0, 1.0], [3.0, 3.0]).median == -2.0


def test_samples_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([], [])
