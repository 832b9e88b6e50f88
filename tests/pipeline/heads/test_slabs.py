"""Slabs of rows, and heads over them: the same numbers as over all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cell_memory import Read, clouds

from pipeline.heads import columns, slabs, softmax
from pipeline.heads.linear_heads import fit_head
from pipeline.heads.logistic import LogisticPath
from pipeline.heads.slabs import Part, part, whole
from pipeline.study.linear import Linear


def fit_path(features, labels, n_classes, cs, **options):
    """Every C, in the order of `cs`."""
    path = LogisticPath(features, labels, n_classes, **options)
    return [path.fit(c) for c in cs]


@given(rows=st.integers(0, 500), width=st.integers(0, 90), most=st.none() | st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_slabs_are_all_rows_in_order_and_within_the_limit(rows, width, most):
    found = list(slabs.slabs(rows, width, most))
    assert [row for each in found for row in range(each.start, each.stop)] == list(range(rows))
    assert all(each.stop - each.start <= (most or rows) for each in found)
    assert all((each.stop - each.start - 1) * width < slabs.SLAB for each in found)


@given(
    n=st.integers(1, 200),
    size=st.integers(1, 80),
    seed=st.integers(0, 9),
    read=st.booleans(),
    twice=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_parts_of_parts_are_the_rows_that_were_meant(n, size, seed, read, twice):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    expected, found = x, Part(Read(x) if read else x, normalize=lambda v: v + 1)
    for _ in range(1 + twice):
        rows = np.flatnonzero(rng.random(len(expected)) < 0.6)
        found, expected = Part(found, rows, normalize=lambda v: 2 * v), expected[rows]
    expected = 4 * (expected + 1) if twice else 2 * (expected + 1)
    assert found.shape == expected.shape
    for start in range(0, len(expected), size):
        np.testing.assert_array_equal(found[start : start + size], expected[start : start + size])
    np.testing.assert_array_equal(whole(found), expected)


def test_few_features_are_copied_and_many_are_viewed(monkeypatch):
    x = np.ones((10, 4), np.float32)
    assert isinstance(part(x, np.arange(10) > 3), np.ndarray)
    monkeypatch.setattr(slabs, "SLAB", 8)
    assert isinstance(part(x, np.arange(10) > 3), Part)


@pytest.fixture(params=["held", "held, probabilities not kept", "streamed"])
def over_slabs(request, monkeypatch):
    """Gives features as they are, or read; once it is called, all is computed in small slabs."""

    def begin(x):
        monkeypatch.setattr(slabs, "SLAB", 3_000)
        if request.param != "held":
            monkeypatch.setattr(softmax, "KEPT", 0)
        return Read(x) if request.param == "streamed" else x

    return begin


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_objectives_and_predictions_are_those_of_one_slab(over_slabs, dtype):
    x, y = clouds(1500, 30, 12)
    x = (x * np.logspace(0, -3, 30) + 5).astype(dtype)
    cs = [1e-2, 1.0, 1e2, 1e4]
    expected = fit_path(x, y, 12, cs, tolerance=1e-9 if dtype == np.float64 else 1e-7)
    features = over_slabs(x)
    if not isinstance(features, np.ndarray):
        features.dtype = dtype
    found = fit_path(features, y, 12, cs, tolerance=1e-9 if dtype == np.float64 else 1e-7)
    for one, other in zip(found, expected, strict=True):
        assert one.objective == pytest.approx(other.objective, rel=1e-6)
        logits = [x @ fit.coefficients.T + fit.intercept for fit in (one, other)]
        top = np.sort(logits[1], 1)
        sure = top[:, -1] - top[:, -2] > 1e-3
        assert (logits[0].argmax(1) == logits[1].argmax(1))[sure].all()


@pytest.mark.parametrize("head", ["logistic", "ridge"])
@pytest.mark.parametrize("shape", [(2_100, 20, 6), (400, 60, 9), (60, 90, 4)])
def test_heads_are_chosen_and_score_as_over_one_slab(over_slabs, head, shape):
    x, y = clouds(*shape)
    groups = np.array([f"g{i // 50}" for i in range(len(x))])
    asked = Linear(c=[1e-3, 1e-2, 1e-1])
    expected = fit_head(head, "l2", x, y, shape[2], asked, groups=groups)
    scores = expected.scores(x)
    found = fit_head(head, "l2", over_slabs(x), y, shape[2], asked, groups=groups)
    np.testing.assert_allclose(found.scores(x), scores, rtol=1e-6, atol=1e-6)
    for name in ("C", "lambda", "holdout_top1", "leave_one_out_top1"):
        assert found.details.get(name) == expected.details.get(name)


def test_axes_that_are_dropped_leave_the_others_in_place(monkeypatch):
    """Many rows are moved together in their own memory; few are copied."""
    rng = np.random.default_rng(0)
    values, kept = rng.normal(size=(50, 7)), np.array([1, 1, 0, 1, 0, 0, 1], bool)
    expected = values[:, kept]
    pieces = [slice(start, start + 4) for start in range(0, 50, 4)]
    np.testing.assert_array_equal(columns._columns_of(values.copy(), kept, pieces), expected)
