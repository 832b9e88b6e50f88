"""The linear probe: scikit-learn's optimum, and a C that no test label can reach."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cache.errors import ProbelineError
from pipeline import linear
from pipeline.linear import choose_c, normalize, run_linear
from pipeline.study import Linear


def clouds(seed: int, n: int = 150, d: int = 10, classes: int = 3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    features = np.random.default_rng(99).normal(0, 1, (classes, d))[labels]
    return (features + rng.normal(0, 1.5, (n, d))).astype(np.float32) * 3 + 2, labels


def objective(fit: LogisticRegression, x: np.ndarray, y: np.ndarray, c: float) -> float:
    log_probability = np.log(fit.predict_proba(x))[np.arange(len(y)), y]
    return float(np.square(fit.coef_).sum() / 2 - c * log_probability.sum())


@pytest.mark.parametrize("normalization", ["none", "zscore", "l2"])
def test_the_fit_reaches_plain_scikit_learns_objective(normalization, monkeypatch):
    x, y = clouds(0)
    val, val_y = clouds(1, n=60)
    kept = []
    original = linear._fit
    monkeypatch.setattr(linear, "_fit", lambda *a: kept.append((a, original(*a))) or kept[-1][1])
    settings = Linear(c=[0.01, 0.1, 1.0], normalization=[normalization], max_iterations=2000)
    (outcome,) = run_linear(settings, x, y, val, val_y, 3)
    (_, features, labels), (fit, converged) = kept[-1]
    assert converged
    assert len(labels) == len(y)  # refitted on all of train
    c = outcome.details["C"]
    bank, queries = normalize(normalization, x, val)
    plain = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(bank, y)
    best = objective(plain, bank, y, c)
    assert objective(fit, features, labels, c) <= best * (1 + 1e-4)
    assert np.mean(plain.predict(queries) == outcome.predicted) > 0.98


def test_test_labels_and_test_features_do_not_reach_the_choice():
    x, y = clouds(2)
    val, val_y = clouds(3, n=50)
    settings = Linear(c=[1e-4, 1e-2, 1.0], normalization=["none", "zscore"])
    honest = run_linear(settings, x, y, val, val_y, 3)
    rng = np.random.default_rng(0)
    poisoned = run_linear(
        settings, x, y, (val * rng.normal(0, 50, val.shape)).astype(np.float32),
        rng.permutation(val_y), 3,
    )  # fmt: skip
    for a, b in zip(honest, poisoned, strict=True):
        assert a.details == b.details
    assert any((a.predicted != b.predicted).any() for a, b in zip(honest, poisoned, strict=True))


def test_the_hold_out_is_seeded_and_its_statistics_are_the_inner_parts():
    x, y = clouds(4)
    settings = Linear(c=[1e-3, 1.0], seed=5)
    assert choose_c(settings, "zscore", x, y) == choose_c(settings, "zscore", x, y)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            linear, "normalize", lambda k, a, b: seen.append((a, b)) or normalize(k, a, b)
        )
        choose_c(settings, "zscore", x, y)
    ((inner, held_out),) = seen
    assert len(inner) + len(held_out) == len(x)
    assert len(held_out) == 30
    rows = {r.tobytes() for r in inner}
    assert not any(r.tobytes() in rows for r in held_out)


def test_the_smallest_of_equally_good_cs_is_taken_and_edges_are_told():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20).astype(np.int64)
    x = (rng.normal(0, 0.01, (40, 3)) + y[:, np.newaxis] * 10).astype(np.float32)  # separable
    choice = choose_c(Linear(c=[1.0, 0.1, 10.0]), "none", x, y)
    assert (choice.c, choice.accuracy, choice.at_edge) == (0.1, 1.0, True)


def test_a_single_c_needs_no_hold_out():
    x, y = clouds(5, n=3)
    (outcome,) = run_linear(Linear(c=[0.5]), x, y, x, y, 3)
    assert outcome.details["C"] == 0.5
    assert outcome.details["holdout_top1"] is None  # JSON has no NaN


def test_one_train_image_per_class_is_explained():
    x, y = clouds(6, n=3)
    with pytest.raises(ProbelineError, match="no class has two train images") as caught:
        run_linear(Linear(c=[0.1, 1.0]), x, y, x, y, 3)
    assert "linear.c" in str(caught.value)


def test_classes_with_one_image_stay_in_the_fit():
    x, y = clouds(7, n=41, classes=4)
    y[:] = np.where(y == 3, 0, y)
    y[0] = 3  # a single image
    (outcome,) = run_linear(Linear(c=[0.1, 1.0]), x, y, x, y, 4)
    assert np.isfinite(outcome.log_probability).all()


def test_fits_that_stop_early_say_so_without_a_warning():
    x, y = clouds(8)
    (outcome,) = run_linear(Linear(c=[1.0], max_iterations=1), x, y, x, y, 3)
    assert outcome.details["converged"] is False
    assert outcome.details["iterations"] == 1


def test_the_global_random_state_is_left_alone():
    x, y = clouds(9)
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    run_linear(Linear(c=[0.1, 1.0]), x, y, x, y, 3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_two_runs_give_the_same_outcome():
    x, y = clouds(10)
    first, second = (run_linear(Linear(c=[0.1, 1.0]), x, y, x, y, 3)[0] for _ in range(2))
    np.testing.assert_array_equal(first.log_probability, second.log_probability)
