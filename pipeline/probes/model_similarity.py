"""Debiased linear CKA between models: how alike they place the same test images.

With K the Gram matrix of one model's features over n >= 4 images, its diagonal set to 0, and

    K' = K - row sums/(n-2) - column sums/(n-2) + total/((n-1)(n-2))    off the diagonal, 0 on it

HSIC without bias (Song et al. 2012, JMLR 13, eq. 4) is <K', L'> / (n (n-3)) (Székely & Rizzo 2014),
so CKA is the cosine of the angle between two models' K', as vectors. A model's n (n-1) / 2 numbers
are made once; no pair needs its features again. It is about 0 for unrelated models, may come out
negative, and does not depend on rotation, shift or scale of the features (Kornblith et al. 2019).

Being without bias, it may be taken on a sample of the images: `IMAGES` of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

IMAGES = 1_024
"""Test images that are compared, 4 MB a model; a seeded draw where there are more."""

ROUNDING = 1e-10
"""Below this share of the Gram matrix, what is left of it is rounding: features without spread."""


def similarity_map(features: Iterable[NDArray[np.floating]]) -> Floats:
    """CKA of every model with every other.

    Parameters
    ----------
    features : iterable of ndarray of shape (n_images, n_features)
        Of the same images in the same order; the models may differ in their number of features.
        Each is let go before the next one is asked for.

    Returns
    -------
    ndarray of shape (n_models, n_models)
        NaN for a model whose features have no spread, and below four images.
    """
    vectors = np.stack([centred_gram(values) for values in features])
    cka: Floats = np.clip(vectors @ vectors.T, -1, 1)
    return cka


def centred_gram(features: NDArray[np.floating]) -> Floats:
    """A model's K' above the diagonal, with length 1.

    Parameters
    ----------
    features : ndarray of shape (n_images, n_features)

    Returns
    -------
    ndarray of shape (n_images (n_images - 1) / 2,)
        NaN where undefined.
    """
    n = len(features)
    upper = np.triu_indices(n, 1)
    if n < 4:
        return np.full(len(upper[0]), np.nan)
    values = features.astype(np.float64)
    values -= values.mean(axis=0)  # changes nothing but the rounding
    gram = values @ values.T
    size = float(np.linalg.norm(gram))
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=0)
    gram -= (rows[:, np.newaxis] + rows) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))
    vector: Floats = gram[upper]
    length = float(np.linalg.norm(vector))
    if length <= ROUNDING * size or length == 0:
        return np.full(len(vector), np.nan)
    return vector / length
