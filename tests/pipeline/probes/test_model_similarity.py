"""CKA between models against the definition, and against the one with labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.probes.class_moments import class_moments, parts_of
from pipeline.probes.model_similarity import similarity_map
from pipeline.probes.similarity import label_cka


def hsic(x, y):
    """Song et al. 2012, equation 4, as it stands."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    return (
        np.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(5, 30))
def test_equals_the_definition(seed, n):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(1, 1, (n, 4)), rng.normal(-1, 2, (n, 7))
    y[:, :4] += x * rng.uniform(0, 3)
    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    found = similarity_map([x, y])
    assert found[0, 1] == pytest.approx(expected, abs=1e-9)
    assert np.diag(found) == pytest.approx(1)
    assert found[0, 1] == found[1, 0]


def test_of_one_hot_labels_it_is_the_label_cka():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 50)
    x = rng.normal(size=(50, 6)) + labels[:, None]
    expected = label_cka(class_moments(parts_of(x), labels))
    assert similarity_map([x, np.eye(4)[labels]])[0, 1] == pytest.approx(expected, abs=1e-9)


def test_rotation_shift_and_scale_change_nothing():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 6))
    moved = 7 * x @ stats.ortho_group.rvs(6, random_state=0) + 30
    assert similarity_map([x, moved])[0, 1] == pytest.approx(1)


def test_unrelated_features_are_about_zero_without_bias():
    rng = np.random.default_rng(2)
    found = [similarity_map(rng.normal(size=(2, 30, 200)))[0, 1] for _ in range(200)]
    # The biased one is above .8 here: more features than images.
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / np.sqrt(200))
    assert abs(np.mean(found)) < 0.02


def test_undefined_without_spread_or_with_three_images():
    x = np.random.default_rng(3).normal(size=(20, 3))
    found = similarity_map([x, np.full((20, 5), 0.1)])
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[1]).all()
    assert np.isnan(similarity_map([x[:3], x[:3]])).all()
