"""A few labels, by draws that all models share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.project.later import Later
from pipeline.project.section import Distinct, Section, Seed
from pipeline.study.budget import Budget, budgets
from pipeline.study.protocol import Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "fewshot"

FEW = 5
"""Up to this many images of a class, a score depends much on which: more draws are taken."""

Coarse = dict[str, Annotated[list[str], Field(min_length=1)]]
"""Classes of a data set by the coarser class that they are merged into."""


class Fewshot(Section):
    """A few labels: seeded draws of train that all models share; empty lists leave it out."""

    shots: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = []
    fractions: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Distinct] = []
    heads: Annotated[
        list[Literal["prototypes", "ridge", "logistic"]], Field(min_length=1), Distinct
    ] = ["prototypes", "ridge", "logistic"]
    episodes: int = Field(10, ge=2, serialization_alias="draws")
    episodes_above_five: int = Field(5, ge=2, serialization_alias="draws_above_five")
    ways: Annotated[
        list[Annotated[int, Field(ge=2)]], Field(serialization_alias="class_counts"), Distinct
    ] = []
    coarse: dict[str, Annotated[Coarse, Field(min_length=2)]] = {}
    seed: Seed = 0

    @model_validator(mode="after")
    def _simpler_problems_have_their_shots(self) -> Self:
        if (self.ways or self.coarse) and not self.shots:
            raise ValueError("`shots`, at the first of which `ways` and `coarse` are asked")
        return self

    @model_validator(mode="after")
    def _fractions_have_names(self) -> Self:
        names = [Budget(share=share).name for share in self.fractions]
        if len(set(names)) < len(names):
            raise ValueError("`fractions` that differ in the first six digits of their percentage")
        return self


def _variants(study: Study) -> Iterator[Variant]:
    """Budgets with each head; then the simpler problems, of the first budget."""
    asked = study.fewshot
    every = [
        Variant(protocol=NAME, head=head, budget=budget)
        for budget in budgets(asked.shots, asked.fractions)
        for head in asked.heads
    ]
    yield from every
    first = every[: len(asked.heads)]
    for count in asked.ways:
        yield from (replace(variant, ways=count) for variant in first)
    if asked.coarse:
        yield from (replace(variant, coarse=True) for variant in first)


def _settings(study: Study, dataset: str) -> dict[str, Any]:
    """Without the coarse classes of other data sets, which change nothing on this one."""
    asked = study.fewshot
    return {NAME: asked.to_key() | {"coarse": asked.coarse.get(dataset, {})}}


def _counts(key: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """A draw depends on the seed and its number; how many there are, on a class's images."""
    asked, budget = key["settings"][NAME], variant.budget
    few = budget is not None and budget.shots is not None and budget.shots <= FEW
    names = ["seed", "draws", *(["draws_above_five"] * (not few)), *(["coarse"] * variant.coarse)]
    # A name has six digits of a fraction: another fraction of that name is another variant.
    same = [share for share in asked["fractions"] if budget is not None and share == budget.share]
    return {"settings": {"fractions": same, **{name: asked[name] for name in names}}}


_TUNED = {"ridge": "λ of ridge", "logistic": "C of logistic regression"}


def _sentence(study: Study) -> str:
    asked = study.fewshot
    words = (
        "A head is trained on a few images of each class, drawn by a seed; all models see the same "
        "draws. Scores are means over draws, their intervals Student's t over draws."
    )
    tuned = [name for head, name in _TUNED.items() if head in asked.heads]
    if tuned:
        words += (
            f" {' and '.join(tuned)}: chosen among them; 1 where they are too few to choose by."
        )
    simpler = [f"{count} classes at a time" for count in asked.ways]
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
    backends=("numpy", "torch"),
    is_wanted=lambda study: bool(study.fewshot.shots or study.fewshot.fractions),
    settings=_settings,
    counts=_counts,
    rules=Later("pipeline.heads.tuning", "fewshot_rules"),
    drawn=True,
)
