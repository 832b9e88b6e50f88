"""Variants by their names, for tests that plant scores: found among very many, never parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product

from pipeline.study.budget import budgets
from pipeline.study.column import Column
from pipeline.study.knn import PRESETS, TUNED, votes_in
from pipeline.study.linear import closed_form, gradient_variants
from pipeline.study.transfer import held_out, trained_on
from pipeline.study.variant import Variant

SOURCES = ("a", "a_b", "d0", "d1", "data0", "in0", "in", "digits", "cats_bnw", "my_knn_set")
HEADS = ("prototypes", "ridge", "logistic")


def variants_named(names: Sequence[str]) -> list[Variant]:
    """By ``protocol/variant``; what no study makes is taken for imported."""
    return [_known().get(name) or _imported(*name.split("/", 1)) for name in names]


def variant_named(name: str) -> Variant:
    """The same of one."""
    (found,) = variants_named([name])
    return found


class AnyVariants(dict[str, Variant]):
    """Variants by name, whether or not a cube has them."""

    def __missing__(self, name: str) -> Variant:
        return variant_named(name)


class AnyColumns(dict[str, Column]):
    """Columns by name, whether or not a cube has them."""

    def __missing__(self, name: str) -> Column:
        variant, dataset = name.split("@", 1)
        return Column(variant_named(variant), dataset)


def _imported(protocol: str, name: str) -> Variant:
    return Variant(protocol=protocol, called=name)


@cache
def _known() -> dict[str, Variant]:
    return {variant.full_name: variant for variant in _many()}


def _many() -> Iterator[Variant]:
    normalizations = ("none", "zscore", "l2", "centered_l2")
    votes = [vote for preset in PRESETS.values() for vote in preset]
    for distance, normalization in product(("euclidean", "cosine"), normalizations):
        votes += votes_in(
            distance, normalization, range(1, 26), ("uniform", "distance", "softmax"), (0.07,)
        )
    heads = [closed_form(*of) for of in product(("logistic", "ridge"), normalizations)]
    heads += [v for h in ("sgd", "mlp") for v in gradient_variants(h, (False, True))]
    heads += gradient_variants("sgd", (False, True), 3)
    yield from (*votes, TUNED, *heads)
    for probe in (*votes, *heads):
        yield held_out(probe)
        yield from (moved for source in SOURCES for moved in trained_on(source, probe))
    shares = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5)
    for head, budget in product(HEADS, budgets(range(1, 101), shares)):
        variant = Variant(protocol="fewshot", head=head, budget=budget)
        yield from (variant, replace(variant, coarse=True))
        yield from (replace(variant, ways=ways) for ways in range(2, 21))
