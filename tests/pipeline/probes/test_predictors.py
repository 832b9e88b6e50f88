"""Transferability metrics against direct computations from their papers' formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.covariance import LedoitWolf

from pipeline.probes import class_moments as moments_module
from pipeline.probes.class_moments import parts_of
from pipeline.probes.predictor_formulas import (
    alignment,
    alpha_req,
    cdnv,
    h_score,
    logme,
    logme_published,
    nc1,
    rankme,
    uniformity,
)
from pipeline.probes.predictors import PREDICTORS, Data
from pipeline.probes.reading import subsample
from pipeline.probes.similarity import label_cka

NAMES = ["rankme", "alpha_req", "h_score", "logme", "logme_published", "cdnv", "nc1", "uniformity",
         "alignment", "label_cka"]  # fmt: skip


def clouds(seed: int = 0, n: int = 60, d: int = 8, classes: int = 4, offset: float = 2.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    centres = rng.normal(0, 1, (classes, d))
    features = centres[labels] + rng.normal(0, 1, (n, d)) * np.linspace(0.2, 2, d) + offset
    return features.astype(np.float32), labels


def class_moments(features, labels):
    return moments_module.class_moments(parts_of(features), labels)


def predict(features, labels, views=(), seed=0):
    """Every predictor by name."""
    held = [parts_of(view) for view in views]
    data = Data(labels, parts_of(features), features.__getitem__, held, seed)
    return {name: predictor(data) for name, predictor in PREDICTORS.items()}


def rotation(d: int) -> np.ndarray:
    return stats.ortho_group.rvs(d, random_state=3)


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 1 << 26])
def test_moments_equal_plain_sums_whatever_the_chunks(chunk_bytes, monkeypatch):
    monkeypatch.setattr(moments_module, "PART_BYTES", chunk_bytes)
    x, y = clouds()
    y = y * 3 + 1  # absent classes between
    m, exact = class_moments(x, y), x.astype(np.float64)
    np.testing.assert_allclose(m.scatter, np.cov(exact.T, bias=True) * len(x), rtol=1e-10)
    assert m.fourth == pytest.approx(np.sum(np.linalg.norm(exact - exact.mean(0), axis=1) ** 4))
    for i, c in enumerate(np.unique(y)):
        np.testing.assert_allclose(m.mean + m.class_means[i], exact[y == c].mean(0), rtol=1e-10)
        assert m.squares[i] == pytest.approx(np.square(exact[y == c] - exact.mean(0)).sum())


@pytest.mark.parametrize(("n", "d"), [(60, 8), (8, 60), (1, 5), (30, 1)])
def test_rankme_equals_numpys_svd(n, d):
    x, _ = clouds(n=n, d=d)
    sigma = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    assert rankme(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)


def test_rankme_of_planted_spectra():
    basis = rotation(12)
    for rank in (1, 5, 12):
        values = np.r_[np.ones(rank), np.zeros(12 - rank)]
        assert rankme(basis * values) == pytest.approx(rank, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.3])
def test_alpha_req_finds_a_planted_power_law(alpha):
    ranks = np.arange(1, 301)
    assert alpha_req(np.random.default_rng(0).permutation(ranks**-alpha)) == pytest.approx(alpha)
    noisy = ranks**-alpha * np.exp(np.random.default_rng(1).normal(0, 0.2, 300))
    ordered = np.sort(noisy)[::-1]
    slope, _ = np.polyfit(
        np.log(ranks[3:100]), np.log(ordered[3:100]), 1, w=1 / np.sqrt(ranks[3:100])
    )
    assert alpha_req(noisy) == pytest.approx(-slope)


@pytest.mark.parametrize("n", [12, 60, 400])
def test_h_score_equals_scikit_learns_shrinkage(n):
    x, y = clouds(n=n, d=15)
    exact = x.astype(np.float64)
    fit = LedoitWolf().fit(exact)
    means = np.stack([exact[y == c].mean(0) for c in range(4)])[y]
    between = np.cov(means.T, bias=True)
    expected = np.trace(np.linalg.inv(fit.covariance_) @ between) * (1 - fit.shrinkage_)
    assert h_score(class_moments(x, y)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 30)])
def test_logme_is_the_maximum_of_the_evidence(n, d):
    x, y = clouds(n=n, d=d, classes=3)
    exact = x.astype(np.float64)
    best = []
    for c in range(3):
        target = (y == c).astype(float)

        def negative(log_precisions, target=target):
            a, b = np.exp(log_precisions)
            marginal = stats.multivariate_normal(
                np.zeros(n), np.eye(n) / b + exact @ exact.T / a, allow_singular=True
            )
            return -marginal.logpdf(target) / n

        grid = itertools.product(np.linspace(-4, 10, 8), np.linspace(-2, 8, 6))
        start = min(grid, key=negative)
        found = optimize.minimize(negative, start, method="Nelder-Mead",
                                  options={"xatol": 1e-7, "fatol": 1e-12})  # fmt: skip
        best.append(-found.fun)
    assert logme(class_moments(x, y)) == pytest.approx(np.mean(best), abs=1e-6)


def published(features, labels) -> float:
    """LogME by the equations of arXiv 2102.11005 with dense matrices, its code's steps and 1e-5."""
    n, d = features.shape
    f, gram, each = features.astype(np.float64), None, []
    gram = f.T @ f
    values = np.clip(np.linalg.eigvalsh(gram), 0, None)
    for c in np.unique(labels):
        y = (labels == c).astype(float)
        a = b = 1.0
        for _ in range(11):
            ratio = a / b
            m = np.linalg.solve(a * np.eye(d) + b * gram, b * f.T @ y)
            gamma = (values / (values + ratio)).sum()
            size, residual = m @ m + 1e-5, np.square(f @ m - y).sum() + 1e-5
            a, b = gamma / size, (n - gamma) / residual
            if abs(a / b - ratio) / ratio < 0.01:
                break
        _, logdet = np.linalg.slogdet(a * np.eye(d) + b * gram)
        each.append((n * np.log(b) + d * np.log(a) - n * np.log(2 * np.pi)
                     - b * residual - a * size - logdet) / 2 / n)  # fmt: skip
    return float(np.mean(each))


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 30), (12, 200)])
def test_published_logme_is_its_authors_loop(n, d):
    x, y = clouds(n=n, d=d, classes=3)
    assert logme_published(class_moments(x, y)) == pytest.approx(published(x, y), rel=1e-6)


