"""Which models differ: mean accuracies over data sets, compared image by image.

For each test image, u is a model's share in the mean that is due to this image. The difference
of two models is D = Σ (u_a - u_b), its standard error √Σ (u_a - u_b)²: the square of D / SE is
McNemar's statistic (1947) where there is one data set and top-1 accuracy. It is the variance under
random exchange of the two models' outcomes on an image, so the interval leaves out 0 exactly when
that test rejects. Images that several data sets share (the same picture, rotated or blurred) are
one unit: their outcomes are added before they are squared.

The intervals hold for all pairs of models at once (Bonferroni), so that they stay valid for the
model that came out best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.report_inputs import Inputs
from pipeline.scoring import CONFIDENCE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Versus:
    """A model beside the best one.

    Attributes
    ----------
    model : str
    mean : float
        Mean score over the data sets.
    difference, low, high : float
        Best minus this one, with its simultaneous interval.
    """

    model: str
    mean: float
    difference: float
    low: float
    high: float

    @property
    def apart(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Contest:
    """The models compared on one protocol.

    Attributes
    ----------
    datasets : tuple of str
        Those over which means are taken: all that any model was scored on.
    best : str or None
        None where no model has every data set.
    mean, low, high : float
        Of the best model; the interval is over test images, NaN where it has no width.
    others : tuple of Versus
        Best first.
    left_out : tuple of str
        Models without a score on every data set.
    """

    datasets: tuple[str, ...]
    best: str | None
    mean: float
    low: float
    high: float
    others: tuple[Versus, ...]
    left_out: tuple[str, ...]


def contest(inputs: Inputs, protocol: str) -> Contest:
    """Find the best model by a protocol's headline variant, and who can't be told from it."""
    datasets = [d for d in inputs.datasets() if inputs.hits[protocol, d].models]
    complete, units, strata = _units(inputs, protocol, datasets)
    left_out = tuple(m for m in inputs.study.models if m not in complete)
    nan = float("nan")
    if not complete:
        return Contest(tuple(datasets), None, nan, nan, nan, (), left_out)
    means = units.sum(axis=1)
    order = np.argsort(-means, kind="stable")
    best = int(order[0])
    pairs = max(len(complete) * (len(complete) - 1) // 2, 1)
    z = float(stats.norm.isf((1 - CONFIDENCE) / 2 / pairs))
    others = []
    for row in order[1:]:
        gap = units[best] - units[row]
        difference, half = float(gap.sum()), z * float(np.sqrt(np.square(gap).sum()))
        others.append(
            Versus(
                complete[row],
                float(means[row]),
                difference,
                max(difference - half, -1.0),
                min(difference + half, 1.0),
            )
        )
    low, high = _interval(units[best], strata)
    return Contest(
        tuple(datasets), complete[best], float(means[best]), low, high, tuple(others), left_out
    )


def mean_scores(
    inputs: Inputs, protocol: str, datasets: list[str]
) -> dict[str, tuple[float, float, float]]:
    """Mean over data sets with its 95% interval over test images, per model that has them all."""
    complete, units, strata = _units(inputs, protocol, datasets)
    return {
        model: (float(row.sum()), *_interval(row, strata))
        for model, row in zip(complete, units, strict=True)
    }


def _units(
    inputs: Inputs, protocol: str, datasets: list[str]
) -> tuple[list[str], Floats, NDArray[np.int64]]:
    """What every image adds to every model's mean.

    Returns
    -------
    models : list of str
        Those with outcomes on all the data sets.
    units : ndarray of shape (n_models, n_units)
        Rows sum to the mean score.
    strata : ndarray of shape (n_units,)
        Images are redrawn within these: the data set's images, or one class of them.
    """
    found = [inputs.hits[protocol, d] for d in datasets]
    models = [m for m in inputs.study.models if datasets and all(m in f.models for f in found)]
    by_images: dict[tuple[str, ...], tuple[Floats, NDArray[np.int64]]] = {}
    for name, outcome in zip(datasets, found, strict=True):
        test = inputs.val_splits[name]
        chosen = outcome.hits[[outcome.models.index(m) for m in models]]
        judged = np.isfinite(chosen).all(axis=0)
        labels, paths = test.labels[judged], test.paths
        if not judged.all():
            paths = tuple(np.array(paths, dtype=object)[judged])
        if inputs.metric == "mean_per_class":
            counts = np.bincount(labels)
            weights = 1 / (counts[labels] * (counts > 0).sum())
            strata = labels
        else:
            weights = np.full(len(labels), 1 / len(labels))
            strata = np.zeros(len(labels), np.int64)
        added = chosen[:, judged] * weights / len(datasets)
        before = by_images.get(paths)
        by_images[paths] = (added if before is None else before[0] + added, strata)
    if not by_images:
        return models, np.zeros((len(models), 0)), np.zeros(0, np.int64)
    offsets = np.cumsum([0] + [s.max() + 1 for _, s in by_images.values()])
    blocks = [(u, s + o) for (u, s), o in zip(by_images.values(), offsets, strict=False)]
    return models, np.hstack([u for u, _ in blocks]), np.concatenate([s for _, s in blocks])


def _interval(units: Floats, strata: NDArray[np.int64]) -> tuple[float, float]:
    """Normal 95% interval of Σ units, for images redrawn within strata."""
    total = np.bincount(strata)
    mean = np.bincount(strata, weights=units) / np.maximum(total, 1)
    squares = np.bincount(strata, weights=np.square(units - mean[strata]))
    error = float(np.sqrt((squares * total / np.maximum(total - 1, 1)).sum()))
    if error <= 1e-12:  # all right or all wrong: the normal formula has no width to give
        return float("nan"), float("nan")
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * error
    value = float(units.sum())
    return max(value - half, 0.0), min(value + half, 1.0)
