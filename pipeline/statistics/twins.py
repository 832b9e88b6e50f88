"""Variants that differ in nothing but how features are normalised."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pipeline.study.variant import Variant


def plain_twins(variants: Collection[Variant]) -> dict[Variant, Variant]:
    """From each normalised variant to the one without, where that is there."""
    there = set(variants)
    twins = {
        variant: replace(variant, normalization="none")
        for variant in variants
        if variant.normalization not in ("", "none")
    }
    return {variant: twin for variant, twin in twins.items() if twin in there}
