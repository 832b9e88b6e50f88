"""Models compared without per-image outcomes: as if each had been tested on images of its own.

The variance of a score is that of its file's own interval, else the binomial one for its number of
test images. Two models that were tested on the same images err on the same ones, which makes their
difference surer than this: what is found here to differ differs, and more pairs would with outcomes
(conservative). On different images it is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from pipeline.results.cube import scored_by
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.image_noise import Column, image_noise
from pipeline.statistics.model_pairs import DRAWS
from pipeline.statistics.pair_tests import Paired, PairTests, compare_pairs
from pipeline.statistics.panel import ASSUMED_TESTS, clusters_of
from pipeline.statistics.remembered import remembered

Floats = NDArray[np.float64]

MOST_UNPAIRED = 200
"""Models beyond which not all pairs are compared: those are the best ones of the data set."""

MOST_DRAWN = 100
"""Models up to which all pairs are tested by max-t; of more by Holm, which is quicker."""

_OWN = 0.95
"""What the intervals of scores.csv are."""

CONSERVATIVE = (
    "without per-image outcomes models are compared as if tested on different images, by their "
    "file's own intervals or the binomial variance: conservative where they shared their images"
)


def unpaired_columns(evidence: Evidence) -> Mapping[Column, tuple[str, ...]]:
    """Each protocol's headline on each data set that has scores of imported models alone.

    Returns
    -------
    mapping of (variant, data set) to tuple of str
        Models with a score.
    """
    return {name: paired.models for name, paired in _paired(evidence).items()}


@remembered
def _paired(evidence: Evidence) -> Mapping[Column, Paired]:
    scored = scored_by(evidence.cube, evidence.settings.metric)
    known = image_noise(evidence).columns
    found = {}
    for variant in evidence.headline.values():
        for dataset in evidence.datasets():
            if (variant, dataset) in known:
                continue
            paired = _column(evidence, scored.sel(variant=variant, dataset=dataset))
            if paired is not None:
                found[variant, dataset] = paired
    return found


def _column(evidence: Evidence, scores: xr.Dataset) -> Paired | None:
    value = scores["value"].values
    n = int(evidence.cube["n_test"].sel(dataset=scores["dataset"].item())) or ASSUMED_TESTS
    has = np.flatnonzero(np.isfinite(value) & (value >= 0) & (value <= 1))
    if len(has) < 2:
        return None
    if len(has) > MOST_UNPAIRED:
        has = np.sort(has[np.argsort(-value[has], kind="stable")[:MOST_UNPAIRED]])
    width = (scores["ci_high"] - scores["ci_low"]).values[has]
    return Paired(
        models=tuple(np.array(evidence.models)[has].tolist()),
        scores=value[has],
        covariance=np.diag(variances(value[has], n, width)),
        images=n,
    )


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
    own = np.square(width / 2 / stats.norm.isf((1 - _OWN) / 2))
    found: Floats = np.where(np.isfinite(own) & (own > 0), own, binomial)
    return found


def unpaired_tests(evidence: Evidence, column: Column) -> PairTests:
    """All pairs of models of one of the `unpaired_columns`; large, so not remembered."""
    return compared(_paired(evidence)[column], evidence.settings.confidence)


def compared(paired: Paired, confidence: float) -> PairTests:
    """Test all pairs: by max-t up to `MOST_DRAWN`, beyond by Holm."""
    drawn = None
    if len(paired.models) <= MOST_DRAWN:
        rng = np.random.default_rng(0)
        drawn = normal_draws(paired.scores, paired.covariance, DRAWS, rng)
    return compare_pairs(paired, drawn, confidence)


def unpaired_means(evidence: Evidence, variant: str, datasets: list[str]) -> Paired | None:
    """Means over data sets, of models that have a score on all of them.

    None where a data set is none of the `unpaired_columns`, or fewer than two models have all.
    """
    columns = [_paired(evidence).get((variant, dataset)) for dataset in datasets]
    known = [column for column in columns if column is not None]
    if not known or len(known) < len(columns):
        return None
    if len(known) == 1:
        return known[0]
    shared = set.intersection(*(set(column.models) for column in known))
    models = [name for name in known[0].models if name in shared]
    if len(models) < 2:
        return None
    scores = np.zeros(len(models))
    error: dict[str, Floats] = {}
    images: dict[str, int] = {}
    for cluster, column in zip(clusters_of(evidence.cube, datasets), known, strict=True):
        at = [column.models.index(name) for name in models]
        scores += column.scores[at] / len(known)
        # Data sets of a cluster may be the same images: their errors add up, at worst.
        own = np.sqrt(np.diag(column.covariance)[at]) / len(known)
        error[cluster] = error.get(cluster, 0) + own
        images[cluster] = max(images.get(cluster, 0), column.images)
    variance = np.sum([np.square(of) for of in error.values()], axis=0)
    return Paired(tuple(models), scores, np.diag(variance), sum(images.values()),
                  effective=len(images) * min(images.values()))  # fmt: skip
