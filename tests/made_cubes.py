"""Cubes of scores with planted effects, as `pipeline.results.cube.to_cube` makes them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from named_variants import variants_named

from pipeline.results.variant_table import variant_coords
from pipeline.statistics.evidence import Draws, Evidence, Hits, ValSplit
from pipeline.study.schema import Correlation

WORDS = {
    "family": "model",
    "method": "model",
    "backbone": "model",
    "supervision": "model",
    "objective": "model",
    "role": "dataset",
    "cluster": "dataset",
    "shift": "dataset",
}


def make_cube(accuracy, variants=None, *, n_test=1_000, **words):
    """A cube of top-1 accuracies.

    `accuracy` has shape (n_models, n_datasets, n_variants), NaN where missing, or is a dict of
    (n_models, n_datasets) by variant; `words` are lists of family, backbone …, or one word for all.
    Predictors' numbers go where ``promise`` belongs.
    """
    if variants is None:
        variants, accuracy = list(accuracy), np.stack(list(accuracy.values()), axis=-1)
    accuracy = np.asarray(accuracy, np.float64)
    models, datasets = ([f"{w}{i}" for i in range(n)] for w, n in
                        zip(("m", "d"), accuracy.shape, strict=False))  # fmt: skip
    protocols = [v.split("/")[0] for v in variants]
    value = np.full((*accuracy.shape, 2), np.nan)
    cheap = np.array([p == "predictors" for p in protocols])
    value[..., ~cheap, 0] = accuracy[..., ~cheap]
    value[..., cheap, 1] = accuracy[..., cheap]
    dims = ("model", "dataset", "variant", "metric")
    defaults = {
        "family": models,
        "method": models,
        "backbone": "resnet",
        "supervision": "unknown",
        "objective": "unknown",
        "role": ["in_domain"] + ["out_of_domain"] * (len(datasets) - 1),
        "cluster": "",
        "shift": "",
    }
    sizes = {"model": len(models), "dataset": len(datasets)}
    coords = {
        word: (dim, np.broadcast_to(words.get(word, defaults[word]), sizes[dim]).astype(str))
        for word, dim in WORDS.items()
    }
    unknown = np.full(value.shape, np.nan)
    seconds = np.where(np.isfinite(value), 2.0, np.nan)
    return xr.Dataset(
        {"value": (dims, value)}
        | dict.fromkeys(("ci_low", "ci_high"), (dims, unknown))
        | {"seconds": (dims, seconds)}
        | {"n_test": ("dataset", np.broadcast_to(n_test, len(datasets)))},
        coords={
            "model": models,
            "dataset": datasets,
            "variant": variants,
            "metric": ["top1", "promise"],
        }
        | variant_coords(variants_named(variants))
        | coords,
    )


def make_evidence(cube, *, hits=None, draws=None, classes=10, metric="top1"):
    """Evidence of a cube.

    `hits` maps (variant, data set) to outcomes of shape (n_models, n_test), `draws` to scores of
    shape (n_models, n_draws); of all models of the cube.
    """
    models = tuple(str(m) for m in cube["model"].values)
    hits, draws = hits or {}, draws or {}
    sizes = {d: h.shape[1] for (_, d), h in hits.items()} | {
        d: 4 * classes for _, d in draws if d not in {name for _, name in hits}
    }
    tests = {
        d: ValSplit(tuple(f"{d}/{i}" for i in range(n)), np.arange(n) % classes, 100 * classes,
                    classes, ())
        for d, n in sizes.items()
    }  # fmt: skip

    def read_hits(variant, dataset):
        found = hits.get((variant, dataset))
        if found is None:
            return Hits((), np.zeros((0, sizes[dataset]), np.float32))
        return Hits(models, np.asarray(found, np.float32))

    def read_draws(variant, dataset):
        found = draws.get((variant, dataset))
        return Draws((), np.zeros((0, 0))) if found is None else Draws(models, np.asarray(found))

    return Evidence(cube, Correlation(metric=metric), tests, read_hits, read_draws)
