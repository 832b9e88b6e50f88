"""The regularisation path: scikit-learn's objective, never worse; honest where it stops early."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from cache.errors import ProbelineError
from pipeline.heads import newton
from pipeline.heads.columns import principal_axes
from pipeline.heads.logistic import LogisticPath, decision, log_probabilities
from pipeline.heads.softmax import SoftmaxLoss

CS = np.logspace(-3, 1, 5)
TIGHT = 1e-13


def fit_path(features, labels, n_classes, cs, **options):
    """Every C, in the order of `cs`."""
    path = LogisticPath(features, labels, n_classes, **options)
    return [path.fit(c) for c in cs]


def clouds(n: int, d: int, classes: int, seed: int = 0, dtype=np.float64):
    """Class means, a spectrum of three decades and an offset."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    spectrum = np.logspace(0.5, -1, d)
    means = 0.8 * rng.normal(0, 1, (classes, d))
    return ((rng.normal(0, 1, (n, d)) + means[labels]) * spectrum + 2).astype(dtype), labels


def objective(coefficients, intercept, x, y, c) -> float:
    """scikit-learn's, written again."""
    z = x.astype(np.float64) @ np.asarray(coefficients, np.float64).T + intercept
    loss = logsumexp(z, axis=1) - z[np.arange(len(y)), y]
    penalty = 1.0 if len(coefficients) == 2 else 0.5  # two classes: w = 2 W, ½‖w‖² = ‖W‖²
    return float(penalty * np.square(coefficients).sum() + c * loss.sum())


def plain_fit(x, y, c) -> tuple[np.ndarray, np.ndarray, LogisticRegression]:
    """scikit-learn to the end, as one row per class."""
    fit = LogisticRegression(C=c, tol=1e-10, max_iter=100_000, solver="newton-cg")
    fit.fit(x.astype(np.float64), y)
    if len(fit.classes_) > 2:
        return fit.coef_, fit.intercept_, fit
    half = np.array([[-0.5], [0.5]])
    return half * fit.coef_, half[:, 0] * fit.intercept_, fit


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "d", "classes"), [(200, 20, 5), (60, 100, 3), (150, 10, 2)])
def test_the_objective_is_never_worse_than_scikit_learns(n, d, classes, dtype):
    x, y = clouds(n, d, classes, dtype=dtype)
    for fit in fit_path(x, y, classes, CS):
        best = objective(*plain_fit(x, y, fit.c)[:2], x, y, fit.c)
        ours = objective(fit.coefficients, fit.intercept, x, y, fit.c)
        assert ours <= best * (1 + 1e-6)
        assert fit.objective == pytest.approx(ours, rel=1e-6)
        assert fit.converged


@pytest.mark.parametrize(("n", "d", "classes"), [(200, 20, 5), (60, 100, 3), (150, 10, 2)])
def test_probabilities_are_scikit_learns_to_1e_6(n, d, classes):
    x, y = clouds(n, d, classes)
    for fit in fit_path(x, y, classes, CS, tolerance=TIGHT):
        theirs = plain_fit(x, y, fit.c)[2].predict_proba(x)
        np.testing.assert_allclose(np.exp(log_probabilities(fit, x)), theirs, atol=1e-6)


