"""The ways of voting that a study asks of kNN, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def variants_of(study: Study, n_train: int) -> list[Variant]:
    """`variants` of a data set: presets with a k beyond its train images are left out."""
    return [variant for variant in variants(study) if variant.voting.k <= n_train]


def left_out(study: Study) -> Iterator[tuple[str, str]]:
    """Data sets that are too small for some presets, and what is left out there.

    Raises
    ------
    ProbelineError
        Where the k that the study itself names is beyond a train split, or no way of voting is
        left: before anything is computed.
    """
    own = max(study.knn.k, default=0)
    for dataset, entry in study.datasets.items():
        if entry.test_only:
            continue
        rows = len(read_index(dataset).split("train"))
        if own > rows:
            raise ProbelineError(
                "params.yaml: knn.k",
                f"is larger than the train split of data set {dataset}",
                expected=f"at most {rows}",
                found=str(own),
                remedy="lower knn.k, or take that data set out",
            )
        beyond = [variant for variant in variants(study) if variant.voting.k > rows]
        if beyond and not study.knn.tuned and not variants_of(study, rows):
            raise ProbelineError(
                f"params.yaml: knn.presets ({', '.join(study.knn.presets)})",
                f"need more neighbours than data set {dataset} has train images",
                expected=f"a k of at most {rows}",
                found=str(min(variant.voting.k for variant in beyond)),
                remedy=f"add one to knn.k, set knn.tuned to true, or take {dataset} out",
            )
        if beyond:
            names = ", ".join(variant.name for variant in beyond)
            yield dataset, f"no {names}: it has {rows} train images"


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
