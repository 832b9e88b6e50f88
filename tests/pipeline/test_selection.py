"""The choice of C: inside train, at any size of it, beyond the grid where that is better."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cache.errors import ProbelineError
from pipeline import selection
from pipeline.normalization import centre_and_scale, zscore
from pipeline.selection import Record, choose_c, held_out_parts, scheme_for

GRID = [1e-3, 1e-2, 1e-1, 1.0]


def clouds(n: int = 120, d: int = 6, classes: int = 3, noise: float = 1.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    means = np.random.default_rng(99).normal(0, 1, (classes, d))
    return (means[labels] + rng.normal(0, noise, (n, d)) + 2).astype(np.float32), labels


@pytest.mark.parametrize(
    ("n", "classes", "scheme"),
    [
        (20_000, 10, "holdout"),
        (2_000, 10, "holdout"),
        (1_999, 10, "folds"),
        (5_000, 600, "folds"),  # 8.3 per class
        (4_999, 1_000, "fixed"),
        (5, 1, "folds"),
    ],
)
def test_the_scheme_follows_the_counts(n, classes, scheme):
    assert scheme_for(np.arange(n) % classes) == scheme


@pytest.mark.parametrize(("n", "fraction"), [(20_000, 0.1), (19_990, 0.2), (2_000, 0.2)])
def test_the_hold_out_is_stratified_and_10_or_20_percent(n, fraction):
    labels = np.random.default_rng(0).permutation(np.arange(n) % 10)
    (mask,) = held_out_parts(labels, "holdout", seed=1)
    counts = np.bincount(labels[mask])
    np.testing.assert_allclose(counts, fraction * np.bincount(labels), atol=1)
    assert (mask == held_out_parts(labels, "holdout", seed=1)[0]).all()
    assert (mask != held_out_parts(labels, "holdout", seed=2)[0]).any()


def test_folds_hold_every_image_out_once_but_the_only_one_of_its_class():
    labels = np.array([0] * 11 + [1] * 7 + [2] * 2 + [3])
    masks = held_out_parts(labels, "folds", seed=0)
    assert (np.sum(masks, 0) == (labels != 3)).all()
    assert [int(mask.sum()) for mask in masks] == [4] * 5
    for mask in masks:
        assert set(labels[~mask]) == {0, 1, 2, 3}  # two images of a class never leave together


def test_accuracies_are_those_of_scikit_learn_on_the_same_folds():
    x, y = clouds()
    choice = choose_c(x, y, 3, GRID, zscore, seed=3, tolerance=1e-12)
    for record in choice.records:
        hits, own = [], []
        for mask in held_out_parts(y, "folds", seed=3):
            fitting, judging = zscore(x[~mask], x[mask])
            plain = LogisticRegression(C=record.c, tol=1e-10, max_iter=10_000)
            plain.fit(fitting.astype(np.float64), y[~mask])
            hits += list(plain.predict(judging.astype(np.float64)) == y[mask])
            log_probability = plain.predict_log_proba(judging.astype(np.float64))
            own += list(log_probability[np.arange(mask.sum()), y[mask]])
        assert record.accuracy == np.mean(hits)
        assert record.log_loss == pytest.approx(-np.mean(own), rel=1e-5)
        assert record.converged
    accuracies = [r.accuracy for r in choice.records if r.c in GRID]
    assert choice.accuracy == max(r.accuracy for r in choice.records)
    if choice.accuracy == max(accuracies):
        assert choice.c == GRID[int(np.argmax(accuracies))]  # the first: the smallest


def test_no_argument_can_carry_another_split():
    names = {
        name
        for f in (choose_c, held_out_parts, scheme_for)
        for name in inspect.signature(f).parameters
    }
    assert not {n for n in names if "val" in n or "test" in n or "quer" in n}


@pytest.mark.parametrize("n", [120, 2_100])
def test_what_is_judged_never_reaches_statistics_or_fits(n):
    """Each part's held-out rows and labels are poisoned; no fit may change."""
    x, y = clouds(n)
    fitted = []
    original = selection.fit_path

    def recording(features, labels, *arguments, **named):
        fitted.append((features.copy(), labels.copy()))
        return original(features, labels, *arguments, **named)

    masks = held_out_parts(y, scheme_for(y), 0)
    choose_c(x, y, 3, [0.01, 0.1, 1.0], centre_and_scale, fit=recording)
    for i, mask in enumerate(masks):
        expected, _ = centre_and_scale(x[~mask], x[mask] * 1e6)
        np.testing.assert_array_equal(fitted[i][0].astype(np.float32), expected)
        np.testing.assert_array_equal(fitted[i][1], y[~mask])


