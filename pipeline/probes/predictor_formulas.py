"""Formulas of the transferability metrics: spectra, class scatter, evidence, uniformity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.normalization import unit_length
from pipeline.probes.class_moments import ClassMoments, parts_of

Floats = NDArray[np.floating]
Spectrum = NDArray[np.float64]

RANKME_EPSILON = 1e-7
ALPHA_RANKS = (4, 100)
LOGME_ITERATIONS = 1_000
LOGME_TOLERANCE = 1e-10
PUBLISHED_STEPS, PUBLISHED_TOLERANCE, PUBLISHED_EPSILON = 11, 0.01, 1e-5
"""Of the code that LogME's authors published (github.com/thuml/LogME, ICML 2021)."""


def rankme(features: Floats) -> float:
    """Effective rank of an uncentred feature matrix (Garrido et al. 2023, arXiv 2210.02885).

    exp(-Σ pₖ log pₖ), pₖ = σₖ / Σσ + 1e-7, over min(n, d) singular values. They are taken from
    the smaller Gram matrix, whose error of 1e-8 σ₁ is below that 1e-7. NaN for a matrix of zeros.
    """
    if len(features) >= features.shape[1]:
        gram = np.zeros((features.shape[1],) * 2)
        for part in parts_of(features)():
            exact = part.astype(np.float64)
            gram += exact.T @ exact
    else:
        rows = features.astype(np.float64)
        gram = rows @ rows.T
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    if not singular.sum() > 0:
        return float("nan")
    share = singular / singular.sum() + RANKME_EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))


def alpha_req(eigenvalues: Spectrum) -> float:
    """Decay α of a covariance spectrum λᵣ ∝ r^-α (Agrawal et al. 2022, NeurIPS, "α-ReQ").

    Least squares of log λ on log r with weights 1/r over ranks 4 to 100, a range of our own: the
    paper leaves it open, and public re-implementations begin at rank 11. NaN with fewer than two
    positive eigenvalues there.
    """
    ordered = np.sort(eigenvalues)[::-1]
    ordered = ordered[ordered > _negligible(ordered)]
    first, last = ALPHA_RANKS
    ranks = np.arange(first, min(last, len(ordered)) + 1)
    if len(ranks) < 2:
        return float("nan")
    x, y, weight = np.log(ranks), np.log(ordered[ranks - 1]), 1 / ranks
    x = x - np.average(x, weights=weight)
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


def h_score(moments: ClassMoments) -> float:
    """H-score with shrunk covariance (Bao et al. 2019; Ibrahim et al. 2021, arXiv 2110.06893).

    tr(Σ_s⁻¹ (1 - s) Σ_z), Σ_s = (1 - s) Σ + s (tr Σ / d) I with Ledoit & Wolf's s, Σ_z the
    covariance of each row's class mean. NaN for features without spread.
    """
    n, width = moments.rows, len(moments.mean)
    covariance = moments.scatter / n
    scale = float(np.trace(covariance)) / width
    if not scale > 0:
        return float("nan")
    s = _shrinkage(moments)
    means = moments.class_means * np.sqrt(moments.counts / n)[:, np.newaxis]
    shrunk = (1 - s) * covariance + s * scale * np.eye(width)
    # A pseudo-inverse: with many rows s may be 0 beside a constant column.
    values, vectors = np.linalg.eigh(shrunk)
    kept = values > _negligible(values)
    seen = means @ vectors[:, kept]
    return float((1 - s) * (np.square(seen) / values[kept]).sum())


def _shrinkage(moments: ClassMoments) -> float:
    """Ledoit & Wolf (2004, J. Multivariate Anal. 88) from moments, for rows about their mean."""
    n, width = moments.rows, len(moments.mean)
    covariance = moments.scatter / n
    squares = float(np.square(covariance).sum())
    distance = squares - float(np.trace(covariance)) ** 2 / width
    noise = (moments.fourth / n - squares) / n
    return 1.0 if distance <= 0 else min(1.0, max(0.0, noise / distance))


