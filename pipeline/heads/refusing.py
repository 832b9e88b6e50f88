"""Train splits that no closed head can be fitted to, refused in the same words by all of them."""

from __future__ import annotations

from cache.errors import ProbelineError
from pipeline.heads.columns import Array, namespace
from pipeline.heads.slabs import Rows, slab_size, slabs


def is_finite(features: Rows, like: Array) -> bool:
    """Whether features hold neither NaN nor infinity; read in slabs, where `like` is."""
    xp = namespace(like)
    n, d = features.shape
    pieces = slabs(n, d, size=slab_size(like))
    read = (xp.asarray(features[rows], device=like.device) for rows in pieces)
    return all(bool(xp.isfinite(values).all()) for values in read)


def refuse_not_finite(head: str, features: Rows, like: Array) -> None:
    """Refuse features that are not `is_finite`."""
    if not is_finite(features, like):
        raise ProbelineError(
            head,
            "the features hold NaN or infinity",
            expected="finite values",
            remedy="extract the cell again, or leave the model out",
        )


def refuse_one_class(head: str, images: int, classes: int) -> None:
    """Refuse images of fewer than two classes."""
    if classes < 2:
        raise ProbelineError(
            head,
            "there is nothing to tell apart",
            expected="train images of two classes or more",
            found=f"{images} images of {classes} class(es)",
            remedy="add images of another class, or leave the data set out",
        )