@pytest.mark.parametrize("cs", [[1e-12, 1e-8, 1e-4], [1e-6, 1e-5, 1e-4]])
def test_the_low_end_predicts_as_scikit_learn_does(cs):
    """As C → 0 the objective of W = 0 is optimal to any tolerance; its predictions are chance."""
    x, y = clouds(noise=0.8)
    choice = choose_c(x, y, 3, cs, zscore, seed=3)
    hits = []
    for mask in held_out_parts(y, "folds", seed=3):
        fitting, judging = zscore(x[~mask], x[mask])
        plain = LogisticRegression(C=1e-6, tol=1e-12, solver="newton-cg").fit(
            fitting.astype(np.float64), y[~mask]
        )
        hits += list(plain.predict(judging.astype(np.float64)) == y[mask])
    for record in choice.records:
        if record.c <= 1e-6:
            assert record.accuracy == pytest.approx(np.mean(hits), abs=0.02)
    assert np.mean(hits) > 0.6


def test_a_best_c_at_the_upper_edge_extends_the_grid():
    x, y = clouds(noise=1.5)
    near = choose_c(x, y, 3, [1e-4, 1e-3], zscore)
    cs = [r.c for r in near.records]
    assert len(cs) > 2
    assert cs == sorted(cs)
    np.testing.assert_allclose(np.diff(np.log10(cs)), 1)  # the grid's own spacing
    assert near.accuracy == max(r.accuracy for r in near.records)
    wide = {r.c: r for r in choose_c(x, y, 3, cs, zscore).records}
    for record in near.records:
        assert record.accuracy == wide[record.c].accuracy  # continued = whole path
        assert record.log_loss == pytest.approx(wide[record.c].log_loss, rel=1e-3)


@pytest.mark.parametrize(("sign", "best"), [(1, 1e3), (-1, 1e-4)])
def test_extension_ends_and_says_that_an_edge_did_best(sign, best, monkeypatch):
    def best_at_the_end(parts, cs, starts):
        return [Record(c, c**sign, 0.0, 1, 0.0, 0.0, True) for c in cs]

    monkeypatch.setattr(selection, "_judge", best_at_the_end)
    x, y = clouds()
    choice = choose_c(x, y, 3, [0.1, 1.0], zscore)
    assert len(choice.records) == 2 + 3  # a decade each, three decades at most
    assert choice.at_edge
    assert choice.c == pytest.approx(best)


def test_an_extension_without_a_gain_ends_and_leaves_the_choice_in_the_grid(monkeypatch):
    def constant(parts, cs, starts):
        return [Record(c, 0.5, 0.0, 1, 0.0, 0.0, True) for c in cs]

    monkeypatch.setattr(selection, "_judge", constant)
    x, y = clouds()
    choice = choose_c(x, y, 3, [1.0, 1.5, 2.25], zscore)
    assert (choice.c, choice.at_edge) == (1.0, False)
    assert len(choice.records) == 3 + selection.EXTENSION


def test_few_shots_and_a_single_value_need_no_fit(monkeypatch):
    monkeypatch.setattr(selection, "fit_path", None)
    x, y = clouds(12, classes=3)
    few = choose_c(x, y, 3, GRID, zscore)
    assert (few.c, few.scheme, few.records) == (1.0, "fixed", ())
    assert math.isnan(few.accuracy)
    assert choose_c(x, y, 3, [0.5], zscore).c == 0.5


def test_a_class_of_one_image_is_fitted_and_never_judged():
    x, y = clouds(121)
    y[0] = 3
    choice = choose_c(x, y, 4, [0.01, 0.1, 1.0], zscore)
    assert all(np.isfinite(r.log_loss) for r in choice.records)


def test_fits_that_stop_early_are_recorded():
    x, y = clouds()
    choice = choose_c(x, y, 3, [1.0, 10.0, 100.0], zscore, max_iterations=1, tolerance=1e-14)
    tried = [r for r in choice.records if r.c in (1.0, 10.0, 100.0)]
    assert not any(r.converged for r in tried)
    assert all(r.iterations == 5 for r in tried)  # one in each fold


def test_nothing_to_hold_out_is_explained():
    with pytest.raises(ProbelineError, match="no class has two train images"):
        held_out_parts(np.arange(6), "holdout", 0)
