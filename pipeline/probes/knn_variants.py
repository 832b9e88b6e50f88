"""The ways of voting that a study asks of kNN, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from cache.errors import ProbelineError
from pipeline.datasets.index import read_index
from pipeline.nearest.neighbors import Space, spaces
from pipeline.nearest.votes import Voting
from pipeline.study import Study

TUNED = "tuned"
"""Name of the variant that leave-one-out on train chooses."""

TUNED_K = (1, 2, 5, 10, 20, 50, 100, 200)
TUNED_TEMPERATURES = (0.03, 0.07, 0.2)


@dataclass(frozen=True)
class Variant:
    """A named way of voting.

    Attributes
    ----------
    name : str
    space : tuple of str
        Metric and normalisation of the neighbours.
    voting : Voting
    """

    name: str
    space: Space
    voting: Voting


PRESETS = {
    # arXiv 2407.12210: k = 20, 1/distance, with and without z-scoring by the train split.
    "study": (
        Variant("study", ("euclidean", "none"), Voting(20, "distance")),
        Variant("study_zscore", ("euclidean", "zscore"), Voting(20, "distance")),
    ),
    # DINO's evaluation (arXiv 2104.14294).
    "dino": tuple(
        Variant(f"dino_k{k}", ("cosine", "none"), Voting(k, "softmax", 0.07))
        for k in (10, 20, 100, 200)
    ),
}


def variants(study: Study) -> list[Variant]:
    """All fixed variants, presets first; the first is the protocol's headline."""
    presets = [variant for name in study.knn.presets for variant in PRESETS[name]]
    votings = _votings(study.knn.k, study.knn.weighting, study.knn.temperature)
    grid = [
        Variant(_name(space, voting), space, voting)
        for space, voting in product(spaces(study.neighbors), votings)
        if _goes_with(voting, space)
    ]
    return presets + grid


def variant_names(study: Study) -> list[str]:
    """Names of all variants that the study asks for, in order; `TUNED` comes last."""
    return [variant.name for variant in variants(study)] + [TUNED] * study.knn.tuned


def tuned_votings(space: Space, stored: int) -> list[Voting]:
    """What the tuned variant chooses from in one space.

    k in `TUNED_K` up to the stored neighbours, every weighting, and softmax (cosine spaces only)
    with every temperature of `TUNED_TEMPERATURES`. Of equally good ones the first wins.
    """
    ks = [k for k in TUNED_K if k <= stored]
    votings = _votings(ks, ("uniform", "distance", "softmax"), TUNED_TEMPERATURES)
    return [voting for voting in votings if _goes_with(voting, space)]


def require_enough_train(study: Study) -> None:
    """Refuse a k beyond some train split before anything is computed.

    Raises
    ------
    ProbelineError
        Names the setting and the data set.
    """
    asked = [("knn.k", max(study.knn.k, default=0))] + [
        (f"knn.presets ({name})", max(variant.voting.k for variant in PRESETS[name]))
        for name in study.knn.presets
    ]
    for dataset, entry in study.datasets.items():
        if entry.test_only:
            continue
        rows = len(read_index(dataset).split("train"))
        for setting, k in asked:
            if k > rows:
                raise ProbelineError(
                    f"params.yaml: {setting}",
                    f"is larger than the train split of data set {dataset}"
                    if setting == "knn.k"
                    else f"needs more neighbours than data set {dataset} has train images",
                    expected=f"at most {rows}",
                    found=str(k),
                    remedy=f"{'lower' if setting == 'knn.k' else 'shorten'} "
                    f"{setting.split()[0]}, or take that data set out",
                )


def _votings(
    ks: Sequence[int], weightings: Sequence[str], temperatures: Sequence[float]
) -> list[Voting]:
    return [
        Voting(k, weighting, temperature)
        for weighting in weightings
        for temperature in (temperatures if weighting == "softmax" else (None,))
        for k in ks
    ]


def _goes_with(voting: Voting, space: Space) -> bool:
    """Softmax is of similarities, which only cosine has."""
    return voting.weighting != "softmax" or space[0] == "cosine"


def _name(space: Space, voting: Voting) -> str:
    metric, normalization = space
    temperature = "" if voting.temperature is None else repr(voting.temperature)
    return f"k{voting.k}_{metric}_{voting.weighting}{temperature}_{normalization}"
