"""Ways of averaging side by side, data sets left out, and agreement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.averages import averages, concordance, kendall_w, leaders_without

VARIANT = "linear/x"


def evidence_of(values, **words):
    return make_evidence(make_cube(np.asarray(values, float)[..., None], [VARIANT], **words))


def test_means_by_three_ways():
    values = np.array([[0.9, 0.5, 0.5], [0.6, 0.55, 0.55], [0.3, 0.2, 0.1]])
    found = averages(evidence_of(values)).sel(protocol="linear")
    assert found["raw"].values == pytest.approx(values.mean(axis=1))
    assert found["rank"].values == pytest.approx([5 / 3, 4 / 3, 3])
    assert found["place_raw"].values.tolist() == [1, 2, 3]
    assert found["place_rank"].values.tolist() == [2, 1, 3]  # one data set rules the raw mean
    z = np.log((values * 1_000 + 0.5) / (1_000 - values * 1_000 + 0.5)).mean(axis=1)
    assert found["logit"].values == pytest.approx(1 / (1 + np.exp(-z)))


def test_a_data_set_that_decides_is_named():
    values = np.array([[0.9, 0.5, 0.5], [0.6, 0.55, 0.55], [0.3, 0.2, 0.1]])
    found = leaders_without(evidence_of(values)).sel(protocol="linear")
    assert found["leader_of_all"].sel(way="raw").values.tolist() == ["m0"] * 3
    assert found["changes"].sel(way="raw").values.tolist() == [1, 0, 0]
    assert found["leader"].sel(way="raw", dataset="d0") == "m1"
    assert found["changes"].sel(way="rank").values.tolist() == [0, 0, 0]


def test_clusters_weigh_alike():
    values = np.array([[0.9, 0.2, 0.2], [0.5, 0.5, 0.5]])
    found = averages(evidence_of(values, cluster=["", "c", "c"])).sel(protocol="linear")
    assert found["raw"].values == pytest.approx([0.55, 0.5])


@given(st.integers(0, 10_000), st.booleans())
def test_w_is_friedmans(seed, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (6, 5)) if ties else rng.random((6, 5))
    if not all(np.ptp(column) for column in scores.T):
        return
    w, p, mean_rho = kendall_w(scores.astype(float))
    chi2, expected = stats.friedmanchisquare(*scores)
    assert w == pytest.approx(chi2 / (5 * 5))
    assert p == pytest.approx(expected)
    if not ties:
        pairs = [stats.spearmanr(scores[:, i], scores[:, j]).statistic
                 for i in range(5) for j in range(i)]  # fmt: skip
        assert mean_rho == pytest.approx(np.mean(pairs))


def test_one_data_set_has_no_ways():
    evidence = evidence_of([[0.5], [0.6]])
    assert all("withheld" in of(evidence).attrs for of in (averages, leaders_without, concordance))