def test_published_logme_is_defined_where_the_fixed_point_runs_off():
    """Wide features of few images fit the labels exactly: 3 of 10 real cells were like that."""
    x, y = clouds(n=12, d=200, classes=3)
    moments = class_moments(x, y)
    assert np.isnan(logme(moments))
    assert np.isfinite(logme_published(moments))
    x, y = clouds(n=400, d=8, classes=3)
    moments = class_moments(x, y)
    assert logme_published(moments) == pytest.approx(logme(moments), abs=1e-3)


def test_collapse_equals_plain_loops():
    x, y = clouds(n=61, classes=5)
    x, y = np.r_[x, [[50.0] * 8]].astype(np.float32), np.r_[y, 5]  # class 5: one image, left out
    exact = x.astype(np.float64)
    groups = [exact[y == c] for c in range(5)]
    pairs = []
    for a, b in itertools.combinations(groups, 2):
        variances = [np.square(g - g.mean(0)).sum(1).mean() for g in (a, b)]
        pairs.append(sum(variances) / 2 / np.square(a.mean(0) - b.mean(0)).sum())
    moments = class_moments(x, y)
    assert cdnv(moments) == pytest.approx(np.mean(pairs))
    within = sum((g - g.mean(0)).T @ (g - g.mean(0)) for g in groups) / 61
    means = np.stack([g.mean(0) for g in groups])
    between = np.cov(means.T, bias=True)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 5
    assert nc1(moments) == pytest.approx(expected)
    told = predict(x, y)
    assert "1 class of one image left out" in told["cdnv"].reason
    assert told["nc1"].rows == 61


def test_uniformity_and_alignment_equal_plain_loops():
    x, _ = clouds(n=30)
    other, _ = clouds(5, n=30)
    third = -x
    units = [v / np.linalg.norm(v.astype(np.float64), axis=1)[:, None] for v in (x, other, third)]
    pairs = itertools.permutations(units[0], 2)
    expected = np.log(np.mean([np.exp(-2 * np.square(a - b).sum()) for a, b in pairs]))
    assert uniformity(x) == pytest.approx(expected, rel=1e-5)
    gaps = [np.square(a - b).sum(1).mean() for a, b in itertools.combinations(units, 2)]
    views = (x, other, third)
    for cuts in ([0, 30], [0, 1, 20, 30]):
        parts = [tuple(v[a:b] for v in views) for a, b in itertools.pairwise(cuts)]
        assert alignment(parts) == pytest.approx(np.mean(gaps), rel=1e-5)
    assert alignment([(x, x * 3)]) == pytest.approx(0, abs=1e-10)
    assert np.isnan(alignment([(x,)]))


