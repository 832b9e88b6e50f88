"""All protocols: their sections of params.yaml, and a line of `PROTOCOLS` for each.

Whoever reads them goes through this module (`protocol_list.PROTOCOLS`), as tests add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.project.names import distinct
from pipeline.project.section import Section
from pipeline.study.fewshot import FEWSHOT, Fewshot
from pipeline.study.finetune import FINETUNE, Finetune
from pipeline.study.knn import KNN, Knn
from pipeline.study.linear import LINEAR, Linear
from pipeline.study.neighbors import BACKENDS
from pipeline.study.predictors import PREDICTORS, Transferability
from pipeline.study.protocol import Protocol
from pipeline.study.transfer import TRANSFER, Transfer
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study


class ProtocolSections(Section):
    """The part of params.yaml that protocols own; none is left out, as in `Study`."""

    knn: Knn
    linear: Linear
    fewshot: Fewshot
    transfer: Transfer
    transferability: Transferability = Field(serialization_alias="predictors")
    finetune: Finetune


PROTOCOLS = distinct(KNN, LINEAR, FEWSHOT, FINETUNE, TRANSFER, PREDICTORS)
"""In the order of every table."""


def find_protocol(name: str) -> Protocol | None:
    """The protocol of that name; None of one that only imported scores have."""
    return next((protocol for protocol in PROTOCOLS if protocol.name == name), None)


def backends_offered() -> dict[str, tuple[str, ...]]:
    """What can compute each stage that has a choice: the search, and protocols.

    kNN has none, it votes on what the search has found; nor have maps of similarity, of 1,024
    images each.
    """
    choosing = {p.name: p.backends for p in PROTOCOLS if len(p.backends) > 1}
    return {"neighbors": BACKENDS, **choosing}


def protocol_named(name: str) -> Protocol:
    """The protocol of that name, which is one of ours."""
    return {protocol.name: protocol for protocol in PROTOCOLS}[name]


def classifies(name: str) -> bool:
    """Whether a protocol, of ours or not, predicts the classes of test images."""
    found = find_protocol(name)
    return found is None or found.classifies


def reaches_all(name: str) -> bool:
    """Whether a protocol, of ours or not, scores every data set."""
    found = find_protocol(name)
    return found is None or found.reaches_all


def protocol_label(name: str) -> str:
    """``linear`` as ``linear probe``; what is not known stays as it is."""
    found = find_protocol(name)
    return name if found is None else found.label


def asked_variants(study: Study) -> list[Variant]:
    """All variants that a study can make, whether or not a cell has them.

    A cell's record may hold fewer: no presets whose k is beyond the train split, no heads that
    diverged, no class counts that the data set does not have, no sources without shared classes.
    """
    return [variant for protocol in PROTOCOLS for variant in protocol.variants(study)]
