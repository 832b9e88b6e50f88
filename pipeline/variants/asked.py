"""All variants that a study can make: what its records hold, as objects, in order.

A cell's record may hold fewer: no presets whose k is beyond the train split, no heads that
diverged, no class counts that the data set does not have, no sources without shared classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from pipeline.study import Study
from pipeline.variants.budget import budgets
from pipeline.variants.presets import PRESETS, TUNED
from pipeline.variants.variant import Variant


def asked_variants(study: Study) -> list[Variant]:
    """Of every protocol, whether or not a cell has it."""
    return [
        *knn_variants(study),
        *([TUNED] if study.knn.tuned else []),
        *linear_variants(study),
        *fewshot_variants(study),
        *(Variant(protocol="finetune", called=run) for run in study.finetune.runs),
        *transfer_variants(study),
        *(Variant(protocol="predictors", called=name) for name in study.predictors.names),
    ]


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
            protocol="knn",
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
    return Variant(protocol="linear", head=head, normalization=normalization)


def gradient_views(head: str, views: int) -> list[int]:
    """Numbers of views that a head is trained on: the evaluation crop, and ``sgd`` on views too."""
    return [0, views] if head == "sgd" and views else [0]


def gradient_variants(head: str, batch_norm: Sequence[bool], views: int = 0) -> list[Variant]:
    """The presets without and with BatchNorm, then those with a tuned learning rate."""
    return [
        Variant(
            protocol="linear",
            head=head,
            views=views,
            normalization="bn" if bn else "none",
            tuned=tuned,
        )
        for tuned in (False, True)
        for bn in sorted(batch_norm)
    ]


def fewshot_variants(study: Study) -> Iterator[Variant]:
    """Budgets with each head; then the simpler problems, of the first budget."""
    asked = study.fewshot
    every = [
        Variant(protocol="fewshot", head=head, budget=budget)
        for budget in budgets(asked.shots, asked.fractions)
        for head in asked.heads
    ]
    yield from every
    for variant in every[: len(asked.heads)]:
        yield from (replace(variant, ways=ways) for ways in asked.class_counts)
        if asked.coarse:
            yield replace(variant, coarse=True)


def transferred_knn(study: Study) -> list[Variant]:
    """The presets that the study asks for; without one, the first combination of the grid."""
    presets = sum(len(PRESETS[name]) for name in study.knn.presets)
    return knn_variants(study)[: presets or 1]


def transfer_variants(study: Study) -> Iterator[Variant]:
    """Every probe trained on each source, and each source's groups left out in turn."""
    probes = [*transferred_knn(study), *linear_variants(study)]
    for source in study.transfer.sources:
        for probe in probes:
            yield from trained_on(source, probe)
    if study.transfer.sources:
        yield from (held_out(probe) for probe in (probes[0], closed_form("ridge", "none")))


def trained_on(source: str, probe: Variant) -> list[Variant]:
    """A probe tested on other data sets; with z-scoring also by the target's own statistics."""
    moved = replace(probe, protocol="transfer", source=source)
    twin = [replace(moved, normalization="target_zscore")]
    return [moved, *(twin if probe.normalization == "zscore" else [])]


def held_out(probe: Variant) -> Variant:
    """A probe tested on each group of its own train split, left out of training."""
    return replace(probe, protocol="transfer", held_out_group=True)
