"""Evidence with planted truths, made in memory: no study, no records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from named_variants import variants_named

from pipeline.scores.variant_table import variant_coords
from pipeline.statistics.evidence import Evidence, Hits, ValSplit
from pipeline.study import Correlation


def make_cube(
    scores: Mapping[str, np.ndarray],
    *,
    roles: Sequence[str],
    families: Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    n_test: int | Sequence[int] = 1_000,
) -> xr.Dataset:
    """A cube of top-1 scores: variant -> (n_models, n_datasets); cheap predictors by promise."""
    variants = list(scores)
    models, datasets = scores[variants[0]].shape
    value = np.full((models, datasets, len(variants), 2), np.nan)
    for v, variant in enumerate(variants):
        value[:, :, v, int(variant.startswith("predictors/"))] = scores[variant]
    dims = ("model", "dataset", "variant", "metric")
    names = [f"model{i}" for i in range(models)]
    return xr.Dataset(
        {
            "value": (dims, value),
            "seconds": (dims, np.where(np.isfinite(value), 2.0, np.nan)),
            "n_test": ("dataset", np.broadcast_to(n_test, datasets).astype(np.int64)),
        },
        coords={
            "model": names,
            "dataset": [f"data{i}" for i in range(datasets)],
            "variant": variants,
            "metric": ["top1", "promise"],
            **variant_coords(variants_named(variants)),
            "family": ("model", list(families or names)),
            "backbone": ("model", list(backbones or ["one"] * models)),
            "method": ("model", names),
            "supervision": ("model", ["unknown"] * models),
            "kind": ("model", ["unknown"] * models),
            "role": ("dataset", list(roles)),
            "cluster": ("dataset", list(clusters or [""] * datasets)),
            "shift": ("dataset", [""] * datasets),
        },
    )


def make_evidence(
    cube: xr.Dataset,
    hits: Mapping[tuple[str, str], np.ndarray] | None = None,
    *,
    shared: bool = False,
    labels: np.ndarray | None = None,
    metric: str = "top1",
) -> Evidence:
    """Evidence of a cube; outcomes by (variant, data set), (n_models, n_images) each.

    `shared`: all data sets have the same list of images.
    """
    hits = hits or {}
    tests = {}
    for name in [str(d) for d in cube["dataset"].values]:
        sizes = [h.shape[1] for (_, dataset), h in hits.items() if dataset == name]
        if sizes:
            paths = tuple(f"{'all' if shared else name}/{i}" for i in range(sizes[0]))
            own = np.arange(sizes[0]) % 4 if labels is None else labels
            tests[name] = ValSplit(paths, own.astype(np.int64), 3 * sizes[0], 4, ())

    def read_hits(variant: str, dataset: str) -> Hits:
        found = hits.get((variant, dataset))
        if found is None:
            return Hits((), np.zeros((0, len(tests[dataset].labels)), np.float32))
        return Hits(tuple(cube["model"].values.tolist()), found.astype(np.float32))

    settings = Correlation.model_validate({"metric": metric})
    return Evidence(cube, settings, tests, read_hits)
