"""What a tie costs: how far each model may lie behind the best, and which images would tell."""

from __future__ import annotations

import numpy as np
import scipy

from pipeline.statistics.arrays import Floats, Mask

_HALVINGS = 30
"""Of the interval in which a limit lies: to 1e-9."""

_BLOCK = 8_192
"""Limits that are found at once: they stay near the processor."""

POWER = 0.8
"""With which a difference as large as the margin shall be found."""


def upper_limit(difference: Floats, error: Floats, critical: Floats, images: int) -> Floats:
    """Upper confidence limit of differences of two scores: Tango's score limit.

    The largest Δ whose score test is not rejected, with the error that the difference would have
    if Δ were true: d + c·e is too narrow near 100%, and of models that agree on every image it
    says that they are equal (this: c²/(n + c²)). Where images are no hits or misses, those that
    one model alone has right are such that the error comes out.

    Parameters
    ----------
    difference, error : ndarray
        Observed, and their standard errors.
    critical : ndarray
        Of the score test, above 0.
    images : int

    Returns
    -------
    ndarray
        At most 1.

    References
    ----------
    Tango 1998, Statistics in Medicine 17.
    """
    given = np.broadcast_arrays(difference, error, critical)
    parts = [np.asarray(of, np.float64).ravel() for of in given]
    found = np.empty(parts[0].shape)
    for start in range(0, len(found), _BLOCK):
        block = slice(start, start + _BLOCK)
        of_difference, of_error, of_critical = (of[block] for of in parts)
        found[block] = _limits(of_difference, of_error, of_critical, images)
    return found.reshape(given[0].shape)


def _limits(difference: Floats, error: Floats, critical: Floats, images: int) -> Floats:
    n = float(images)
    discordant = np.maximum((n - 1) * np.square(error) + np.square(difference), abs(difference))
    won, lost = (discordant + difference) * n / 2, (discordant - difference) * n / 2
    low, high = difference, np.ones(difference.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The share of images that the other one alone has right: most likely, given the middle.
        b = (2 * n - won + lost) * middle - won - lost
        square = np.square(b) + 8 * n * lost * middle * (1 - middle)
        other = (np.sqrt(np.maximum(square, 0)) - b) / (4 * n)
        variance = (2 * other + middle * (1 - middle)) / n
        inside = np.square(middle - difference) <= np.square(critical) * variance
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def farthest_behind(ahead: Floats, best: Mask, images: int) -> Floats:
    """Upper limit of how far each model lies behind the best (Hsu 1981, 1996).

    Who is the best is not known: it is the largest over all that may be. Nobody is a candidate
    whom another beats: if the true best one were, its own limits would have failed, too.

    Parameters
    ----------
    ahead : ndarray of shape (n_models, n_models)
        Upper limit of by how much the row's model is ahead of the column's; those of a row hold
        together.
    best : ndarray of shape (n_models,), bool
        Who is within chance of the best.
    images : int

    Returns
    -------
    ndarray of shape (n_models,)
        0 of a model that alone is within chance of the best. With several, at least one image, as
        far as which the test set can tell.
    """
    limits = np.where(best[:, np.newaxis] & ~np.eye(len(best), dtype=bool), ahead, 0.0)
    farthest = np.maximum(limits.max(axis=0), 1 / images)
    alone = best & (best.sum() == 1)
    found: Floats = np.where(alone, 0.0, farthest)
    return found


def images_to_tell(
    difference: Floats, error: Floats, images: int, margin: float, confidence: float
) -> Floats:
    """Test images with which a model that lies `margin` behind the best is told from it.

    The test is McNemar's, corrected for the number of all pairs (Bonferroni), as who is within
    chance of the best is told by all pairs together; it succeeds in `POWER` of cases. The
    difference is not the observed one, which is too large by luck, as the best was chosen by it.

    Parameters
    ----------
    difference, error : ndarray of shape (n_others,)
        Of the best model's score and each other one's.
    images : int
        Of which the errors are.
    margin : float
    confidence : float

    Returns
    -------
    ndarray of shape (n_others,)

    References
    ----------
    Connor 1987, Biometrics 43: n = (z_α + z_β)² (p10 + p01 - δ²) / δ².
    """
    share = share_of_error(len(difference) + 1, confidence)
    z = scipy.stats.norm.isf(share / 2) + scipy.stats.norm.ppf(POWER)
    discordant = (images - 1) * np.square(error) + np.square(difference)
    # A true difference of δ takes at least δ of the images.
    spread = np.maximum(discordant, margin) - margin**2
    needed: Floats = np.ceil(z**2 * spread / margin**2)
    return needed


def share_of_error(models: int, confidence: float) -> float:
    """What each of all pairs of models may use of the error, by Bonferroni."""
    return (1 - confidence) / max(models * (models - 1) // 2, 1)
