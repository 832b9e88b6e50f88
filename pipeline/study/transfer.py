"""Probes trained on one data set and tested on others with classes of the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pipeline.project.later import Later
from pipeline.project.section import Distinct, Section
from pipeline.study.knn import KNN, PRESETS, knn_variants
from pipeline.study.linear import closed_form, head_counts, linear_variants, views_read
from pipeline.study.neighbors import BACKENDS
from pipeline.study.protocol import Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "transfer"


class Transfer(Section):
    """Train on one data set, test on others with classes of the same names."""

    sources: Annotated[list[str], Distinct] = []


def transferred_knn(study: Study) -> list[Variant]:
    """The presets that the study asks for; without one, the first combination of the grid."""
    presets = sum(len(PRESETS[name]) for name in study.knn.presets)
    return knn_variants(study)[: presets or 1]


def _variants(study: Study) -> Iterator[Variant]:
    """Every probe trained on each source, and each source's groups left out in turn."""
    probes = [*transferred_knn(study), *linear_variants(study)]
    for source in study.transfer.sources:
        for probe in probes:
            yield from trained_on(source, probe)
    if study.transfer.sources:
        yield from (held_out(probe) for probe in (probes[0], closed_form("ridge", "none")))


def trained_on(source: str, probe: Variant) -> list[Variant]:
    """A probe tested on other data sets; with z-scoring also by the target's own statistics."""
    moved = replace(probe, protocol=NAME, source=source)
    twin = [replace(moved, normalization="target_zscore")]
    return [moved, *(twin if probe.normalization == "zscore" else [])]


def held_out(probe: Variant) -> Variant:
    """A probe tested on each group of its own train split, left out of training."""
    return replace(probe, protocol=NAME, held_out_group=True)


def _settings(study: Study, dataset: str) -> dict[str, Any]:
    """Where presets of kNN are transferred, a k beside them changes nothing here."""
    asked = study.knn.to_key()
    return {KNN.name: asked | {"k": []} if study.knn.presets else asked}


def _counts(key: Mapping[str, Any], variant: Variant) -> dict[str, Any] | None:
    """A probe depends on the source that it was trained on, and on its own settings."""
    sources, named = key["sources"], key["settings"][NAME]["sources"]
    of_head = variant.head != "knn"
    settings = head_counts(key["settings"]["linear"], variant) if of_head else {}
    if variant.held_out_group:  # of a data set that is a source itself
        return {"settings": settings} if len(sources) < len(named) else None
    if variant.source not in sources:
        return None
    views = {"views": key["views"]} if variant.views else {}
    return {"settings": settings, "sources": {variant.source: sources[variant.source]}, **views}


def _sentence(study: Study) -> str:
    names = study.transfer.sources
    sources = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    return (
        f"A probe trained on {sources} is tested on the other data sets' images of the classes "
        "that both name, with statistics of its own train split."
    )


TRANSFER = Protocol(
    name=NAME,
    label="transferred probe",
    sections=(NAME, "neighbors", KNN.name, "linear"),
    sentence=_sentence,
    variants=_variants,
    counts=_counts,
    run=Later("pipeline.probes.transfer", "score_all"),
    backends=BACKENDS,
    is_wanted=lambda study: bool(study.transfer.sources),
    is_asked=lambda study, dataset, model: True,  # on data sets without train images nothing else
    rules=Later("pipeline.heads.tuning", "head_rules"),
    settings=_settings,
    sources=lambda study, dataset: [s for s in study.transfer.sources if s != dataset],
    views=views_read,
    reaches_all=False,
)
