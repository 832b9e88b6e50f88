"""Tables that another setting does not concern are kept, by a digest of all that they are made of.

Most statistics look at headlines and cheap checks alone, and nobody's headline changes when a
vote of 7 neighbours is added. These get an evidence that holds nothing else, so that they can't
depend on more than the digest covers: scores, keys of outcomes, test images, settings, code.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import xarray as xr

from cache.errors import ProbelineError
from cache.fingerprint import canonical_json
from pipeline.machine.netcdf import read_netcdf_groups, write_netcdf
from pipeline.project.paths import FORMER
from pipeline.results.cube import cheap_predictors
from pipeline.statistics import registry
from pipeline.statistics.evidence import Evidence, no_draws
from pipeline.statistics.single_images import SingleImages
from pipeline.statistics.target_checks import other_shots

OF_HEADLINES = (
    "mean_scores", "mean_pairs", "trust", "comparison", "predictor_differences", "null_models",
    "against_null_models", "without_strongest", "choosing", "fidelity_cost", "headline_pairs",
    "reliability", "disattenuated_pearson", "model_pairs", "gaps", "gap_sensitivity",
    "objective_share", "variance_explained", "within_backbones", "correlations_by_shift",
    "predictors_given_backbone", "ranks", "overall_ranks", "averages", "leaders_without",
    "concordance", "power", "power_curves", "new_target", "behaves_like", "enough_images",
    "target_checks",
)  # fmt: skip
"""Statistics that look at nothing but headlines, cheap predictors and other numbers of labels."""

MOST = 3
"""Evidences whose tables are kept: the latest."""

_FOLDER = FORMER / "tables"
_CODE = ("statistics", "results", "study")
"""Packages of pipeline/ whose text is part of the digest."""


def kept_statistics(evidence: Evidence) -> dict[str, xr.Dataset]:
    """All statistics; those `OF_HEADLINES` are read, where they were computed before."""
    statistics = registry.STATISTICS
    names = [name for name in OF_HEADLINES if name in statistics]
    alone = headlines_alone(evidence)
    path = _FOLDER / f"{digest_of(alone)[:32]}.nc"
    kept = _read(path)
    if kept is None or not kept.keys() >= set(names):
        write_netcdf(xr.Dataset(), path, {name: statistics[name](alone) for name in names})
        kept = read_netcdf_groups(path)  # in the form that they will be read in
        _forget_oldest()
    whole = replace(evidence, headlines=alone, tables=kept)
    return {
        name: kept[name] if name in names else statistic(whole)
        for name, statistic in statistics.items()
    }


def headlines_alone(evidence: Evidence) -> Evidence:
    """The evidence with headlines, cheap predictors and other numbers of labels: nothing else."""
    shots = (variant.full_name for variant in other_shots(evidence))
    stays = {*evidence.headline.values(), *cheap_predictors(evidence.cube), *shots}
    names = [name for name in map(str, evidence.cube["variant"].values) if name in stays]
    return replace(
        evidence,
        cube=evidence.cube.sel(variant=names).drop_attrs(),
        read_draws=no_draws,
        everything=None,
        images=SingleImages(),
        headlines=None,
        tables={},
    )


def digest_of(evidence: Evidence) -> str:
    """Of all that a statistic can be told by an evidence of `headlines_alone`."""
    digest = hashlib.sha256()
    for part in _parts(evidence):
        digest.update(f"{len(part)} ".encode())
        digest.update(part)
    return digest.hexdigest()


def _parts(evidence: Evidence) -> Iterator[bytes]:
    yield from _code()
    for name in sorted(map(str, evidence.cube.variables)):
        variable = evidence.cube.variables[name]
        values = variable.values
        texts = values.astype(np.str_).ravel().tolist() if values.dtype.kind in "OU" else None
        yield canonical_json([name, variable.dims, values.shape, values.dtype.kind, texts]).encode()
        if texts is None:
            yield np.ascontiguousarray(values).tobytes()
    for name, test in evidence.tests.items():
        told = [name, test.n_train, test.n_classes, test.remarks, test.notes, test.classes]
        yield canonical_json([*told, test.paths]).encode()
        yield test.labels.tobytes()
    told = [
        evidence.settings.to_key(), evidence.margin, sorted(evidence.untrained), evidence.target,
        sorted([*cell, seen] for cell, seen in evidence.seen.items()), evidence.baseline,
    ]  # fmt: skip
    yield canonical_json(told).encode()
    for variant in evidence.headline.values():
        for dataset in evidence.datasets():
            yield evidence.outcomes(variant, dataset).encode()


def _code() -> Iterator[bytes]:
    here = Path(__file__).parents[1]
    for path in sorted(file for room in _CODE for file in (here / room).glob("*.py")):
        yield path.read_bytes()
    versions = [module.__version__ for module in (np, scipy, pd, xr)]
    yield canonical_json(versions).encode()


def _read(path: Path) -> dict[str, xr.Dataset] | None:
    try:
        return read_netcdf_groups(path)
    except ProbelineError:  # not made yet, or damaged
        return None


def _forget_oldest() -> None:
    files = sorted(_FOLDER.glob("*.nc"), key=lambda path: path.stat().st_mtime_ns)
    for path in files[:-MOST]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
