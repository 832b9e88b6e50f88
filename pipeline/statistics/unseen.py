"""The same evidence without scores of models on data sets that they were trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import xarray as xr

from pipeline.statistics.evidence import Draws, Evidence, Hits
from pipeline.study.schema import Study


def asked_evidence(evidence: Evidence, study: Study) -> Evidence:
    """The evidence that a study asks its statistics to be made of, by `report.seen`."""
    return without_seen(evidence) if study.report.seen == "leave_out" else evidence


def seen_outside(evidence: Evidence) -> list[tuple[str, str]]:
    """Models with a data set that they were trained on and that is not in domain.

    In domain means: what the models were trained on. Such a data set is a predictor, not a target;
    its cells are marked, and stay.
    """
    inside = set(evidence.datasets("in_domain"))
    return [
        (model, dataset)
        for model in evidence.models
        for dataset in evidence.datasets()
        if dataset not in inside
        and (seen := evidence.seen.get((model, dataset))) is not None
        and seen.is_of_the_data_set
    ]


def without_seen(evidence: Evidence) -> Evidence:
    """The evidence without the cells of `seen_outside`; itself where there is none."""
    gone = set(seen_outside(evidence))
    if not gone:
        return evidence
    cube = cube_without(evidence.cube, gone)

    def read_hits(variant: str, dataset: str) -> Hits:
        found = evidence.read_hits(variant, dataset)
        stays = [(model, dataset) not in gone for model in found.models]
        return Hits(
            tuple(m for m, keep in zip(found.models, stays, strict=True) if keep), found.hits[stays]
        )

    def read_draws(variant: str, dataset: str) -> Draws:
        found = evidence.read_draws(variant, dataset)
        stays = [(model, dataset) not in gone for model in found.models]
        return dataclasses.replace(
            found,
            models=tuple(m for m, keep in zip(found.models, stays, strict=True) if keep),
            scores=found.scores[stays],
        )

    return dataclasses.replace(
        evidence, cube=cube, read_hits=read_hits, read_draws=read_draws, everything=evidence
    )


def cube_without(cube: xr.Dataset, gone: Collection[tuple[str, str]]) -> xr.Dataset:
    """The cube without the scores of some models on some data sets; that is no gap."""
    names = [str(name) for name in cube["dataset"].values]
    mask = np.array([[(str(m), d) not in gone for d in names] for m in cube["model"].values])
    kept = xr.DataArray(mask, dims=("model", "dataset"))
    left = cube.copy()
    for name in ("value", "ci_low", "ci_high", "seconds"):
        left[name] = cube[name].where(kept).transpose(*cube[name].dims)
    if "asked" in cube:
        left["asked"] = cube["asked"].where(kept, 0).transpose(*cube["asked"].dims)
    return left
