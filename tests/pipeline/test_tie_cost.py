"""What a tie costs: limits against formulas written out, and the images that would tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import outcomes, paired_of
from scipy import stats

from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.pair_tests import compare_pairs
from pipeline.statistics.tie_cost import images_to_tell, upper_limit


@given(wins=st.integers(0, 40), images=st.integers(40, 2_000), critical=st.floats(0.5, 4))
def test_where_one_model_alone_wins_the_limit_is_wilsons(wins, images, critical):
    """The score interval of statsmodels' formula, solved by bisection."""
    share = wins / images
    error = np.sqrt(share * (1 - share) / images)
    low, high = share, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        inside = middle - share <= critical * np.sqrt(middle * (1 - middle) / images)
        low, high = (middle, high) if inside else (low, middle)
    wald = min(share + critical * error, 1)
    found = upper_limit(np.array(share), np.array(error), np.array(critical), images)
    assert found == pytest.approx(max(low, wald), abs=1e-9)


def test_the_tie_cost_is_hsus():
    """Written out: the largest over candidates of difference + c_j · error, c_j by the draws."""
    rng = np.random.default_rng(3)
    made = paired_of(outcomes([0.7, 0.69, 0.68, 0.55, 0.4], 900, rng))
    drawn = normal_draws(made.scores, made.covariance, 4_000, rng)
    found = compare_pairs(made, drawn, 0.95)
    noise, scores, covariance = drawn - made.scores, made.scores, made.covariance
    assert 1 < found.within_chance.sum() < 5
    for i in range(5):
        limits = [0.0]
        for j in np.flatnonzero(found.within_chance):
            error = np.sqrt(np.diag(covariance) + covariance[j, j] - 2 * covariance[j])
            others = np.arange(5) != j
            t = (noise[:, others] - noise[:, [j]]) / error[others]
            critical = np.quantile(t.max(axis=1), 0.95)
            if i != j:
                limits.append(scores[j] - scores[i] + critical * error[i])
        assert found.behind_high[i] == pytest.approx(max(limits), rel=1e-4)


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
    power = np.mean(np.abs(z) > stats.norm.isf(0.025 / others))
    assert power == pytest.approx(0.8, abs=0.01)


def test_the_observed_difference_is_not_taken_for_the_true_one():
    few = images_to_tell(np.array([0.05]), np.array([0.02]), 500, 0.01, 0.95)
    z2 = (stats.norm.isf(0.025) + stats.norm.ppf(0.8)) ** 2
    discordant = 499 * 0.02**2 + 0.05**2
    assert few == np.ceil(z2 * (discordant - 0.01**2) / 0.01**2)
    # Equal on every image: a true difference of a point takes a point of the images at least.
    equal = images_to_tell(np.array([0.0]), np.array([0.0]), 500, 0.01, 0.95)
    assert equal == np.ceil(z2 * (0.01 - 0.01**2) / 0.01**2)
