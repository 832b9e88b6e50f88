"""Linear heads: scikit-learn's optimum by every backend, and choices that no test image reaches."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV

from cache.errors import ProbelineError
from pipeline.heads.inner_splits import held_out_parts
from pipeline.heads.linear_heads import FittedHead, fit_head
from pipeline.heads.linear_solvers import LogisticSolver, computed_like, fit_ridge_by
from pipeline.heads.logistic import log_probabilities
from pipeline.heads.normalization import Normalizer
from pipeline.heads.ridge import fit_ridge
from pipeline.heads.ridge_solvers import Ridge
from pipeline.heads.tuning import CS, PENALTIES, PLAIN
from pipeline.study.linear import Linear

NORMALIZATIONS = ["none", "zscore", "l2"]


def clouds(seed: int, n: int = 150, d: int = 10, classes: int = 3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    features = np.random.default_rng(99).normal(0, 1, (classes, d))[labels]
    return (features + rng.normal(0, 1.5, (n, d))).astype(np.float32) * 3 + 2, labels


def plainly(kind: str, train: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The normalisations, written out."""
    train, other = train.astype(np.float64), other.astype(np.float64)
    if kind == "zscore":
        return (train - train.mean(0)) / train.std(0), (other - train.mean(0)) / train.std(0)
    if kind == "l2":
        train, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, other))
    centred = train - train.mean(0)
    scale = np.sqrt(np.mean(centred**2))
    return centred / scale, (other - train.mean(0)) / scale


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_heads_have_scikit_learns_probabilities(normalization, classes):
    x, y = clouds(0, classes=classes)
    other, _ = clouds(1, n=60, classes=classes)
    head = fit_head("logistic", normalization, x, y, classes, Linear(c=[0.01, 0.1, 1.0]))
    assert head.details["converged"]
    bank, queries = plainly(normalization, x, other)
    plain = LogisticRegression(C=head.details["C"], max_iter=10_000, tol=1e-10).fit(bank, y)
    expected = plain.predict_proba(queries)
    np.testing.assert_allclose(np.exp(head.scores(other)), expected, atol=1e-5)
    assert (head.variant.name, head.log_probabilities) == (f"logistic_{normalization}", True)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("classes", [2, 3])
def test_ridge_heads_have_scikit_learns_scores_and_penalty(normalization, classes):
    x, y = clouds(2, n=90, classes=classes)
    other, _ = clouds(3, n=60, classes=classes)
    head = fit_head("ridge", normalization, x, y, classes, Linear())
    bank, queries = plainly(normalization, x, other)
    plain = RidgeClassifierCV(PENALTIES).fit(bank, y)
    assert head.details["lambda"] == plain.alpha_
    expected = plain.decision_function(queries)
    if classes == 2:
        expected = np.stack([-expected, expected], axis=1)
    np.testing.assert_allclose(head.scores(other), expected, atol=1e-4)
    assert (head.log_probabilities, head.seed) == (False, None)


@pytest.mark.parametrize(
    ("backend", "tolerance"), [("numpy", 1e-6), ("torch", 1e-6), ("sklearn", 1e-6)]
)
def test_every_backend_reaches_the_same_objective(backend, tolerance):
    x, y = clouds(4, n=200, d=20, classes=4)
    bank, _ = plainly("zscore", x, x)
    cs = [1e-4, 1e-2, 1.0, 100.0]
    fit_c = LogisticSolver(backend, bank, 5, 5000).open_path(bank, y, tolerance=PLAIN)
    for c in cs:
        fit = fit_c(c)
        plain = LogisticRegression(C=c, max_iter=20_000, tol=1e-10).fit(bank, y)
        losses = -np.log(plain.predict_proba(bank)[np.arange(200), y])
        best = np.square(plain.coef_).sum() / 2 + c * losses.sum()
        own = -log_probabilities(fit, bank)[np.arange(200), y].sum()
        reached = np.square(fit.coefficients).sum() / 2 + c * own
        assert reached == pytest.approx(fit.objective, rel=1e-9)
        assert -1e-9 <= reached / best - 1 <= tolerance
        assert fit.converged
        assert np.isneginf(fit.intercept[4])  # no train image
        assert (fit.coefficients[4] == 0).all()


@pytest.mark.parametrize("shape", [(80, 12), (12, 40)])
@pytest.mark.parametrize("grouped", [False, True])
def test_torch_has_the_same_ridge_and_the_same_leave_one_out(shape, grouped):
    x, y = clouds(5, *shape)
    groups = np.array([f"site {i % 5}" for i in range(len(y))]) if grouped else None
    fits, judged = fit_ridge(x, y, 4, [1e-2, 1.0], groups)
    others, there = fit_ridge(x, y, 4, [1e-2, 1.0], groups, computed_like("torch"))
    for own, other, ours, theirs in zip(fits, others, judged, there, strict=True):
        np.testing.assert_allclose(other.coefficients, own.coefficients, atol=1e-7)
        np.testing.assert_allclose(other.intercept, own.intercept, atol=1e-7)
        assert (other.penalty, theirs.accuracy) == (own.penalty, ours.accuracy)
        assert theirs.squared_error == pytest.approx(ours.squared_error, rel=1e-9)


