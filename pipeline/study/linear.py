"""Linear (and other small) heads, tuned on a hold-out of train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from pipeline.project.later import Later
from pipeline.project.section import Distinct, Section, Seed
from pipeline.study.neighbors import BACKENDS
from pipeline.study.protocol import Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "linear"

Normalization = Literal["none", "zscore", "l2"]
LearningRates = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct]


class Sgd(Section):
    """The study's gradient protocol, on cached features: all heads advance together."""

    learning_rates: LearningRates = [0.01, 0.03, 0.1, 0.3, 1.0]
    batch_norm: Annotated[list[bool], Field(min_length=1), Distinct] = [False, True]
    epochs: int = Field(default=100, ge=1)


class Linear(Section):
    """Linear (and other small) heads; what is tuned is tuned on a hold-out of train."""

    heads: Annotated[
        list[Literal["logistic", "ridge", "sgd", "mlp"]], Field(min_length=1), Distinct
    ] = ["logistic"]
    normalization: Annotated[list[Normalization], Field(min_length=1), Distinct] = ["none"]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct] | None = None
    max_iterations: int = Field(1000, ge=1)
    sgd: Sgd = Sgd()
    seed: Seed = 0


_INPUTS = {
    "none": "features centred and divided by one number",
    "zscore": "features z-scored",
    "l2": "features scaled to unit length, centred and divided by one number",
}


def linear_variants(study: Study) -> list[Variant]:
    """Each head with each normalization; of gradient descent those of `gradient_variants`."""
    asked, found = study.linear, []
    for head in asked.heads:
        if head in ("logistic", "ridge"):
            found += [closed_form(head, normalization) for normalization in asked.normalization]
        else:
            for views in gradient_views(head, study.extraction.views):
                found += gradient_variants(head, asked.sgd.batch_norm, views)
    return found


def closed_form(head: str, normalization: str) -> Variant:
    """A head without a learning rate."""
    return Variant(protocol=NAME, head=head, normalization=normalization)


def gradient_views(head: str, views: int) -> list[int]:
    """Numbers of views that a head is trained on: the evaluation crop, and ``sgd`` on views too."""
    return [0, views] if head == "sgd" and views else [0]


def gradient_variants(head: str, batch_norm: Sequence[bool], views: int = 0) -> list[Variant]:
    """The presets without and with BatchNorm, then those with a tuned learning rate."""
    return [
        Variant(
            protocol=NAME,
            head=head,
            views=views,
            normalization="bn" if bn else "none",
            tuned=tuned,
        )
        for tuned in (False, True)
        for bn in sorted(batch_norm)
    ]


def views_read(study: Study) -> int:
    """Augmented views of train that the heads learn from."""
    return study.extraction.views if "sgd" in study.linear.heads else 0


def head_counts(settings: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """What of the section, as it stands in keys, one head depends on.

    Heads that are trained by gradient descent are fitted, and listed as trials, together.
    """
    if variant.head == "ridge":
        return {}  # its penalties are rules, and leave-one-out draws nothing
    names = ("c", "max_iterations") if variant.head == "logistic" else ("sgd",)
    return {name: settings[name] for name in (*names, "seed")}


def _counts(key: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    views = {"views": key["views"]} if variant.views else {}
    return {"settings": head_counts(key["settings"][NAME], variant), **views}


def _sentence(study: Study) -> str:
    linear = study.linear
    if linear.c is not None and len(linear.c) == 1:
        chosen = f"with C = {linear.c[0]:g}"
    else:
        count = 45 if linear.c is None else len(linear.c)
        chosen = f"its C chosen among {count} values on a hold-out of train, then fitted to all"
    heads = {
        "logistic": "Multinomial logistic regression (Newton-CG, at most "
        f"{linear.max_iterations} iterations), {chosen}",
        "ridge": "Ridge regression to ±1 targets, its penalty chosen by exact leave-one-out on "
        "train",
        "sgd": "A linear head trained by gradient descent as in the study, on cached features",
        "mlp": "A head of three layers trained by gradient descent as in the study, on cached "
        "features",
    }
    return (
        ". ".join(heads[head] for head in linear.heads)
        + f". Headline: {linear.heads[0]}, {_INPUTS[linear.normalization[0]]}, by train "
        "statistics. The test split is used once, to score."
    )


LINEAR = Protocol(
    name=NAME,
    label="linear probe",
    sections=("linear",),
    sentence=_sentence,
    variants=linear_variants,
    counts=_counts,
    run=Later("pipeline.probes.linear", "score_all"),
    backends=BACKENDS,
    rules=Later("pipeline.heads.tuning", "head_rules"),
    views=views_read,
)
