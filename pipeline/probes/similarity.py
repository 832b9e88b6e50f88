"""Debiased linear CKA with the labels: how far images of a class lie together.

HSIC without bias (Song et al. 2012, JMLR 13, eq. 4), for Gram matrices K = XXᵀ, L = YYᵀ with their
diagonals set to zero, over n >= 4 images:

    HSIC(K, L) = [tr(KL) + (1ᵀK1)(1ᵀL1) / ((n-1)(n-2)) - 2 (1ᵀKL1) / (n-2)] / (n (n-3))
    CKA = HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))          (Kornblith et al. 2019; Nguyen et al. 2021)

With centred X and Y the rows sum to zero, so K1 = -(‖xᵢ‖²)ᵢ and tr(KL) = ‖XᵀY‖² - Σ ‖xᵢ‖²‖yᵢ‖².
Y are the one-hot labels: ‖yᵢ‖² depends on the class alone, and all sums follow from the moments of
the classes.
"""

from __future__ import annotations

import numpy as np

from pipeline.probes.class_moments import ClassMoments

ROUNDING = 1e-12
"""Below this share of ‖XᵀX‖² a difference of such sums is rounding."""


def label_cka(moments: ClassMoments) -> float:
    """CKA with the label kernel, 1 where two images share their class and 0 elsewhere.

    Returns
    -------
    float
        1 for features as good as the labels, about 0 for features that don't know them, which may
        come out negative; NaN where undefined: fewer than four images, a single class, or features
        without spread.
    """
    n, counts = moments.rows, moments.counts.astype(np.float64)
    if n < 4:
        return float("nan")
    ell = 1 - 2 * counts / n + np.square(counts / n).sum()  # ‖y‖² of each class, centred
    labels_product = np.diag(counts) - np.outer(counts, counts) / n
    spread = float(moments.squares.sum())
    label_spread = float(counts @ ell)
    products = [float(np.square(p).sum()) for p in (moments.sums, moments.scatter, labels_product)]
    cross = _hsic(n, products[0], moments.squares @ ell, spread * label_spread)
    own = _hsic(n, products[1], moments.fourth, spread**2)
    labels = _hsic(n, products[2], counts @ np.square(ell), label_spread**2)
    if own <= ROUNDING * products[1] or labels <= ROUNDING * products[2]:
        return float("nan")
    return cross / float(np.sqrt(own * labels))


def _hsic(n: int, product: float, diagonal: float, total: float) -> float:
    """HSIC times n (n - 3).

    Parameters
    ----------
    n : int
    product : float
        ‖XᵀY‖².
    diagonal : float
        Σ ‖xᵢ‖²‖yᵢ‖².
    total : float
        Σ ‖xᵢ‖² · Σ ‖yᵢ‖².
    """
    return float(product - diagonal + total / ((n - 1) * (n - 2)) - 2 * diagonal / (n - 2))
