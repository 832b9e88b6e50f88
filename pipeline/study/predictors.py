"""Numbers of the train embeddings that predict scores without a probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipeline.project.section import Distinct, Section, Seed
from pipeline.study.protocol import Later, Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "predictors"

Predictor = Literal[
    "rankme",
    "alpha_req",
    "h_score",
    "logme",
    "logme_published",
    "cdnv",
    "nc1",
    "uniformity",
    "alignment",
    "label_cka",
]


class Predictors(Section):
    """Numbers of the train embeddings that predict scores without a probe."""

    names: Annotated[list[Predictor], Distinct] = []
    seed: Seed = 0


_OF_VIEWS = "alignment"


def _views(study: Study) -> int:
    return min(2, study.extraction.views) if _OF_VIEWS in study.predictors.names else 0


def _counts(key: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    views = {"views": key.get("views")} if variant.called == _OF_VIEWS else {}
    return {"settings": {"seed": key["settings"][NAME]["seed"]}, **views}


PREDICTORS = Protocol(
    name=NAME,
    label="cheap predictor",
    sections=(NAME,),
    sentence=lambda study: "Numbers computed from the train embeddings and their labels alone.",
    variants=lambda study: [Variant(protocol=NAME, called=n) for n in study.predictors.names],
    counts=_counts,
    run=Later("pipeline.probes.predictors", "score_all"),
    is_wanted=lambda study: bool(study.predictors.names),
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