@pytest.mark.parametrize("shape", [(80, 12), (12, 40)])
def test_scikit_learn_has_the_same_ridge(shape):
    x, y = clouds(5, *shape)
    fits, _ = fit_ridge(x, y, 4, [1e-2, 1.0])
    for own in fits:
        other = fit_ridge_by(
            "sklearn", x, y, Ridge(own.coefficients * 0, own.intercept, own.penalty)
        )
        np.testing.assert_allclose(other.coefficients, own.coefficients, atol=1e-7)
        np.testing.assert_allclose(other.intercept, own.intercept, atol=1e-7)
        assert other.penalty == own.penalty


@pytest.mark.parametrize("name", ["logistic", "ridge"])
@pytest.mark.parametrize("backend", ["torch", "sklearn"])
def test_heads_agree_across_backends(name, backend):
    x, y = clouds(6, n=2100)
    other, _ = clouds(7, n=60)
    asked = Linear(c=[1e-3, 1e-2, 0.1])
    ours = fit_head(name, "zscore", x, y, 3, asked)
    theirs = fit_head(name, "zscore", x, y, 3, asked, backend)
    assert theirs.backend == backend
    chosen = "C" if name == "logistic" else "lambda"
    assert theirs.details[chosen] == ours.details[chosen]
    found, expected = theirs.scores(other), ours.scores(other)
    if name == "logistic":
        found, expected = np.exp(found), np.exp(expected)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    json.dumps(theirs.details, allow_nan=False)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["logistic", "ridge"])
def test_cuml_agrees_with_our_own_solvers(name):
    pytest.importorskip("cuml")
    x, y = clouds(6, n=2100)
    other, _ = clouds(7, n=60)
    asked = Linear(c=[1e-3, 1e-2, 0.1])
    ours = fit_head(name, "zscore", x, y, 3, asked)
    theirs = fit_head(name, "zscore", x, y, 3, asked, "cuml")
    np.testing.assert_allclose(theirs.scores(other), ours.scores(other), atol=1e-2)


def test_cuml_is_refused_what_it_cannot_count():
    wide = np.broadcast_to(np.zeros((), np.float32), (2**20, 2**11))  # 2^31 elements, no memory
    labels = np.zeros(2**20, np.int64)
    with pytest.raises(ProbelineError, match="32 bits"):
        LogisticSolver("cuml", wide, 2).open_path(wide, labels, tolerance=PLAIN)
    own = Ridge(np.zeros((2, 2**11)), np.zeros(2), 1.0)
    with pytest.raises(ProbelineError, match="32 bits"):
        fit_ridge_by("cuml", wide, labels, own)


@pytest.mark.parametrize("name", ["logistic", "ridge"])
@settings(max_examples=10, deadline=None)
@given(factor=st.sampled_from([1e-3, 1 / 64, 1000.0, 4096.0]), seed=st.integers(0, 99))
def test_the_unit_of_the_features_means_nothing(name, factor, seed):
    x, y = clouds(seed, n=60)
    other, _ = clouds(seed + 100, n=30)
    asked = Linear(c=[1e-3, 0.1, 10.0])
    one = fit_head(name, "none", x, y, 3, asked)
    larger, others = x * np.float32(factor), other * np.float32(factor)
    scaled = fit_head(name, "none", larger, y, 3, asked)
    chosen = "C" if name == "logistic" else "lambda"
    assert scaled.details[chosen] == one.details[chosen]
    np.testing.assert_allclose(scaled.scores(others), one.scores(other), rtol=1e-3, atol=1e-4)


def test_the_default_grid_and_its_details():
    np.testing.assert_allclose(CS, np.logspace(-6, 5, 45))
    x, y = clouds(8, n=120)
    details = fit_head("logistic", "none", x, y, 3, Linear()).details
    path = details["path"]
    inside = [c for c in path["C"] if c >= 0.99e-6]
    np.testing.assert_allclose(inside, CS[: len(inside)], rtol=1e-5)
    assert {len(column) for column in path.values()} == {len(path["C"])}
    best = max(path["top1"])
    assert details["holdout_top1"] == best
    place = path["C"].index(pytest.approx(details["C"], rel=1e-5))
    assert path["top1"][place] == best
    assert (details["C_scheme"], details["C_by_group"]) == ("folds", False)
    assert details["C_at_edge_of_grid"] == (place in (0, len(path["C"]) - 1))
    json.dumps(details, allow_nan=False)


