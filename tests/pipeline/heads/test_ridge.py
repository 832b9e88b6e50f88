"""Ridge: scikit-learn's coefficients, its leave-one-out choice, and refits without an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV

from cache.errors import ProbelineError
from pipeline.heads.ridge import choose, fit_ridge, scores

PENALTIES = np.logspace(-2, 4, 13)


def clouds(n: int, d: int, classes: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    means = rng.normal(0, 0.7, (classes, d))
    return (rng.normal(0, 1, (n, d)) + means[labels] + 3).astype(np.float32), labels


@given(
    n=st.integers(4, 30), d=st.integers(1, 40), classes=st.integers(2, 4), seed=st.integers(0, 9)
)
@settings(max_examples=40, deadline=None)
def test_coefficients_are_scikit_learns(n, d, classes, seed):
    x, y = clouds(n, d, classes, seed)
    for fit in fit_ridge(x, y, classes, PENALTIES)[0][::4]:
        plain = RidgeClassifier(alpha=fit.penalty, solver="svd").fit(x.astype(np.float64), y)
        theirs = plain.coef_ if classes > 2 else np.vstack([-plain.coef_, plain.coef_])
        np.testing.assert_allclose(fit.coefficients, theirs, rtol=1e-7, atol=1e-9)
        assert (scores(fit, x).argmax(1) == plain.predict(x.astype(np.float64))).all()


@given(
    n=st.integers(4, 14), d=st.integers(1, 20), classes=st.integers(2, 3), seed=st.integers(0, 9)
)
@settings(max_examples=25, deadline=None)
def test_leaving_one_out_is_refitting_without_it(n, d, classes, seed):
    x, y = clouds(n, d, classes, seed)
    x = np.concatenate([x, x[:2]])  # duplicates, and classes that lose their only image
    y = np.concatenate([y, y[:2]])
    penalties = [0.1, 10.0]
    judged = fit_ridge(x, y, classes, penalties)[1]
    for penalty, one in zip(penalties, judged, strict=True):
        errors, hits = [], []
        for i in range(len(x)):
            keep = np.arange(len(x)) != i
            if len(np.unique(y[keep])) < 2:
                return
            (fit,), _ = fit_ridge(x[keep], y[keep], classes, [penalty])
            score = scores(fit, x[i : i + 1])[0]
            errors.append(np.square(np.where(np.arange(classes) == y[i], 1, -1) - score))
            hits.append(score.argmax() == y[i])
        assert one.squared_error == pytest.approx(np.mean(errors), rel=1e-7)
        assert one.accuracy == pytest.approx(np.mean(hits), abs=1e-12)


@given(
    n=st.integers(6, 20),
    d=st.integers(1, 30),
    size=st.integers(2, 7),
    seed=st.integers(0, 9),
    named=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_leaving_a_group_out_is_refitting_without_it(n, d, size, seed, named):
    """Groups smaller and larger than the features are many; images without one are left alone."""
    x, y = clouds(n, d, 3, seed)
    groups = np.array([f"g{i // size}" for i in range(n)])
    if not named:
        groups[: n // 2] = ""
    units = np.where(groups == "", [f"image {i}" for i in range(n)], groups)
    if len(set(units)) < 2:
        return
    penalties = [0.1, 10.0]
    judged = fit_ridge(x, y, 3, penalties, groups)[1]
    for penalty, one in zip(penalties, judged, strict=True):
        residuals, hits = np.empty((n, 3)), np.empty(n)
        for unit in set(units):
            out = units == unit
            if len(np.unique(y[~out])) < 2:
                return
            (fit,), _ = fit_ridge(x[~out], y[~out], 3, [penalty])
            score = scores(fit, x[out])
            residuals[out] = np.where(np.arange(3) == y[out, None], 1, -1) - score
            hits[out] = score.argmax(1) == y[out]
        assert one.squared_error == pytest.approx(np.square(residuals).mean(), rel=1e-6)
        assert one.accuracy == pytest.approx(hits.mean(), abs=1e-12)


def test_a_single_group_is_none():
    x, y = clouds(12, 4, 2)
    assert fit_ridge(x, y, 2, [1.0], np.full(12, "a"))[1] == fit_ridge(x, y, 2, [1.0])[1]


@pytest.mark.parametrize(
    ("n", "d", "classes"), [(80, 10, 4), (40, 120, 3), (60, 60, 2), (61, 60, 3)]
)
def test_the_choice_is_ridge_classifier_cvs(n, d, classes):
    x, y = clouds(n, d, classes)
    wide = x.astype(np.float64)
    theirs = RidgeClassifierCV(alphas=PENALTIES, store_cv_results=True).fit(wide, y)
    fits, judged = fit_ridge(x, y, classes, PENALTIES)
    assert fits[choose(judged)].penalty == theirs.alpha_
    errors = theirs.cv_results_.reshape(n, -1, len(PENALTIES)).mean((0, 1))
    np.testing.assert_allclose([one.squared_error for one in judged], errors, rtol=1e-6)


def test_equal_errors_take_the_largest_penalty():
    x, y = clouds(20, 3, 2)
    judged = fit_ridge(np.zeros_like(x), y, 2, [1.0, 10.0, 5.0])[1]
    assert choose(judged) == 1


def test_constant_columns_weigh_nothing_and_a_missing_class_is_never_predicted():
    x, y = clouds(30, 4, 2)
    x[:, 2] = 7
    (fit,), _ = fit_ridge(x, y, 3, [1.0])
    assert np.abs(fit.coefficients[:, 2]).max() < 1e-12
    assert np.abs(fit.coefficients[2]).max() < 1e-12
    np.testing.assert_allclose(scores(fit, x)[:, 2], -1)


def test_an_image_alone_in_its_direction_is_predicted_by_the_mean():
    """Its leverage is 1 as λ goes to 0: the residual without it must stay finite, and exact."""
    x, y = clouds(12, 2, 2)
    x[:, 1] = 0
    x[0, 1] = 1e4
    ((_, judged),) = [fit_ridge(x, y, 2, [1e-6])]
    keep = np.arange(12) != 0
    (without,), _ = fit_ridge(x[keep], y[keep], 2, [1e-6])
    left = np.where(np.arange(2) == y[0], 1, -1) - scores(without, x[:1])[0]
    assert judged[0].squared_error >= np.square(left).sum() / 24 * (1 - 1e-3)
    assert judged[0].squared_error < 10


def test_float16_extremes_stay_finite():
    x, y = clouds(20, 5, 3)
    x = (x * 2e4).clip(-65504, 65504).astype(np.float16)
    fits, judged = fit_ridge(x, y, 3, PENALTIES)
    assert all(np.isfinite(fit.coefficients).all() for fit in fits)
    assert all(np.isfinite(one.squared_error) for one in judged)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y: (np.full_like(x, np.nan), y, [1.0]), "NaN"),
        (lambda x, y: (x, y * 0, [1.0]), "nothing to tell apart"),
    ],
)
def test_what_cannot_be_fitted_is_explained(change, match):
    x, y, penalties = change(*clouds(10, 3, 2))
    with pytest.raises(ProbelineError, match=match):
        fit_ridge(x, y, 2, penalties)
