"""The ways of voting that a study asks of kNN, as far as a data set has the neighbours."""

from __future__ import annotations

from collections.abc import Iterator

from cache.errors import ProbelineError
from pipeline.datasets.index import read_index
from pipeline.neighbors.neighbors import Space
from pipeline.neighbors.votes import Voting
from pipeline.study.knn import knn_variants, votes_in
from pipeline.study.schema import Study
from pipeline.study.variant import Variant

TUNED_K = (1, 2, 5, 10, 20, 50, 100, 200)
TUNED_TEMPERATURES = (0.03, 0.07, 0.2)


def space_of(variant: Variant) -> Space:
    """Where a variant's neighbours are searched."""
    return variant.distance, variant.normalization


def voting_of(variant: Variant) -> Voting:
    """How they vote."""
    return Voting(neighbors_of(variant), variant.weighting, variant.temperature)


def neighbors_of(variant: Variant) -> int:
    """How many of them vote."""
    assert variant.k is not None  # of all but the tuned variant, before anything is chosen
    return variant.k


def tuned_votings(space: Space, stored: int) -> list[Voting]:
    """What the tuned variant chooses from in one space.

    k in `TUNED_K` up to the stored neighbours, every weighting, and softmax (cosine spaces only)
    with every temperature of `TUNED_TEMPERATURES`. Of equally good ones the first wins.
    """
    ks = [k for k in TUNED_K if k <= stored]
    weightings = ("uniform", "distance", "softmax")
    return [voting_of(v) for v in votes_in(*space, ks, weightings, TUNED_TEMPERATURES)]


def variants_of(study: Study, n_train: int) -> list[Variant]:
    """All of a data set: presets with a k beyond its train images are left out."""
    return [variant for variant in knn_variants(study) if neighbors_of(variant) <= n_train]


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
        rows = len(read_index(dataset).labels("train"))
        if own > rows:
            raise ProbelineError(
                "params.yaml: knn.k",
                f"is larger than the train split of data set {dataset}",
                expected=f"at most {rows}",
                found=str(own),
                remedy="lower knn.k, or take that data set out",
            )
        beyond = [variant for variant in knn_variants(study) if neighbors_of(variant) > rows]
        if beyond and not study.knn.tuned and not variants_of(study, rows):
            raise ProbelineError(
                f"params.yaml: knn.presets ({', '.join(study.knn.presets)})",
                f"need more neighbours than data set {dataset} has train images",
                expected=f"a k of at most {rows}",
                found=str(min(map(neighbors_of, beyond))),
                remedy=f"add one to knn.k, set knn.tuned to true, or take {dataset} out",
            )
        if beyond:
            names = ", ".join(variant.name for variant in beyond)
            yield dataset, f"{names} left out, as k is more than its {rows} train images"
