"""The choice of C: inside train, at any size of it, beyond the grid where that is better."""

from __future__ import annotations

import inspect
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pipeline.heads import selection
from pipeline.heads.inner_splits import held_out_parts, scheme_for
from pipeline.heads.linear_solvers import LogisticSolver
from pipeline.heads.logistic import LogisticPath
from pipeline.heads.normalization import Normalizer, centre_and_scale
from pipeline.heads.selection import Record, choose_c
from pipeline.heads.tuning import BEYOND, EXTENSION, ROUGH

GRID = [1e-3, 1e-2, 1e-1, 1.0]


def zscore(train, *others):
    return tuple(map(Normalizer.fit("zscore", train), (train, *others)))


def clouds(n: int = 120, d: int = 6, classes: int = 3, noise: float = 1.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    means = np.random.default_rng(99).normal(0, 1, (classes, d))
    return (means[labels] + rng.normal(0, noise, (n, d)) + 2).astype(np.float32), labels


def opener(classes=3, tolerance=ROUGH, **options):
    """Paths of our own solver."""
    return lambda x, y: LogisticPath(x, y, classes, tolerance=tolerance, **options).fit


def plain_fit(x, y, c):
    """scikit-learn, to the end."""
    fit = LogisticRegression(C=c, tol=1e-10, max_iter=1000, solver="newton-cholesky")
    return fit.fit(x.astype(np.float64), y)


def plainly_judged(x, y, c, seed, normalize=zscore, groups=None):
    """Hits and log probabilities of the own class, by scikit-learn on the same folds."""
    hits, own = [], []
    for mask in held_out_parts(y, scheme_for(y), seed, groups).masks:
        fitting, judging = (a.astype(np.float64) for a in normalize(x[~mask], x[mask]))
        plain = plain_fit(fitting, y[~mask], c)
        hits += list(plain.predict(judging) == y[mask])
        own += list(plain.predict_log_proba(judging)[np.arange(mask.sum()), y[mask]])
    return np.array(hits), np.array(own)


def test_accuracies_are_those_of_scikit_learn_on_the_same_folds():
    x, y = clouds()
    choice = choose_c(x, y, GRID, zscore, opener(tolerance=1e-12), seed=3)
    for record in choice.records:
        hits, own = plainly_judged(x, y, record.c, seed=3)
        assert record.accuracy == np.mean(hits)
        assert record.log_loss == pytest.approx(-np.mean(own), rel=1e-5)
        assert record.converged
    accuracies = [r.accuracy for r in choice.records if r.c in GRID]
    assert choice.accuracy == max(r.accuracy for r in choice.records)
    if choice.accuracy == max(accuracies):
        assert choice.c == GRID[int(np.argmax(accuracies))]  # the first: the smallest


@pytest.mark.parametrize("normalize", [centre_and_scale, zscore])
@pytest.mark.parametrize(("n", "d", "noise"), [(90, 8, 2.5), (90, 30, 1.5), (60, 60, 4.0)])
def test_the_choice_is_as_good_as_that_of_exact_fits_of_all_values(n, d, noise, normalize):
    """Rough fits, borrowed axes and a path cut short: what is chosen is within noise of the best.

    One standard error of the paired difference on the images held out, and one image for fits
    that are not quite at their optimum.
    """
    cs = [10.0**power for power in range(-4, 4)]
    x, y = clouds(n, d, noise=noise)
    solver = LogisticSolver("numpy", normalize(x)[0].astype(np.float64), 3)
    rough = partial(solver.open_path, tolerance=ROUGH)
    choice = choose_c(x, y, cs, normalize, rough)
    exact = {c: plainly_judged(x, y, c, 0, normalize)[0] for c in cs}
    for record in choice.records:
        if record.c in exact:
            assert abs(record.accuracy - exact[record.c].mean()) <= 1.01 / n
    best = max(exact.values(), key=np.mean)
    lost = best.astype(float) - plainly_judged(x, y, choice.c, 0, normalize)[0]
    assert lost.mean() <= lost.std() / math.sqrt(n) + 1.01 / n


def test_no_argument_can_carry_another_split():
    names = {
        name
        for f in (choose_c, held_out_parts, scheme_for)
        for name in inspect.signature(f).parameters
    }
    assert not {n for n in names if "val" in n or "test" in n or "quer" in n}


@pytest.mark.parametrize("n", [120, 2_100])
def test_what_is_judged_never_reaches_statistics_or_fits(n):
    """What each fit is given is computed again with the held-out rows poisoned."""
    x, y = clouds(n)
    fitted = []

    def recording(features, labels):
        fitted.append((features.copy(), labels.copy()))
        return opener()(features, labels)

    masks = held_out_parts(y, scheme_for(y), 0).masks
    choose_c(x, y, [0.01, 0.1, 1.0], centre_and_scale, recording)
    assert len(fitted) == len(masks)
    for (features, labels), mask in zip(fitted, masks, strict=True):
        expected, _ = centre_and_scale(x[~mask], x[mask] * 1e6)
        np.testing.assert_array_equal(features.astype(np.float32), expected)
        np.testing.assert_array_equal(labels, y[~mask])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50), share=st.integers(2, 12))