def logme(moments: ClassMoments) -> float:
    """Log maximum evidence per image, mean over classes (You et al. 2021, arXiv 2102.11005).

    For each class's 0/1 labels y: weights N(0, 1/α) on the raw features F, noise N(0, 1/β);
    log p(y | F) = (n log β + d log α - n log 2π - β ‖Fm - y‖² - α ‖m‖² - log |αI + βFᵀF|) / 2,
    maximised by MacKay's fixed point α = γ / ‖m‖², β = (n - γ) / ‖Fm - y‖². NaN where the
    fixed point runs off (features that fit the labels exactly), for which `logme_published` has a
    number.
    """
    return _mean_evidence(moments, _evidence)


def logme_published(moments: ClassMoments) -> float:
    """LogME as its authors' code of 2021 computes it: at most 11 steps, and 1e-5 beside each norm.

    Equal to `logme` where the fixed point is reached by then, up to about that 1e-5; finite for
    features that fit the labels exactly, too. (The authors' later code, of arXiv 2110.10545, leaves
    (d - n) log α out of the determinant where features are wider than images are many.)
    """
    return _mean_evidence(moments, _evidence_published)


def _mean_evidence(
    moments: ClassMoments, evidence: Callable[[Spectrum, Spectrum, float, int, int], float]
) -> float:
    n, mean = moments.rows, moments.mean
    values, vectors = np.linalg.eigh(moments.scatter + n * np.outer(mean, mean))
    kept = values > _negligible(values)
    raw_sums = moments.sums + moments.counts[:, np.newaxis] * mean
    projected = np.square(raw_sums @ vectors[:, kept]) / values[kept]
    each = [
        evidence(values[kept], z, float(count), n, len(mean))
        for z, count in zip(projected, moments.counts, strict=True)
    ]
    return float(np.mean(each))


def _evidence(values: Spectrum, z: Spectrum, energy: float, n: int, width: int) -> float:
    """Maximal log evidence per image.

    Parameters
    ----------
    values : ndarray
        Positive eigenvalues s of FᵀF.
    z : ndarray
        Squared components of y along the matching left singular vectors.
    energy : float
        ‖y‖².
    n, width : int
        Shape of F.
    """
    alpha, beta, last = 1.0, 1.0, -np.inf
    outside = max(0.0, energy - float(z.sum()))
    for _ in range(LOGME_ITERATIONS):
        shrunk = alpha + beta * values
        gamma = float((beta * values / shrunk).sum())
        size = float((z * values * (beta / shrunk) ** 2).sum())
        residual = outside + float((z * (alpha / shrunk) ** 2).sum())
        if size * values.max(initial=0.0) <= 1e-12 * energy:  # α to infinity: nothing but noise
            return float(np.log(n / (2 * np.pi * energy)) - 1) / 2
        if residual <= 1e-12 * energy:
            return float("nan")
        evidence = (
            n * np.log(beta / (2 * np.pi))
            + width * np.log(alpha)
            - beta * residual
            - alpha * size
            - np.log(shrunk).sum()
            - (width - len(values)) * np.log(alpha)
        ) / (2 * n)
        if abs(evidence - last) <= LOGME_TOLERANCE * max(1.0, abs(evidence)):
            return float(evidence)
        last = evidence
        alpha, beta = gamma / size, (n - gamma) / residual
    return float(last)


def _evidence_published(values: Spectrum, z: Spectrum, energy: float, n: int, width: int) -> float:
    """The log evidence per image after the published steps; parameters as of `_evidence`."""
    alpha = beta = 1.0
    outside, size, residual = max(0.0, energy - float(z.sum())), 0.0, 0.0
    for _ in range(PUBLISHED_STEPS):
        before = alpha / beta
        shrunk = alpha + beta * values
        gamma = float((values / (values + before)).sum())
        size = float((z * values * (beta / shrunk) ** 2).sum()) + PUBLISHED_EPSILON
        residual = outside + float((z * (alpha / shrunk) ** 2).sum()) + PUBLISHED_EPSILON
        alpha, beta = gamma / size, (n - gamma) / residual
        if not (alpha > 0 and beta > 0):
            return float("nan")
        if abs(alpha / beta - before) / before < PUBLISHED_TOLERANCE:
            break
    evidence = (
        n * np.log(beta / (2 * np.pi))
        + len(values) * np.log(alpha)
        - np.log(alpha + beta * values).sum()
        - beta * residual
        - alpha * size
    ) / (2 * n)
    return float(evidence)


