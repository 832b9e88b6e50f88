"""What a tie costs: how far each model may lie behind the best, and which images would tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

POWER = 0.8
"""With which a difference as large as the margin shall be found."""


def upper_limit(difference: Floats, error: Floats, critical: Floats, images: int) -> Floats:
    """Upper confidence limit of differences of two scores, also where hardly any image differs.

    The larger one of d + c·e and of what Wilson's limit (1927) says of images that one model alone
    has right: c²/(n + c²) where the two agree on every image, whose error is 0.

    Parameters
    ----------
    difference, error : ndarray
        Observed, and their standard errors.
    critical : ndarray
        How many standard errors wide.
    images : int

    Returns
    -------
    ndarray
        At most 1.
    """
    k = np.square(critical) / images
    middle = 2 * difference + k  # (x - d)² = k·x·(1 - x)
    square = np.square(middle) - 4 * (1 + k) * np.square(difference)
    wilson = np.where(square >= 0, middle + np.sqrt(np.maximum(square, 0)), -np.inf) / (2 + 2 * k)
    limit: Floats = np.minimum(np.maximum(difference + critical * error, wilson), 1.0)
    return limit


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

    The test is McNemar's of each model against the best, corrected for their number (Bonferroni);
    it succeeds in `POWER` of cases. The difference is not the observed one, which is too large by
    luck, as the best was chosen by it.

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
    z = stats.norm.isf((1 - confidence) / 2 / max(len(difference), 1)) + stats.norm.ppf(POWER)
    discordant = (images - 1) * np.square(error) + np.square(difference)
    # A true difference of δ takes at least δ of the images.
    spread = np.maximum(discordant, margin) - margin**2
    needed: Floats = np.ceil(z**2 * spread / margin**2)
    return needed
