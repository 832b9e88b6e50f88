"""A few labels, by draws that all models share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.protocol import Later, Protocol
from pipeline.variants.budget import budgets
from pipeline.variants.variant import Variant

if TYPE_CHECKING:
    from pipeline.study import Study

NAME = "fewshot"


def _variants(study: Study) -> Iterator[Variant]:
    """Budgets with each head; then the simpler problems, of the first budget."""
    asked = study.fewshot
    every = [
        Variant(protocol=NAME, head=head, budget=budget)
        for budget in budgets(asked.shots, asked.fractions)
        for head in asked.heads
    ]
    yield from every
    for variant in every[: len(asked.heads)]:
        yield from (replace(variant, ways=ways) for ways in asked.class_counts)
        if asked.coarse:
            yield replace(variant, coarse=True)


def _settings(study: Study, dataset: str) -> dict[str, Any]:
    """Without the coarse classes of other data sets, which change nothing on this one."""
    asked = study.fewshot
    return {NAME: asked.model_dump() | {"coarse": asked.coarse.get(dataset, {})}}


def _sentence(study: Study) -> str:
    asked = study.fewshot
    words = (
        "A head is trained on a few images of each class, drawn by a seed; all models see the same "
        "draws. Scores are means over draws, their intervals Student's t over draws."
    )
    simpler = [f"{count} classes at a time" for count in asked.class_counts]
    simpler += ["coarse classes"] if asked.coarse else []
    if not simpler:
        return words
    return (
        f"{words} With {asked.shots[0]} of each class the same images are also asked as simpler "
        f"problems: {', '.join(simpler)}."
    )


FEWSHOT = Protocol(
    name=NAME,
    label="few-shot",
    sections=(NAME,),
    sentence=_sentence,
    variants=_variants,
    run=Later("pipeline.probes.fewshot", "score_all"),
    is_wanted=lambda study: bool(study.fewshot.shots or study.fewshot.fractions),
    settings=_settings,
    rules=Later("pipeline.classifiers.tuning", "fewshot_rules"),
)