def direct_hsic(k: np.ndarray, ell: np.ndarray) -> float:
    """The U-statistic over all ordered quadruples, as Song et al. define it."""
    n, total = len(k), 0.0
    for i, j, q, r in itertools.permutations(range(n), 4):
        total += k[i, j] * (ell[i, j] + ell[q, r] - 2 * ell[i, q])
    return total / (n * (n - 1) * (n - 2) * (n - 3))


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_label_cka_equals_the_u_statistic(classes):
    x, y = clouds(n=9, d=4, classes=classes)
    exact = x.astype(np.float64)
    k, ell = exact @ exact.T, (y[:, None] == y).astype(float)
    found = label_cka(class_moments(x, y))
    if classes == 9:  # no two images share a class
        assert np.isnan(found)
        return
    expected = direct_hsic(k, ell) / np.sqrt(direct_hsic(k, k) * direct_hsic(ell, ell))
    assert found == pytest.approx(expected, rel=1e-8)


def test_label_cka_of_independent_features_is_about_zero_and_of_the_labels_one():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 8
    independent = [label_cka(class_moments(rng.normal(size=(40, 60)), y)) for _ in range(200)]
    spread = np.std(independent) / np.sqrt(200)
    assert abs(np.mean(independent)) < 4 * spread  # plain CKA would say about 0.3
    assert label_cka(class_moments(7 * np.eye(8)[y] + 100, y)) == pytest.approx(1)


def test_what_rotation_and_scale_do_not_change():
    x, y = clouds(n=200)
    turned = x.astype(np.float64) @ rotation(8)
    first, second = ({k: p.value for k, p in predict(v, y, [v, v]).items()} for v in (x, turned))
    for name in NAMES:
        assert first[name] == pytest.approx(second[name], rel=1e-4, abs=1e-4), name
    scaled = {k: p.value for k, p in predict(turned * 5, y).items()}
    for name in set(NAMES) - {"alignment", "logme_published"}:  # its 1e-5 has a scale
        assert scaled[name] == pytest.approx(second[name], rel=1e-4, abs=1e-4), name


def test_signs_point_to_the_better_separated_model():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 40)
    noise, centres = rng.normal(size=(200, 10)), rng.normal(size=(5, 10))
    good, bad = (predict(noise + s * centres[y], y) for s in (3, 0.3))
    for name in ("h_score", "logme", "logme_published", "cdnv", "nc1", "label_cka"):
        assert good[name].promise > bad[name].promise, name


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 20),
    d=st.integers(1, 12),
    classes=st.integers(1, 20),
    kind=st.sampled_from(["normal", "constant", "zero", "one constant column", "separated"]),
)
def test_every_predictor_is_finite_or_says_why(n, d, classes, kind):
    rng = np.random.default_rng(n + 100 * d)
    x = rng.normal(0, 1, (n, d)).astype(np.float32)
    y = rng.integers(0, classes, n)
    if kind in ("constant", "zero"):
        x[:] = 3.1 if kind == "constant" else 0
    elif kind == "separated":
        x[:] = y[:, np.newaxis] * 10
    else:
        x[:, 0] = 5
    found = predict(x, y, seed=1)
    assert list(found) == NAMES
    for p in found.values():
        assert np.isfinite(p.value) == np.isfinite(p.promise)
        assert np.isfinite(p.value) or p.reason, p
    assert repr(found) == repr(predict(x, y, seed=1))


def test_subsamples_are_seeded_ordered_and_without_repeats():
    rows = subsample(1000, 50, 3)
    assert (np.diff(rows) > 0).all()
    assert len(rows) == 50
    np.testing.assert_array_equal(rows, subsample(1000, 50, 3))
    assert (rows != subsample(1000, 50, 4)).any()
    np.testing.assert_array_equal(subsample(5, 50, 0), np.arange(5))
