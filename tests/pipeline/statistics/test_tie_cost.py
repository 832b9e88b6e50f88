"""What a tie costs: limits against formulas written out, and the images that would tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import outcomes, paired_of
from scipy import optimize, stats

from pipeline.statistics import tie_cost
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.pair_tests import compare_pairs
from pipeline.statistics.tie_cost import images_to_tell, upper_limit


def tango(won, lost, n, critical):
    """The limit by numerical search: the likelihood's maximum under each difference."""

    def excess(delta):
        def loss(other):  # the share that the other model alone has right
            p = np.array([other + delta, other, 1 - delta - 2 * other])
            counts = np.array([won, lost, n - won - lost])
            return -np.sum(counts[counts > 0] * np.log(np.maximum(p[counts > 0], 1e-300)))

        lowest = max(0.0, -delta)
        other = optimize.minimize_scalar(
            loss, bounds=(lowest, (1 - delta) / 2), method="bounded", options={"xatol": 1e-12}
        ).x
        variance = (2 * other + delta - delta**2) / n
        return (delta - (won - lost) / n) - critical * np.sqrt(variance)

    return optimize.brentq(excess, (won - lost) / n, 1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(
    won=st.integers(0, 40), lost=st.integers(0, 40), more=st.integers(1, 900),
    critical=st.floats(0.7, 4),
)  # fmt: skip
def test_the_limit_is_tangos(won, lost, more, critical):
    n = won + lost + more
    d, q = (won - lost) / n, (won + lost) / n
    error = np.sqrt(max(q - d**2, 0) / max(n - 1, 1))
    found = upper_limit(np.array(d), np.array(error), np.array(critical), n)
    assert found == pytest.approx(tango(won, lost, n, critical), abs=1e-5)


def test_blocks_change_no_limit(monkeypatch):
    rng = np.random.default_rng(1)
    difference, error = rng.uniform(-0.3, 0.3, (7, 5)), rng.uniform(0, 0.1, (7, 5))
    critical = np.full(5, 2.5)
    whole = upper_limit(difference, error, critical, 400)
    monkeypatch.setattr(tie_cost, "_BLOCK", 3)
    np.testing.assert_array_equal(upper_limit(difference, error, critical, 400), whole)


def test_the_limit_of_models_that_agree_everywhere():
    found = upper_limit(np.zeros(2), np.zeros(2), np.array([1.645, 3.0]), 124)
    np.testing.assert_allclose(found, [c**2 / (124 + c**2) for c in (1.645, 3.0)])


def test_the_tie_cost_is_hsus():
    """Written out: the largest limit over candidates, by the critical value of each one's draws."""
    rng = np.random.default_rng(3)
    made = paired_of(outcomes([0.7, 0.69, 0.68, 0.55, 0.4], 900, rng))
    drawn = normal_draws(made.scores, made.covariance, 4_000, rng)
    found = compare_pairs(made, drawn, 0.95)
    noise = drawn - made.scores
    assert 1 < found.within_chance.sum() < 5
    for i in range(5):
        limits = [0.0]
        for j in np.flatnonzero(found.within_chance):
            others = np.arange(5) != j
            moved = noise[:, others] - noise[:, [j]]
            critical = np.quantile((moved / moved.std(axis=0, ddof=1)).max(axis=1), 0.95)
            if i != j:
                limits.append(tango(made.wins[j, i], made.wins[i, j], 900, critical))
        assert found.behind_high[i] == pytest.approx(max(limits), rel=1e-3)


@pytest.mark.parametrize(
    ("only_first", "only_second", "others"),
    [(0.06, 0.05, 1), (0.16, 0.15, 1), (0.06, 0.05, 15), (0.30, 0.29, 4)],
)
def test_the_images_that_would_tell_have_the_promised_power(only_first, only_second, others):
    """From the planted covariance: 20,000 experiments of the recommended size."""
    margin, square = only_first - only_second, only_first + only_second
    n = 10**7  # of which the errors are known
    error = np.sqrt((square - margin**2) / (n - 1))
    needed = images_to_tell(np.full(others, margin), np.full(others, error), n, margin, 0.95)
    rng = np.random.default_rng(4)
    first, second, _ = rng.multinomial(
        int(needed[0]), [only_first, only_second, 1 - square], 20_000
    ).T
    z = (first - second) / np.sqrt(first + second)
    power = np.mean(np.abs(z) > stats.norm.isf(0.025 / (others * (others + 1) / 2)))
    assert power == pytest.approx(0.8, abs=0.01)


def test_the_observed_difference_is_not_taken_for_the_true_one():
    few = images_to_tell(np.array([0.05]), np.array([0.02]), 500, 0.01, 0.95)
    z2 = (stats.norm.isf(0.025) + stats.norm.ppf(0.8)) ** 2
    discordant = 499 * 0.02**2 + 0.05**2
    assert few == np.ceil(z2 * (discordant - 0.01**2) / 0.01**2)
    # Equal on every image: a true difference of a point takes a point of the images at least.
    equal = images_to_tell(np.array([0.0]), np.array([0.0]), 500, 0.01, 0.95)
    assert equal == np.ceil(z2 * (0.01 - 0.01**2) / 0.01**2)