def test_groups_are_held_out_as_a_whole(seed, share):
    """Images of a group are copies of each other: divided, the weakest C would look best."""
    rng = np.random.default_rng(seed)
    x, y = clouds(120, seed=seed)
    unit = np.arange(120) // share
    x = x[unit * share] + rng.normal(0, 1e-3, x.shape).astype(np.float32)
    y = y[unit * share]
    groups = np.array([f"g{u}" for u in unit])
    given = []

    def recording(features, labels):
        given.append(features)
        return opener(3)(features, labels)

    choice = choose_c(x, y, GRID, centre_and_scale, recording, groups=groups, seed=seed)
    assert choice.by_group
    for record in choice.records[:2]:
        hits, own = plainly_judged(x, y, record.c, seed, centre_and_scale, groups)
        assert record.accuracy == pytest.approx(np.mean(hits), abs=1.01 / 120)
        assert record.log_loss == pytest.approx(-np.mean(own), rel=0.01)


def test_without_its_copies_an_image_is_not_known():
    """Labels of noise: by images a copy is always found, by groups accuracy is chance."""
    rng = np.random.default_rng(0)
    unit = np.arange(300) // 5
    x = rng.normal(0, 1, (60, 80))[unit].astype(np.float32)
    y = rng.integers(0, 2, 60)[unit]
    groups = np.array([f"g{u}" for u in unit])
    divided = choose_c(x, y, GRID, zscore, opener(2))
    whole = choose_c(x, y, GRID, zscore, opener(2), groups=groups)
    assert (divided.by_group, whole.by_group) == (False, True)
    assert divided.accuracy > 0.95
    assert whole.accuracy < 0.7


@pytest.mark.parametrize("cs", [[1e-12, 1e-8, 1e-4], [1e-6, 1e-5, 1e-4]])
def test_the_low_end_predicts_as_scikit_learn_does(cs):
    """As C → 0 the objective of W = 0 is optimal to any tolerance; its predictions are chance."""
    x, y = clouds(noise=0.8)
    choice = choose_c(x, y, cs, zscore, opener(), seed=3)
    hits, _ = plainly_judged(x, y, 1e-6, seed=3)
    assert any(record.c <= 1e-6 for record in choice.records)
    for record in choice.records:
        if record.c <= 1e-6:
            assert record.accuracy == pytest.approx(np.mean(hits), abs=1.01 / 120)  # an image
    assert np.mean(hits) > 0.6


