"""Evidence with planted truths, made in memory: no study, no records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pipeline.statistics import registry
from pipeline.statistics.evidence import Evidence, Hits, ValSplit
from pipeline.study.schema import Correlation


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


def all_statistics(evidence: Evidence) -> dict[str, xr.Dataset]:
    """Every table of an evidence, none of them kept."""
    return {name: statistic(evidence) for name, statistic in registry.STATISTICS.items()}