def test_groups_are_held_out_as_a_whole():
    """Accuracy on the hold-out is that of folds that divide no group."""
    x, y = clouds(18, n=160)
    x, y = np.repeat(x[:40], 4, axis=0), np.repeat(y[:40], 4)
    groups = np.repeat([f"patient {i}" for i in range(40)], 4)
    settings = Linear(c=[1e-3, 1e-2])
    details = fit_head("logistic", "none", x, y, 3, settings, groups=groups).details
    assert details["C_by_group"]
    hits = []
    for mask in held_out_parts(y, "folds", settings.seed, groups).masks:
        bank, queries = plainly("none", x[~mask], x[mask])
        plain = LogisticRegression(C=details["C"], max_iter=10_000, tol=1e-10).fit(bank, y[~mask])
        hits += list(plain.predict(queries) == y[mask])
    assert details["holdout_top1"] == pytest.approx(np.mean(hits), abs=1e-5)


def test_ridge_details():
    x, y = clouds(9, n=120)
    details = fit_head("ridge", "none", x, y, 3, Linear()).details
    path = details["path"]
    place = path["squared_error"].index(min(path["squared_error"]))
    assert details["lambda"] == pytest.approx(path["lambda"][place], rel=1e-5)
    assert details["leave_one_out_top1"] == pytest.approx(path["top1"][place], abs=1e-6)
    assert details["lambda_at_edge_of_grid"] is False


def test_statistics_of_the_choice_are_the_inner_parts(monkeypatch):
    """The hold-out's features are changed so that only statistics taken from them would move."""
    x, y = clouds(10, n=2100)
    seen = []
    original = Normalizer.fit
    monkeypatch.setattr(
        Normalizer, "fit", classmethod(lambda cls, k, t: seen.append(t) or original(k, t))
    )
    fit_head("logistic", "zscore", x, y, 3, Linear(c=[1e-2, 1.0]))
    assert sorted(len(part) for part in seen) == [1680, 2100]


def test_few_images_take_a_fixed_c():
    x, y = clouds(11, n=3)
    head = fit_head("logistic", "none", x, y, 3, Linear(c=[0.1, 10.0]))
    assert (head.details["C"], head.details["C_scheme"]) == (1.0, "fixed")
    assert head.details["holdout_top1"] is None  # JSON has no NaN
    assert fit_head("logistic", "none", x, y, 3, Linear(c=[0.5])).details["C"] == 0.5


@pytest.mark.parametrize("name", ["logistic", "ridge"])
def test_a_class_absent_from_train_is_never_predicted(name):
    x, y = clouds(12)
    head = fit_head(name, "none", x, y, 5, Linear(c=[0.1, 1.0]))
    three = fit_head(name, "none", x, y, 3, Linear(c=[0.1, 1.0]))
    scores = head.scores(x)
    assert np.isneginf(scores[:, 3:]).all()
    np.testing.assert_allclose(scores[:, :3], three.scores(x), atol=1e-6)


@pytest.mark.parametrize("name", ["logistic", "ridge"])
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_impossible_train_splits_are_explained(name, kind):
    x, y = clouds(13, n=40)
    with pytest.raises(ProbelineError, match="nothing to tell apart"):
        fit_head(name, kind, x, y * 0, 2, Linear())
    x[3, 2] = np.nan
    with pytest.raises(ProbelineError, match="NaN or infinity"):
        fit_head(name, kind, x, y, 3, Linear())


@pytest.mark.parametrize("name", ["logistic", "ridge"])
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_constant_features_know_the_class_frequencies(name, kind):
    _, y = clouds(14, n=40)
    y[:30] = 1
    head = fit_head(name, kind, np.full((40, 4), 7.3, np.float32), y, 3, Linear())
    scores = head.scores(np.full((2, 4), 7.3, np.float32))
    share = np.bincount(y, minlength=3) / 40
    if name == "logistic":
        np.testing.assert_allclose(np.exp(scores), [share, share], atol=1e-4)
    else:
        np.testing.assert_allclose(scores, [2 * share - 1] * 2, atol=1e-6)


def test_fits_that_stop_early_say_so_without_a_warning():
    x, y = clouds(15)
    for backend in ("numpy", "sklearn"):
        fit = LogisticSolver(backend, x, 3, 1).open_path(x, y, tolerance=PLAIN)(1.0)
        assert (fit.converged, fit.iterations, fit.stopped) == (False, 1, "iterations")
    details = fit_head("logistic", "none", x, y, 3, Linear(c=[9.0], max_iterations=1)).details
    assert details["converged"] is False
    assert details["iterations"] == 1


def test_scores_do_not_depend_on_how_many_are_asked_for(monkeypatch):
    x, y = clouds(16)
    for name in ("logistic", "ridge"):
        head: FittedHead = fit_head(name, "l2", x, y, 3, Linear(c=[1.0]))
        together = head.scores(x)
        monkeypatch.setattr("pipeline.heads.linear_heads.BLOCK", 7)
        np.testing.assert_allclose(head.scores(x), together, rtol=1e-10)
        np.testing.assert_allclose(head.scores(x[4:5]), together[4:5], rtol=1e-10)
        monkeypatch.undo()


def test_the_global_random_state_is_left_alone_and_runs_repeat():
    x, y = clouds(17)
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (fit_head("logistic", "none", x, y, 3, Linear(c=[0.1, 1.0])) for _ in "ab")
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.testing.assert_array_equal(first.scores(x), second.scores(x))
    assert first.details == second.details