def test_a_best_c_at_the_upper_edge_extends_the_grid():
    x, y = clouds(noise=1.5)
    near = choose_c(x, y, [1e-4, 1e-3], zscore, opener())
    cs = [r.c for r in near.records]
    assert len(cs) > 2
    assert cs == sorted(cs)
    np.testing.assert_allclose(np.diff(np.log10(cs)), 1)  # the grid's own spacing
    assert near.accuracy == max(r.accuracy for r in near.records)
    wide = {r.c: r for r in choose_c(x, y, cs, zscore, opener()).records}
    for record in near.records:
        if record.c in wide:
            assert record.accuracy == wide[record.c].accuracy  # continued = whole path
            assert record.log_loss == pytest.approx(wide[record.c].log_loss, rel=1e-3)


def choice_of(monkeypatch, cs, accuracy, log_loss=lambda c: -c):
    """A choice whose parts do as these functions of C say; every image does the same."""

    def judged(self, c):
        self._hits[c] = np.arange(1_000_000) < 1e6 * accuracy(c)
        return Record(c, accuracy(c), log_loss(c), 1, 0.0, 0.0, True)

    monkeypatch.setattr(selection._Path, "_try", judged)
    x, y = clouds()
    return choose_c(x, y, cs, zscore, opener())


@pytest.mark.parametrize(("sign", "best"), [(1, 1e3), (-1, 1e-4)])
def test_extension_ends_and_says_that_an_edge_did_best(sign, best, monkeypatch):
    choice = choice_of(monkeypatch, [0.1, 1.0], lambda c: 0.5 + sign * math.log10(c) / 20)
    assert len(choice.records) == 2 + 3  # a decade each, three decades at most
    assert choice.at_edge
    assert choice.c == pytest.approx(best)


def test_an_extension_without_a_gain_ends_and_leaves_the_choice_in_the_grid(monkeypatch):
    choice = choice_of(monkeypatch, [1.0, 1.5, 2.25], lambda c: 0.5)
    assert (choice.c, choice.at_edge) == (1.0, False)
    assert len(choice.records) == 3 + EXTENSION


def test_the_path_ends_where_loss_and_accuracy_have_turned(monkeypatch):
    cs = [10.0**power for power in range(-4, 5)]

    def peak(c):
        return 0.8 - 0.02 * abs(math.log10(c) + 1)

    turned = choice_of(monkeypatch, cs, peak, lambda c: abs(math.log10(c) + 2))
    assert turned.c == pytest.approx(0.1)
    assert turned.records[-1].c == pytest.approx(0.1 * BEYOND)
    gaining = choice_of(monkeypatch, cs, lambda c: 0.5 + math.log10(c) / 20, lambda c: c)
    assert gaining.c == pytest.approx(1e4 * 1e3)  # with the extension, as accuracy goes on rising
    hardly = choice_of(monkeypatch, cs, lambda c: 0.5 + c / 1e6, lambda c: c)
    assert [r.c for r in hardly.records] == cs[:2]  # the last is best, by nothing: no extension
    assert not hardly.at_edge
    falling = choice_of(monkeypatch, cs, lambda c: 0.5, lambda c: -c)
    assert falling.records[-1].c == cs[-1]  # the loss has not turned


def test_few_shots_and_a_single_value_need_no_fit():
    x, y = clouds(12, classes=3)
    few = choose_c(x, y, GRID, zscore, None)
    assert (few.c, few.scheme, few.records) == (1.0, "fixed", ())
    assert math.isnan(few.accuracy)
    assert choose_c(x, y, [0.5], zscore, None).c == 0.5


def test_a_class_of_one_image_is_fitted_and_never_judged():
    x, y = clouds(121)
    y[0] = 3
    choice = choose_c(x, y, [0.01, 0.1, 1.0], zscore, opener(4))
    assert all(np.isfinite(r.log_loss) for r in choice.records)


def test_fits_that_stop_early_are_recorded():
    x, y = clouds()
    hasty = opener(tolerance=1e-14, max_iterations=1)
    choice = choose_c(x, y, [1.0, 10.0, 100.0], zscore, hasty)
    tried = [r for r in choice.records if r.c in (1.0, 10.0, 100.0)]
    assert not any(r.converged for r in tried)
    assert all(r.iterations == 5 for r in tried)  # one in each fold
