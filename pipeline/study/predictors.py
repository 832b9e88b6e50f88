"""Transferability metrics: numbers of the train embeddings that predict scores without a probe.

Records, and the stage that makes them, have always called the protocol ``predictors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipeline.project.later import Later
from pipeline.project.section import Distinct, Section, Seed
from pipeline.study.protocol import Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "predictors"

Name = Literal[
    "rankme", "alpha_req", "h_score", "logme", "logme_published", "cdnv", "nc1", "uniformity",
    "alignment", "label_cka",
]  # fmt: skip


class Transferability(Section):
    """Which transferability metrics are computed."""

    names: Annotated[list[Name], Distinct] = []
    seed: Seed = 0


_OF_VIEWS = "alignment"


def _views(study: Study) -> int:
    return min(2, study.extraction.views) if _OF_VIEWS in study.transferability.names else 0


def _counts(key: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    views = {"views": key.get("views")} if variant.called == _OF_VIEWS else {}
    return {"settings": {"seed": key["settings"][NAME]["seed"]}, **views}


PREDICTORS = Protocol(
    name=NAME,
    label="transferability metric",
    sections=("transferability",),
    sentence=lambda study: "Numbers computed from the train embeddings and their labels alone.",
    variants=lambda study: [Variant(protocol=NAME, called=n) for n in study.transferability.names],
    counts=_counts,
    run=Later("pipeline.probes.predictors", "score_all"),
    backends=("numpy", "torch"),
    is_wanted=lambda study: bool(study.transferability.names),
    views=_views,
    classifies=False,
    names={
        "rankme": "RankMe",
        "alpha_req": "α-ReQ (ranks 4 to 100)",
        "h_score": "H-score",
        "logme": "LogME",
        "logme_published": "LogME (11 steps, as published)",
        "cdnv": "CDNV",
        "nc1": "NC1",
        "uniformity": "uniformity",
        "alignment": "alignment",
        "label_cka": "CKA with labels",
    },
)
