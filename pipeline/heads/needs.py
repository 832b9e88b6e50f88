"""What fitting a head takes beyond the features that it is given: bytes, and multiply-adds.

n images, d features, K classes. Nothing here grows with n x K; what grows with n x d is a turned
copy of the features, where they are held. Constants are what the code holds at once, counted at
its peak; tests compare them with what is traced.
"""

from __future__ import annotations

from pipeline.heads import normalization, softmax
from pipeline.heads.newton import WIDEST
from pipeline.heads.tuning import FEW, FEWEST, FOLDS, NARROW, SMALL

_WIDE = 8
"""Bytes of a value in float64."""

PER_C = 12
"""Conjugate gradients that a value of C takes, about; and values that a path tries."""
TRIED = 25


def logistic_bytes(n: int, d: int, k: int, slab: int, *, streamed: bool = False) -> int:
    """Of logistic regression, its C chosen: d x d, d x K, K x K, one slab, and a turned copy.

    Beside these some things of a limited size are kept: probabilities (`softmax.KEPT`) and the
    inverses of classes' blocks (`newton.WIDEST`).

    Parameters
    ----------
    n, d, k : int
    slab : int
        Values of a slab (`slabs.SLAB`).
    streamed : bool
        Whether features are read each time, and not turned.
    """
    width, (held, piece) = min(n, d) + 1, _fitted(n, d, k, slab, streamed=streamed)
    folds = FOLDS if _by_folds(n, k) else 1
    value = _WIDE if n * d <= NARROW or streamed else 4
    kept = (
        n * k if n * max(width, k) <= slab else min(n * k, softmax.KEPT) * (n * k <= softmax.KEPT)
    )
    blocks = min(k * width**2, WIDEST)
    return (
        folds * (held + 4 * kept + value * blocks + _WIDE * 6 * k * width)
        + _WIDE * (16 * k * width + 5 * k * k + 6 * d * min(n, d) + 8 * piece)
        + _normalizing(n, d)
    )


def ridge_bytes(n: int, d: int, k: int, slab: int, *, streamed: bool = False) -> int:
    """Of ridge with all its penalties and their leave-one-out: d x d, d x K, and one slab."""
    side, piece = min(n, d), min(slab, n * max(d, k))
    small = 4 * n * d if n * d <= slab and not streamed else 0
    return small + _WIDE * (8 * d * side + 9 * d * k + 9 * piece) + _normalizing(n, d)


def prototypes_bytes(n: int, d: int, k: int, slab: int) -> int:
    """Of class means: the images' unit vectors, d x K, and one slab."""
    return 12 * n * d + _WIDE * (3 * d * k + 8 * min(slab, n * max(d, k))) + _normalizing(n, d)


def scoring_bytes(n: int, d: int, k: int, slab: int) -> int:
    """Of scoring n images with a fitted head and judging them."""
    return 64 * n + _WIDE * (3 * d * k + 8 * min(slab, n * max(d, k)))


def gradient_bytes(n: int, d: int, k: int, heads: int, hidden: int, batch: int) -> int:
    """Of SGD heads that advance together: a view, the hold-out, weights and momenta, a batch."""
    weights = d * k if not hidden else d * hidden + hidden**2 + hidden * k
    return 4 * (2 * n * d + heads * (6 * weights + 5 * batch * (k + 2 * hidden)))


def logistic_work(n: int, d: int, k: int, cs: int) -> float:
    """Multiply-adds of choosing C of so many, and of the fits, about."""
    folds = (FOLDS if _by_folds(n, k) else 1) if cs > 1 and n >= FEWEST * k else 0
    tried = 1 + folds * min(cs, TRIED)
    products = 2.0 if n * k <= softmax.KEPT else 3.0
    return n * d * (tried * PER_C * products * k + 3.0 * (1 + folds) * min(n, d))


def ridge_work(n: int, d: int, k: int, penalties: int) -> float:
    """Multiply-adds of the decomposition, and of the residuals by every penalty."""
    return float(n) * d * (2 * min(n, d) + penalties * k)


def _normalizing(n: int, d: int) -> int:
    """Of a block of rows from which statistics are taken."""
    return 3 * _WIDE * d * min(n, normalization.BLOCK)


def _by_folds(n: int, k: int) -> bool:
    return n < SMALL or n < FEW * k


def _fitted(n: int, d: int, k: int, slab: int, *, streamed: bool) -> tuple[int, int]:
    """Bytes of the columns that a fit holds, and values of a slab."""
    piece = min(slab, n * max(d + 1, k))
    if n * d <= slab and not streamed:
        return n * (d + 1) * (3 * _WIDE + 2 * 4), piece  # the fit's, the hold-out's, and rounded
    if streamed or (_by_folds(n, k) and n >= SMALL):
        return 0, piece
    return n * (d + 1) * (_WIDE if n * d <= NARROW else 4), piece