def cdnv(moments: ClassMoments) -> float:
    """Class-distance normalised variance (Galanti, György & Hutter 2022, arXiv 2112.15121).

    Mean over pairs of classes of (Varᵢ + Varⱼ) / (2 ‖μᵢ - μⱼ‖²), Var = E ‖x - μ‖², over classes
    of two images or more. NaN with fewer than two of them, infinite where two means coincide.
    """
    kept = moments.counts > 1
    if kept.sum() < 2:
        return float("nan")
    means, counts = moments.class_means[kept], moments.counts[kept]
    variance = moments.squares[kept] / counts - np.square(means).sum(axis=1)
    variance = np.clip(variance, 0, None)
    total = 0.0
    for i in range(len(means) - 1):
        apart = np.square(means[i + 1 :] - means[i]).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            total += float(((variance[i] + variance[i + 1 :]) / (2 * apart)).sum())
    return total / (len(means) * (len(means) - 1) / 2)


def nc1(moments: ClassMoments) -> float:
    """Within-class collapse, tr(Σ_W Σ_B⁺) / C (Papyan, Han & Donoho 2020, PNAS 117).

    Σ_W is the covariance within classes over rows, Σ_B that of the C class means about their own
    mean, over classes of two images or more. NaN with fewer than two of them or equal means.
    """
    kept = moments.counts > 1
    if kept.sum() < 2:
        return float("nan")
    means, counts = moments.class_means, moments.counts
    # A class of one image is its own mean, and adds nothing to the scatter within classes.
    within = (moments.scatter - (means * counts[:, np.newaxis]).T @ means) / counts[kept].sum()
    between = means[kept] - means[kept].mean(axis=0)
    _, singular, vectors = np.linalg.svd(between / np.sqrt(kept.sum()), full_matrices=False)
    real = singular > singular.max() * max(between.shape) * np.finfo(np.float64).eps
    if not singular.max() > 0:
        return float("nan")
    seen = np.einsum("ij,jk,ik->i", vectors[real], within, vectors[real])
    return float((np.clip(seen, 0, None) / np.square(singular[real])).sum() / kept.sum())


def uniformity(features: Floats) -> float:
    """Log E exp(-2 ‖x - y‖²) over pairs of different rows of length 1 (Wang & Isola 2020).

    NaN with fewer than two rows.
    """
    (rows,) = unit_length(features)
    n, total = len(rows), 0.0
    if n < 2:
        return float("nan")
    norms = np.square(rows, dtype=np.float64).sum(axis=1)
    for start in range(0, n, 512):
        part = slice(start, min(start + 512, n))
        squared = norms[part, np.newaxis] + norms - 2.0 * (rows[part] @ rows.T)
        total += float(np.exp(-2 * np.clip(squared, 0, None)).sum())
    return float(np.log((total - n) / (n * (n - 1)))) if total > n else float("-inf")


def alignment(parts: Iterable[Sequence[Floats]]) -> float:
    """E ‖x - x'‖² over pairs of views of an image, rows of length 1 (Wang & Isola 2020).

    NaN with fewer than two views.

    Parameters
    ----------
    parts : iterable of sequence of ndarray
        The same rows of every view, some rows at a time.
    """
    total, pairs = 0.0, 0
    for views in parts:
        for a, b in combinations(unit_length(*views), 2):
            total += float(np.square(a - b, dtype=np.float64).sum())
            pairs += len(a)
    return total / pairs if pairs else float("nan")


def _negligible(eigenvalues: Spectrum) -> float:
    """Below this an eigenvalue is rounding."""
    top = float(eigenvalues.max(initial=0.0))
    return top * len(eigenvalues) * float(np.finfo(np.float64).eps)