@given(
    n=st.integers(2, 40),
    d=st.integers(1, 50),
    classes=st.integers(2, 5),
    seed=st.integers(0, 99),
    constant=st.booleans(),
    twice=st.booleans(),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
@settings(max_examples=25, deadline=None)
def test_odd_sizes_end_within_the_gap_that_they_report(n, d, classes, seed, constant, twice, scale):
    x, y = clouds(max(n, classes), d, classes, seed)
    x *= scale
    if constant:
        x[:, 0] = 5.0
    if twice:
        x, y = np.concatenate([x, x]), np.concatenate([y, y])
    cs = [1e-4, 1e-2, 1.0]
    fits = fit_path(x, y, classes, cs, max_iterations=2000)
    exact = fit_path(x, y, classes, cs, tolerance=1e-10, max_iterations=2000)
    for fit, best in zip(fits, exact, strict=True):
        assert fit.converged
        assert fit.objective <= best.objective * (1 + 1e-6)
        assert np.isfinite(fit.coefficients).all()
        gauge = np.abs(fit.coefficients.sum(0)).max()
        assert gauge <= 1e-9 * np.abs(fit.coefficients).max()  # scikit-learn's


def test_a_warm_start_a_cold_start_and_any_order_end_at_one_optimum():
    x, y = clouds(120, 15, 4)
    warm = fit_path(x, y, 4, CS, tolerance=TIGHT)
    back = fit_path(x, y, 4, CS[::-1], tolerance=TIGHT)[::-1]
    for fit, other in zip(warm, back, strict=True):
        (cold,) = fit_path(x, y, 4, [fit.c], tolerance=TIGHT)
        for one in (other, cold):
            np.testing.assert_allclose(one.coefficients, fit.coefficients, atol=2e-5)
            assert one.objective == pytest.approx(fit.objective, rel=1e-11)


def test_a_path_goes_on_from_where_it_ended():
    x, y = clouds(120, 15, 4)
    path = LogisticPath(x, y, 4)
    fits = [path.fit(c) for c in CS]
    assert path.fit(CS[-1]).iterations == 0
    for fit, whole in zip(fits, fit_path(x, y, 4, CS), strict=True):
        np.testing.assert_array_equal(fit.coefficients, whole.coefficients)


@given(
    n=st.integers(6, 60),
    d=st.integers(1, 30),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([np.float64, np.float32]),
    kind=st.sampled_from(["whole", "another scale", "poison"]),
)
@settings(max_examples=25, deadline=None)
def test_borrowed_axes_change_no_optimum(n, d, seed, dtype, kind):
    """Axes of a train set that holds more images, scaled otherwise, or spoiled by these."""
    x, y = clouds(n, d, 3, seed)
    inner = np.arange(n) % 3 != 2
    inner[:6] = True
    whole = x.copy()
    if kind == "another scale":
        whole *= np.random.default_rng(seed).uniform(0.5, 2, d)
    if kind == "poison":
        whole[~inner] *= 1e6
    part, labels = x[inner].astype(dtype), y[inner]
    if len(np.unique(labels)) < 2:
        return
    tolerance = TIGHT if dtype == np.float64 else 1e-6
    cs = [1e-3, 0.1, 10.0]
    own = fit_path(part.astype(np.float64), labels, 3, cs, tolerance=TIGHT, max_iterations=5000)
    borrowed = fit_path(
        part, labels, 3, cs, tolerance=tolerance, max_iterations=5000,
        axes=principal_axes(whole),
    )  # fmt: skip
    for one, other in zip(own, borrowed, strict=True):
        assert other.objective == pytest.approx(one.objective, rel=max(1e-9, 3 * tolerance))
        found = objective(
            *(np.nan_to_num(v[np.unique(labels)], neginf=0)
              for v in (other.coefficients, other.intercept)),
            part, np.unique(labels, return_inverse=True)[1], one.c,
        )  # fmt: skip
        assert found <= one.objective * (1 + max(1e-9, 3 * tolerance))


def test_a_class_absent_from_train_has_probability_zero_and_changes_nothing():
    x, y = clouds(90, 8, 3)
    y = np.where(y == 2, 3, y)  # classes 0, 1, 3 of 5
    (fit,) = fit_path(x, y, 5, [0.1], tolerance=TIGHT)
    log_probability = log_probabilities(fit, x)
    assert np.isneginf(log_probability[:, [2, 4]]).all()
    theirs = plain_fit(x, y, 0.1)[2].predict_proba(x)
    np.testing.assert_allclose(np.exp(log_probability[:, [0, 1, 3]]), theirs, atol=1e-6)


@pytest.mark.parametrize("c", [1.0, 1e4, 1e8])
def test_separable_classes_with_a_huge_c_reach_the_optimum(c):
    """Every image is fitted to 1e-6 and beyond: losses and residuals must keep their digits."""
    x, y = clouds(40, 30, 3, dtype=np.float32)
    x = x + 30 * np.eye(3, 30, dtype=np.float32)[y]
    wide = x.astype(np.float64)
    best = objective(*plain_fit(wide - wide.mean(0), y, c)[:2], wide - wide.mean(0), y, c)
    for features, tolerance in ((x, 1e-6), (wide, 1e-8)):
        (fit,) = fit_path(features, y, 3, [c], tolerance=tolerance, max_iterations=3000)
        assert fit.converged
        ours = objective(fit.coefficients, fit.intercept, wide, y, c)
        assert fit.objective == pytest.approx(ours, rel=1e-5)
        assert ours <= best * (1 + 2 * tolerance)


def test_too_few_iterations_are_reported():
    x, y = clouds(200, 20, 5)
    (fit,) = fit_path(x, y, 5, [10.0], max_iterations=2)
    assert (fit.stopped, fit.iterations, fit.converged) == ("iterations", 2, False)
    assert fit.gap > 1e-6


def test_float32_at_condition_1e8_is_as_good_as_float64():
    """The common column of 1e3 turns into an axis of its own before anything is rounded."""
    rng = np.random.default_rng(0)
    x, y = clouds(200, 30, 4, dtype=np.float32)
    x = (x + 1e3 * rng.normal(0, 1, (200, 1))).astype(np.float32)
    (narrow,) = fit_path(x, y, 4, [1e3])
    best = objective(*plain_fit(x - x.mean(0, dtype=np.float64), y, 1e3)[:2], x - x.mean(0), y, 1e3)
    assert narrow.converged
    assert narrow.objective <= best * (1 + 1e-6)


def test_the_limit_of_float32_is_reported():
    x, y = clouds(200, 30, 4, dtype=np.float32)
    (fit,) = fit_path(x, y, 4, [1e3], tolerance=1e-14)
    assert fit.stopped == "precision"
    assert not fit.converged
    assert fit.gap > 1e-14
    assert fit.iterations < 1000


@pytest.mark.parametrize("c", [1e-15, 1e-9, 1e-6])
def test_a_tiny_c_is_fitted_too(c):
    """W tends to C times the gradient at 0, whose objective differs from that of 0 by nothing."""
    x, y = clouds(150, 10, 3)
    (fit,) = fit_path(x, y, 3, [c])
    assert fit.converged
    residual = np.bincount(y) / len(y) - np.eye(3)[y]
    expected = -c * residual.T @ (x - x.mean(0))
    np.testing.assert_allclose(
        fit.coefficients, expected, rtol=0.01, atol=2e-3 * abs(expected).max()
    )


def test_badly_scaled_features_cost_few_iterations():
    """The point of the first inverse Hessian: six decades of scale, as cheap as none."""
    x, y = clouds(400, 20, 4)
    (fit,) = fit_path(x * np.logspace(-3, 3, 20), y, 4, [1e-3], max_iterations=60)
    assert fit.converged


def test_float32_features_are_never_widened(monkeypatch):
    seen = set()
    original = SoftmaxLoss.derivatives

    def recording(self, point):
        seen.update((point.logits.dtype, point.residual.dtype))
        return original(self, point)

    monkeypatch.setattr(SoftmaxLoss, "derivatives", recording)
    x, y = clouds(100, 12, 4, dtype=np.float32)
    fit_path(x, y, 4, np.logspace(-3, 3, 7))  # NumPy scalars
    assert seen == {np.dtype(np.float32)}


def interlocked(dtype=np.float64):
    """Each class spreads along axes of its own, as behind a ReLU; the spectrum falls steeply."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 400)
    x = rng.normal(0, 1, (400, 30)) + rng.normal(0, 1, (5, 30))[y]
    return (np.maximum(x, 0) ** 3 * np.logspace(0, -3, 30)).astype(dtype), y


@pytest.mark.parametrize("classes", [5, 2])
def test_blocks_are_those_of_the_hessian(classes):
    x, y = interlocked()
    y = y % classes
    loss = SoftmaxLoss(x, y, classes)
    rng = np.random.default_rng(1)
    point = loss.at(rng.normal(0, 1, (classes, len(loss.squares))))
    leading = 9
    blocks = loss.class_blocks(point, leading)
    for k in range(classes):
        for j in range(leading):
            direction = np.zeros((classes, len(loss.squares)))
            direction[k, j] = 1
            product = loss.curvature_times(loss.derivatives(point), direction)
            scale = np.abs(blocks[k]).max()
            np.testing.assert_allclose(blocks[k, j], product[k, :leading], atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_save_most_iterations_where_classes_and_images_interlock(dtype, monkeypatch):
    x, y = interlocked(dtype)
    cs = [1.0, 1e2, 1e4]
    fits = fit_path(x, y, 5, cs)
    monkeypatch.setattr(newton, "THIN", 1e-12)  # blocks never pay
    plain = fit_path(x.astype(np.float64), y, 5, cs, tolerance=1e-8, max_iterations=10_000)
    assert sum(fit.iterations for fit in fits) < sum(fit.iterations for fit in plain) / 5
    for fit, best in zip(fits, plain, strict=True):
        assert fit.converged
        assert fit.objective <= best.objective * (1 + 2e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (8, 30)])
def test_products_with_the_hessian_are_differences_of_gradients(n, d):
    x, y = clouds(n, d, 3)
    loss = SoftmaxLoss(x, y, 3)
    rng = np.random.default_rng(1)
    weights, step = 0.1 * rng.normal(0, 1, (2, 3, len(loss.squares)))
    gradients = [loss.derivatives(loss.at(weights + t * step)).gradient for t in (1e-5, -1e-5)]
    here = loss.derivatives(loss.at(weights))
    expected = (gradients[0] - gradients[1]) / 2e-5
    np.testing.assert_allclose(
        loss.curvature_times(here, step), expected, atol=1e-5 * np.abs(expected).max()
    )


def test_the_axes_change_nothing():
    x, y = clouds(50, 8, 3)
    loss = SoftmaxLoss(x, y, 3)
    weights = np.random.default_rng(0).normal(0, 1, (3, 9))
    coefficients, intercept = loss.from_axes(weights)
    np.testing.assert_allclose(
        loss.at(weights).logits, coefficients @ x.T + intercept[:, None], atol=1e-10
    )
    np.testing.assert_allclose(np.square(coefficients).sum(), np.square(weights[:, 1:]).sum())


@pytest.mark.parametrize("seed", range(4))
def test_rounding_does_not_move_what_all_classes_share(seed):
    """In float32 the Hessian's null axis, one number more for all classes, has some curvature."""
    rng = np.random.default_rng(seed)
    y = np.arange(700) % 10
    x = (rng.normal(0, 1, (700, 100)) + rng.normal(0, 0.3, (10, 100))[y]).astype(np.float32)
    cs = [1e-6, 1e-4, 1e-2, 1.0]
    exact = fit_path(x.astype(np.float64), y, 10, cs, tolerance=1e-10)
    for fit, best in zip(fit_path(x, y, 10, cs, tolerance=1e-4), exact, strict=True):
        assert fit.converged
        assert fit.objective <= best.objective * (1 + 1e-4)
        assert fit.iterations <= 60
        assert np.abs(fit.intercept).max() <= 2 * np.abs(best.intercept).max() + 1e-3


def test_float16_extremes_are_fitted():
    x, y = clouds(50, 6, 3)
    x = (x * 2e4).clip(-65504, 65504).astype(np.float16).astype(np.float32)
    for fit in fit_path(x, y, 3, [1e-12, 1e-10]):
        assert fit.converged
        assert np.isfinite(log_probabilities(fit, x)).all()


def test_the_number_of_threads_changes_nothing_that_matters():
    x, y = clouds(300, 40, 4, dtype=np.float32)
    fits = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads):
            fits.append(fit_path(x, y, 4, CS)[-1])
    assert fits[0].objective == pytest.approx(fits[1].objective, rel=2e-6)


