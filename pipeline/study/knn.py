"""k nearest neighbours, by stored neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.project.later import Later
from pipeline.project.section import Distinct, Section, spelled
from pipeline.project.words import number_of
from pipeline.study.protocol import Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "knn"


PresetName = Annotated[Literal["paper", "dino"], spelled(paper="study")]


class Knn(Section):
    """k nearest neighbours: named presets, every combination of a grid, and a tuned variant."""

    presets: Annotated[list[PresetName], Distinct] = []
    k: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = []
    weighting: Annotated[list[Literal["distance", "uniform", "softmax"]], Distinct] = ["distance"]
    temperature: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct] = [
        0.07
    ]
    tuned: bool = False

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        if not self.presets and not (self.k and self.weighting):
            raise ValueError("at least one of `presets` and `k` (with `weighting`)")
        return self


TUNED = Variant(protocol=NAME, head="knn", tuned=True)
"""Which space and way of voting that is, leave-one-out on train decides."""

_FEATURES = {
    "none": "features as they are",
    "zscore": "features z-scored by train statistics",
    "l2": "features scaled to unit length",
    "centered_l2": "features centred by train statistics and scaled to unit length",
}
_VOTES = {"distance": "votes weighted by 1/distance", "uniform": "equal votes"}


def votes_in(
    distance: str,
    normalization: str,
    ks: Sequence[int],
    weightings: Sequence[str],
    temperatures: Sequence[float],
) -> list[Variant]:
    """Every combination in one space; softmax is of similarities, which only cosine has."""
    return [
        Variant(
            protocol=NAME,
            head="knn",
            distance=distance,
            k=k,
            weighting=weighting,
            temperature=temperature,
            normalization=normalization,
        )
        for weighting in weightings
        if weighting != "softmax" or distance == "cosine"
        for temperature in (temperatures if weighting == "softmax" else (None,))
        for k in ks
    ]


PRESETS = {
    # arXiv 2407.12210: k = 20, 1/distance, with and without z-scoring by the train split.
    "paper": tuple(
        replace(variant, preset="study")
        for normalization in ("none", "zscore")
        for variant in votes_in("euclidean", normalization, [20], ["distance"], [])
    ),
    # DINO's evaluation (arXiv 2104.14294).
    "dino": tuple(
        replace(variant, preset="dino")
        for variant in votes_in("cosine", "none", [10, 20, 100, 200], ["softmax"], [0.07])
    ),
}
"""The published ways of voting that `knn.presets` of params.yaml names."""


def knn_variants(study: Study) -> list[Variant]:
    """All fixed ways of voting, presets first; the first is the protocol's headline."""
    asked = study.knn
    presets = [variant for name in asked.presets for variant in PRESETS[name]]
    spaces = product(study.neighbors.metric, study.neighbors.normalization)
    grid = [
        variant
        for distance, normalization in spaces
        for variant in votes_in(
            distance, normalization, asked.k, asked.weighting, asked.temperature
        )
    ]
    return presets + grid


def _variants(study: Study) -> list[Variant]:
    return knn_variants(study) + [TUNED] * study.knn.tuned


def _counts(key: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """A vote depends on the stored neighbours alone; what is tuned is so among all spaces."""
    stored = key["settings"]["neighbors"]
    return {"settings": stored if variant.tuned else {"keep": stored["keep"]}}


def _sentence(study: Study) -> str:
    headline = _variants(study)[0]
    distance = {"euclidean": "Euclidean distance", "cosine": "cosine distance"}[headline.distance]
    votes = _VOTES.get(headline.weighting, "")
    if headline.temperature is not None:
        distance, votes = (
            "cosine similarity s",
            f"votes weighted by exp(s/{headline.temperature:g})",
        )
    return (
        "A test image gets the vote of its nearest train images, found by exhaustive search and "
        f"kept for every way of voting. Headline: {number_of(headline.k or 0, 'neighbour')}, "
        f"{distance}, {votes}, {_FEATURES[headline.normalization]}."
    )


KNN = Protocol(
    name=NAME,
    label="kNN",
    sections=("neighbors", "knn"),
    sentence=_sentence,
    variants=_variants,
    counts=_counts,
    run=Later("pipeline.probes.knn", "score_all"),
    finish=Later("pipeline.neighbors.data_checks", "check_data"),
)
