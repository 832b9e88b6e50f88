"""From the names in a table of scores to variants, and from variants to columns of the cube."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.study.protocol_list import asked_variants
from pipeline.study.schema import Study
from pipeline.study.budget import Budget
from pipeline.study.variant import Variant

Key = tuple[str, str]
"""Protocol and name of a variant: what a row of scores.csv has."""

_TEXTS = ("called", "said", "head", "preset", "distance", "weighting", "normalization", "source")
_NUMBERS = ("k", "temperature", "ways")
_COUNTS = ("views", "tuned", "coarse", "held_out_group")
FIELDS = (*_TEXTS, *_NUMBERS, *_COUNTS, "shots", "fraction", "label")
"""Coordinates that the cube's variants have, beside the protocol."""


def asked_table(study: Study) -> dict[Key, Variant]:
    """All variants that a study can make."""
    return {(variant.protocol, variant.name): variant for variant in asked_variants(study)}


def variants_in(study: Study, scores: pd.DataFrame) -> dict[Key, Variant]:
    """The variants of a table, in its order.

    Names that the study can't make are imported: nothing is read into them.
    """
    asked = asked_table(study)
    rows = scores[["protocol", "variant", "label"]].drop_duplicates(["protocol", "variant"])
    return {
        (protocol, name): asked.get((protocol, name))
        or Variant(protocol=protocol, called=name, said=label)
        for protocol, name, label in rows.itertuples(index=False)
    }


def variant_coords(variants: Sequence[Variant]) -> dict[str, tuple[str, Any]]:
    """Coordinates of dimension ``variant``: "", NaN or 0 where a variant has no such field."""

    def of(values: Iterable[Any], dtype: type) -> tuple[str, Any]:
        return "variant", np.array(list(values), dtype)

    budgets = [variant.budget for variant in variants]
    return (
        {name: of((getattr(v, name) for v in variants), np.str_) for name in _TEXTS}
        | {name: of((_number(getattr(v, name)) for v in variants), float) for name in _NUMBERS}
        | {name: of((getattr(v, name) for v in variants), np.int64) for name in _COUNTS}
        | {
            "shots": of((_number(b.shots if b else None) for b in budgets), float),
            "fraction": of((_number(b.share if b else None) for b in budgets), float),
            "label": of((v.label for v in variants), np.str_),
            "protocol": of((v.protocol for v in variants), np.str_),
        }
    )


def variants_of(cube: xr.Dataset) -> Mapping[str, Variant]:
    """The variants of a cube by their names there, ``protocol/variant``, in its order."""
    columns = {
        name: cube[name].values.tolist()
        for name in ("protocol", *FIELDS)
        if name != "label"
    }  # fmt: skip
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {variant.full_name: variant for variant in map(_variant, rows)}


def _variant(row: Mapping[str, Any]) -> Variant:
    shots, share = _whole(row["shots"]), _known(row["fraction"])
    return Variant(
        protocol=str(row["protocol"]),
        **{name: str(row[name]) for name in _TEXTS},
        k=_whole(row["k"]),
        temperature=_known(row["temperature"]),
        ways=_whole(row["ways"]),
        views=int(row["views"]),
        tuned=bool(row["tuned"]),
        coarse=bool(row["coarse"]),
        held_out_group=bool(row["held_out_group"]),
        budget=None if shots is None and share is None else Budget(shots, share),
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