@pytest.mark.slow  # the import of torch
@pytest.mark.parametrize("easy", [newton.EASY, 0])
def test_torch_on_a_cpu_agrees_with_numpy(easy, monkeypatch):
    monkeypatch.setattr(newton, "EASY", easy)
    torch = pytest.importorskip("torch")
    x, y = clouds(100, 12, 4)
    ours = fit_path(x, y, 4, CS, tolerance=TIGHT)
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    for fit, other in zip(ours, fit_path(*tensors, 4, CS, tolerance=TIGHT), strict=True):
        assert isinstance(other.coefficients, np.ndarray)
        np.testing.assert_allclose(other.coefficients, fit.coefficients, atol=1e-5)
        assert other.objective == pytest.approx(fit.objective, rel=1e-11)
        np.testing.assert_allclose(
            decision(fit, tensors[0]).numpy(), decision(fit, x), rtol=1e-9, atol=1e-9
        )


@pytest.mark.slow  # the import of torch
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_in_torch_agree_with_numpys(dtype):
    torch = pytest.importorskip("torch")
    x, y = interlocked(dtype)
    cs = [1.0, 1e2, 1e4]
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    ours, theirs = fit_path(x, y, 5, cs), fit_path(*tensors, 5, cs)
    for fit, other in zip(ours, theirs, strict=True):
        assert other.converged
        assert other.objective == pytest.approx(fit.objective, rel=5e-6)
        assert other.iterations < 2 * fit.iterations + 20


