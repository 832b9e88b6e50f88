"""Models compared without per-image outcomes: as if each had been tested on images of its own.

The variance of a score is that of its file's own interval, else the binomial one for its number of
test images. Two models that were tested on the same images err on the same ones, which makes their
difference surer than this: what is found here to differ differs, and more pairs would with outcomes
(conservative). On different images it is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from pipeline.results.cube import scored_by
from pipeline.statistics.arrays import Floats, Places
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import Column, image_noise
from pipeline.statistics.model_pairs import compare_normal
from pipeline.statistics.pair_tests import Paired, PairTests
from pipeline.statistics.panel import ASSUMED_TESTS, clusters_of
from pipeline.statistics.remembered import remembered_of_headlines

MOST_UNPAIRED = 100
"""Models of one data set that are compared in pairs; of more, the best ones."""

MOST_DRAWN = 50
"""Data sets, up to which all pairs are tested by max-t; on more by Holm, which is quicker."""

_OWN = 0.95
"""What the intervals of scores.csv are."""

CONSERVATIVE = (
    "without per-image outcomes models are compared as if tested on different images, by their "
    "file's own intervals or the binomial variance: conservative where they shared their images"
)


@dataclass(frozen=True)
class Unpaired:
    """The scores of one variant on one data set.

    Attributes
    ----------
    places : ndarray of shape (n_models,)
        Of the models, in the study's order.
    scores, variance : ndarray of shape (n_models,)
    images : int
    """

    places: Places
    scores: Floats
    variance: Floats
    images: int

    def paired(self, names: Sequence[str], most: int = MOST_UNPAIRED) -> Paired:
        """The best ones as models to compare."""
        best = np.sort(np.argsort(-self.scores, kind="stable")[:most])
        return Paired(
            tuple(names[place] for place in self.places[best]), self.scores[best],
            np.diag(self.variance[best]), self.images,
        )  # fmt: skip


@remembered_of_headlines
def unpaired_columns(evidence: Evidence) -> Mapping[Column, Unpaired]:
    """Each protocol's headline on each data set with scores, and without per-image outcomes."""
    cube, names = evidence.cube, list(evidence.headline.values())
    scored = scored_by(cube, evidence.settings.metric).sel(variant=names)
    value, low, high = (
        scored[name].transpose("variant", "dataset", "model").values
        for name in ("value", "ci_low", "ci_high")
    )
    n_test = cube["n_test"].values
    known, found = image_noise(evidence).columns, {}
    told = cube["own"].values if "own" in cube else np.ones(cube.sizes["variant"])
    own = dict(zip(cube["variant"].values, told, strict=True))
    for v, variant in enumerate(names):
        for d, dataset in enumerate(evidence.datasets()):
            of = value[v, d]
            has = np.flatnonzero(np.isfinite(of) & (of >= 0) & (of <= 1))
            # What the study judged itself, image by image, is not compared as if it had not.
            judged = dataset in evidence.tests and own[variant] == 1
            if (variant, dataset) in known or judged or len(has) < 2:
                continue
            n = int(n_test[d]) or ASSUMED_TESTS
            width = (high[v, d] - low[v, d])[has]
            found[variant, dataset] = Unpaired(has, of[has], variances(of[has], n, width), n)
    return found


def variances(value: Floats, n: int, width: Floats) -> Floats:
    """Of each score: from the width of its own 95% interval, else binomial.

    Parameters
    ----------
    value : ndarray of shape (n_models,)
        Shares.
    n : int
        Test images.
    width : ndarray of shape (n_models,)
        Of the intervals; NaN where the file has none.

    Returns
    -------
    ndarray of shape (n_models,)
        The binomial one is at a share drawn to 1/2 by two hits and two misses (Agresti & Coull),
        so that it is not 0 at 0 or 1.
    """
    share = (value * n + 2) / (n + 4)
    binomial = share * (1 - share) / (n + 4)
    own = np.square(width / 2 / scipy.stats.norm.isf((1 - _OWN) / 2))
    found: Floats = np.where(np.isfinite(own) & (own > 0), own, binomial)
    return found


def unpaired_tests(evidence: Evidence, column: Column) -> PairTests:
    """All pairs of the best models of one of the `unpaired_columns`; large, so not remembered."""
    columns = unpaired_columns(evidence)
    paired = columns[column].paired(evidence.models)
    return compare_normal(paired, evidence.settings.confidence, drawn=len(columns) <= MOST_DRAWN)


def unpaired_means(evidence: Evidence, variant: str, datasets: list[str]) -> Paired | None:
    """Means over data sets, of models that have a score on all of them.

    None where a data set is none of the `unpaired_columns`, or fewer than two models have all.
    """
    columns = [unpaired_columns(evidence).get((variant, dataset)) for dataset in datasets]
    known = [column for column in columns if column is not None]
    if not known or len(known) < len(columns):
        return None
    if len(known) == 1:
        return known[0].paired(evidence.models, len(known[0].places))
    shape = len(known), len(evidence.models)
    scores, error = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, column in enumerate(known):
        scores[row, column.places] = column.scores
        error[row, column.places] = np.sqrt(column.variance)
    has = np.flatnonzero(np.isfinite(scores).all(axis=0))
    if len(has) < 2:
        return None
    # Data sets of a cluster may be the same images: their errors add up, at worst.
    clusters, place = np.unique(clusters_of(evidence.cube, datasets), return_inverse=True)
    of_clusters = [error[place == c][:, has].sum(axis=0) for c in range(len(clusters))]
    images = [
        max(k.images for k, at in zip(known, place, strict=True) if at == c)
        for c in range(len(clusters))
    ]
    found = Unpaired(
        has, scores[:, has].mean(axis=0),
        np.sum(np.square(of_clusters), axis=0) / len(known) ** 2, sum(images),
    )  # fmt: skip
    paired = found.paired(evidence.models, len(has))
    return replace(paired, effective=len(images) * min(images))
