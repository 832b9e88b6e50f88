"""The maps of similarity between a study's models, stored and kept up to date.

One file holds a cube over data sets and pairs of models, and of every data set what it was made
from: nothing is read of a data set whose cells are the same as then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from cache.cell import Cell
from cache.errors import ProbelineError
from cache.fingerprint import fingerprint
from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_all_cells
from pipeline.embeddings.unavailable import available
from pipeline.heads.normalization import Features
from pipeline.machine.netcdf import read_netcdf, write_netcdf
from pipeline.probes.model_similarity import IMAGES, similarity_map
from pipeline.project.paths import SIMILARITY_NC
from pipeline.study.schema import Study

FORMAT = 1
"""Raised when the numbers or their storage change."""


def update_maps(study: Study) -> tuple[int, int]:
    """Compare the models on each data set that has other cells than when it was last done.

    Returns
    -------
    cached, computed : int
        Data sets.

    Raises
    ------
    ProbelineError
        When a cell is missing, or not what the study asks for.
    """
    cells = {
        name: {m: open_all_cells(study, index, m)["val"] for m in available(study, name)}
        for name in study.datasets
        for index in [read_index(name)]
    }
    models = list(study.models)
    keys = {name: _key(list(of), list(of.values())) for name, of in cells.items()}
    known = _stored(SIMILARITY_NC)
    same = {
        name: known["cka"].sel(dataset=name).values
        for name in study.datasets
        if known is not None
        and [str(model) for model in known["model"].values] == models
        and name in known["dataset"].values
        and known["key"].sel(dataset=name).item() == keys[name]
    }
    if known is not None and len(same) == len(cells) == known.sizes["dataset"]:
        return len(same), 0
    maps = np.full((len(cells), len(models), len(models)), np.nan)
    images = np.zeros(len(cells), np.int64)
    for place, (name, of) in enumerate(cells.items()):
        if of:  # a study may hold imported scores alone
            there = np.ix_([models.index(m) for m in of], [models.index(m) for m in of])
            several = list(of.values())
            maps[place][there] = (
                same[name][there] if name in same else similarity_map(_samples(several))
            )
            images[place] = min(IMAGES, several[0].manifest.rows)
    write_netcdf(
        xr.Dataset(
            {
                "cka": (("dataset", "model", "other"), maps),
                "images": ("dataset", images),
            },
            coords={
                "dataset": list(cells),
                "model": models,
                "other": models,
                "key": ("dataset", list(keys.values())),
            },
            attrs={
                "definition": "debiased linear CKA between the embeddings of the same test "
                f"images, at most {IMAGES:,} of a data set",
                "source": "Song et al. 2012 (HSIC without bias); Kornblith et al. 2019 (CKA)",
            },
        ),
        SIMILARITY_NC,
    )
    return len(same), len(cells) - len(same)


def _key(models: list[str], cells: list[Cell]) -> str:
    of_models = [[m, c.manifest.numbers] for m, c in zip(models, cells, strict=True)]
    return fingerprint({"format": FORMAT, "images": IMAGES, "models": of_models})


def _stored(path: Path) -> xr.Dataset | None:
    """What was stored; None where there is nothing, or a damaged file, which is made anew."""
    try:
        return read_netcdf(path)
    except ProbelineError:
        return None


def _samples(cells: list[Cell]) -> Iterator[Features]:
    """The same images' features of one model after the other."""
    from pipeline.probes.reading import read_rows, subsample  # not needed where nothing is new

    rows = subsample(cells[0].manifest.rows, IMAGES, seed=0)
    for cell in cells:
        yield read_rows(cell, rows)
