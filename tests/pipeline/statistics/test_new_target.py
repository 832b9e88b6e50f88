"""What to expect on a data set that is not in the study."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.new_target import _most_alike, behaves_like, new_target, predicted
from pipeline.statistics.rank_correlation import rho_of


def test_one_more_value_of_a_normal_sample():
    z = np.array([0.3, 0.9, 1.1, 0.7, np.nan])
    known = z[:4]
    middle, low, high = predicted(z, 0.95)
    half = stats.t.ppf(0.975, 3) * known.std(ddof=1) * np.sqrt(1.25)
    assert (middle, low, high) == pytest.approx(
        (known.mean(), known.mean() - half, known.mean() + half)
    )
    assert np.isnan(predicted(z[:2], 0.95)).all()


def planted(alike=False, cluster=None):
    """24 models on an in-domain set and eight others; `alike`: each has a near-twin among them."""
    rng = np.random.default_rng(5)
    skill = rng.normal(size=(24, 1))
    own = rng.normal(size=(24, 9))
    if alike:
        own[:, 1::2] = own[:, 2::2] + 0.1 * rng.normal(size=(24, 4))
    values = 1 / (1 + np.exp(-(0.5 * skill + own)))
    roles = ["in_domain", *["out_of_domain"] * 8]
    words = {"cluster": cluster} if cluster else {}
    return make_evidence(make_cube(values[..., None], ["linear/x"], role=roles, **words))


def test_the_interval_is_over_clusters_without_the_predictors_own():
    found = new_target(planted(cluster=["h", "h", "c", "c", "", "", "", "", ""]))
    of = found.isel(predictor=0).sel(targets="linear")
    assert of["clusters"] == 6  # one of two, five alone; the twin of home is nothing new
    assert of["low"] < of["rho"] < of["high"]


def test_few_targets_have_no_interval():
    values = np.random.default_rng(6).random((12, 3, 1))
    roles = ["in_domain", "out_of_domain", "out_of_domain"]
    found = new_target(make_evidence(make_cube(values, ["linear/x"], role=roles)))
    assert "fewer than 3 clusters" in found.attrs["withheld"]


def test_a_twin_is_found_and_predicts():
    found = behaves_like(planted(alike=True))
    assert found["nearest"].sel(protocol="linear").values[1:].tolist() == [
        "d2", "d1", "d4", "d3", "d6", "d5", "d8", "d7",
    ]  # fmt: skip
    assert "it predicts better" in found.attrs["predicts"]


def test_without_twins_the_nearest_does_not_predict():
    assert "does not predict better" in behaves_like(planted()).attrs["predicts"]


@pytest.mark.parametrize("seed", range(6))
def test_all_halves_at_once_choose_what_one_by_one_choose(seed):
    """Of equal ρ the first; ties, gaps, constant columns and twins among them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, 20) / 9
    ranks = rng.integers(0, 6, (20, 7)) / 6
    ranks[:, 3], ranks[:, 4] = ranks[:, 1], 0.5
    ranks[rng.random(ranks.shape) < 0.2] = np.nan
    ranks[:, 5] = np.nan
    halves = np.stack([rng.permutation(20) < 10 for _ in range(8)])
    halves[7] = np.arange(20) < 3  # too few
    expected = []
    for half in halves:
        rho = np.array([rho_of(column[half], truth[half]) for column in ranks.T])
        expected.append(None if np.isnan(rho).all() else int(np.nanargmax(rho)))
    assert list(_most_alike(ranks, truth, halves)) == expected
    assert expected[7] is None