def test_numpy_features_do_not_import_torch():
    code = (
        "import sys, numpy as np; from pipeline.heads.logistic import LogisticPath;"
        "LogisticPath(np.eye(4), np.array([0, 1, 0, 1]), 2).fit(1.0);"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y: (np.where(x == x.max(), np.nan, x), y), "NaN or infinity"),
        (lambda x, y: (x, y * 0), "nothing to tell apart"),
        (lambda x, y: (x, y + 1), "outside the label space"),
        (lambda x, y: (x, y - 1), "outside the label space"),
    ],
)
def test_what_cannot_be_fitted_is_explained(change, match):
    with pytest.raises(ProbelineError, match=match):
        fit_path(*change(*clouds(10, 3, 2)), 2, [1.0])


@pytest.mark.parametrize("labels", [[0, 0, 1, 0, 1], [0, 0, 0, 1, 1], [0, 1, 2, 2, 1, 0, 2]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_features_give_the_classes_shares(labels, dtype):
    """Whatever the labels' order: the gradient at the start is rounding alone."""
    y = np.array(labels)
    fits = fit_path(np.full((len(y), 1), 5, dtype), y, y.max() + 1, [1e-4, 1.0], max_iterations=9)
    for fit in fits:
        assert fit.converged
        odds = np.exp(fit.intercept)
        np.testing.assert_allclose(odds / odds.sum(), np.bincount(y) / len(y), atol=1e-6)
        np.testing.assert_array_equal(fit.coefficients, 0)
