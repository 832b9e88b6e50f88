"""Scores as a table and a cube, and statistics of it: documented columns, the same bytes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from projects import RESNET, VIT

from cache.errors import ProbelineError
from pipeline.cube import COLUMNS, read_netcdf, to_cube
from pipeline.params import load_study


@pytest.fixture
def scored(project):
    """Six models of five families on one data set, scored by both protocols."""
    project.params["models"] = {
        f"m{n}": {
            **(VIT if n % 2 else RESNET), "weights": f"random({n})", "family": f"f{min(n, 4)}"
        }
        for n in range(6)
    }  # fmt: skip
    project.prepare()
    for stage in ("knn", "linear"):
        project.run(stage).succeeded("0 cached, 6 computed")
    project.run("collect").succeeded("0 cells missing")
    project.run("correlate").succeeded("over 6 models")
    return project


def test_tables_cubes_and_statistics_agree_and_are_deterministic(scored):
    table = pd.read_csv("results/scores.csv")
    assert tuple(table.columns) == COLUMNS
    assert set(table["metric"]) == {"top1", "mean_per_class"}
    assert len(table) == 6 * 2 * 2
    assert table["value"].between(0, 1).all()
    assert (table["ci_low"] <= table["value"] + 1e-9).all()
    assert (table["n_test"] == 2).all()
    for text in table["details"]:
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    cube = read_netcdf(scored.folder / "results" / "scores.nc")
    for row in table.itertuples():
        at = {"model": row.model, "dataset": row.dataset, "metric": row.metric}
        found = cube["value"].sel(**at, variant=f"{row.protocol}/{row.variant}")
        assert float(found) == row.value
    assert cube["family"].values.tolist() == ["f0", "f1", "f2", "f3", "f4", "f4"]
    correlation = read_netcdf(scored.folder / "results" / "correlation.nc")
    assert correlation.sizes["predictor"] == 2
    assert int(correlation["n"].max()) == 6
    metrics = json.loads((scored.folder / "results" / "metrics.json").read_text())
    assert metrics["missing_cells"] == 0
    # Collected again, the same scores give the same bytes.
    before = scored.files("results")
    for stage in ("collect", "correlate"):
        scored.run(stage)
    assert scored.files("results") == before
    assert scored.left_overs() == []


def test_missing_and_damaged_records_stay_visible_and_are_made_again(scored):
    (scored.folder / "results" / "knn" / "pets" / "m2.parquet").unlink()
    scored.run("collect").succeeded("not scored: knn of m2 on pets", "1 cells missing")
    cube = read_netcdf(scored.folder / "results" / "scores.nc")
    variant = [v for v in cube["variant"].values if v.startswith("knn")][0]  # noqa: RUF015
    values = cube["value"].sel(variant=variant, dataset="pets", metric="top1")
    assert np.isnan(values.sel(model="m2"))
    assert np.isfinite(values).sum() == 5
    scored.run("correlate").succeeded()
    scored.run("knn").succeeded("5 cached, 1 computed")
    # A damaged record is named, and made again.
    path = scored.folder / "results" / "linear" / "pets" / "m1.parquet"
    path.write_bytes(path.read_bytes()[:100])
    scored.run("collect").refused("m1.parquet", "delete the file")
    scored.run("linear").succeeded("5 cached, 1 computed")
    scored.run("collect").succeeded()


def test_without_scores_there_is_nothing_to_correlate(project):
    project.run("correlate").refused("scores.nc", "dvc repro")
    project.run("collect").succeeded("0 scores, 2 cells missing")
    project.run("correlate").refused("no scores yet")
    assert list(pd.read_csv("results/scores.csv").columns) == list(COLUMNS)
    (project.folder / "results" / "scores.nc").write_bytes(b"hello")
    project.run("correlate").refused("scores.nc", "damaged")


def test_reading_what_is_no_netcdf(tmp_path):
    with pytest.raises(ProbelineError, match="not made yet"):
        read_netcdf(tmp_path / "x.nc")


def test_a_cube_of_no_scores_has_the_studys_models(project):
    study = load_study()
    empty = pd.DataFrame(columns=list(COLUMNS))
    cube = to_cube(study, empty)
    assert isinstance(cube, xr.Dataset)
    assert cube["model"].values.tolist() == ["tiny"]
