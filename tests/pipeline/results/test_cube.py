"""Scores as a table and a cube, and statistics of it: documented columns, the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from projects import RESNET, VIT

from cache.cell import Cell
from cache.errors import ProbelineError
from cache.records import read_record, write_record
from pipeline.machine.netcdf import read_netcdf, write_netcdf
from pipeline.project.paths import SCORES_NC, cell_address, record_path
from pipeline.results.cube import to_cube
from pipeline.results.score_table import COLUMNS
from pipeline.study.params import load_study


@pytest.fixture
def scored(project, kept_project):
    return project.once(kept_project, project.score_six_models)


def test_tables_cubes_and_statistics_agree_and_are_deterministic(scored):
    table = pd.read_csv("results/scores.csv")
    assert tuple(table.columns) == COLUMNS
    accuracies = table[table["metric"].isin(["top1", "mean_per_class"])]
    assert {"macro_f1", "ece"} < set(table["metric"])
    assert len(accuracies) == 6 * 2 * 2
    assert accuracies["value"].between(0, 1).all()
    assert (accuracies["ci_low"] <= accuracies["value"] + 1e-9).all()
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


def test_other_outcomes_of_the_same_scores_are_another_cube(scored):
    """What comes after `collect` reads them, and depends on results/scores.nc alone."""
    path = record_path("knn", "pets", "m2")
    scores, cube = Path("results/scores.csv"), Path("results/scores.nc")
    before = scores.read_bytes(), cube.read_bytes(), path.read_bytes()
    record = read_record(path)
    outcomes = record.outcomes()
    write_record(path, key=record.key, scores=record.scores, outcomes=outcomes.slice(1))
    scored.run("collect").succeeded("0 cells missing")
    assert scores.read_bytes() == before[0]
    assert cube.read_bytes() != before[1]
    path.write_bytes(before[2])
    scored.run("collect").succeeded()
    assert cube.read_bytes() == before[1]


def test_missing_and_damaged_records_stay_visible_and_are_made_again(scored):
    (scored.folder / "results" / "knn" / "pets" / "m2.parquet").unlink()
    scored.run("collect").succeeded("not scored: knn of m2 on pets", "1 cells missing")
    cube = read_netcdf(scored.folder / "results" / "scores.nc")
    variant = [v for v in cube["variant"].values if v.startswith("knn")][0]  # noqa: RUF015
    values = cube["value"].sel(variant=variant, dataset="pets", metric="top1")
    assert np.isnan(values.sel(model="m2"))
    assert np.isfinite(values).sum() == 5
    scored.run("correlate").succeeded()
    scored.knn().succeeded("5 cached, 1 computed")
    # A damaged record is named, and made again.
    path = scored.folder / "results" / "linear" / "pets" / "m1.parquet"
    path.write_bytes(path.read_bytes()[:100])
    scored.run("collect").refused("m1.parquet", "delete the file")
    scored.run("linear").succeeded("5 cached, 1 computed")
    scored.run("collect").succeeded()


def test_a_cube_of_another_version_is_refused(scored):
    cube = read_netcdf(SCORES_NC)
    write_netcdf(cube.drop_vars(["head", "label"]), SCORES_NC)
    for stage in ("correlate", "report"):
        scored.run(stage).refused("scores.nc", "another version", "no head, label", "collect")


def collected() -> dict[str, float]:
    """Top-1 of each model by kNN, as scores.csv has it."""
    table = pd.read_csv("results/scores.csv")
    table = table[(table["protocol"] == "knn") & (table["metric"] == "top1")]
    return dict(zip(table["model"], table["value"], strict=True))


def test_scores_of_two_precisions_never_stand_side_by_side(project, monkeypatch):
    """A run that is killed while it scores the new cells leaves records of the old ones."""
    from pipeline.machine import process_pool
    from pipeline.probes import protocol

    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.prepare()
    project.knn().succeeded("2 computed")
    project.run("collect").succeeded()
    assert set(collected()) == {"tiny", "net"}
    project.params["extraction"]["precision"] = "bfloat16"
    project.write()
    # Nothing is computed again yet: the old scores answer another question.
    project.run("collect").succeeded("not scored: knn of tiny", "not scored: knn of net")
    assert collected() == {}
    # Extraction of the second model never came to its end; linear scores the first nevertheless.
    project.params["models"] = {"tiny": VIT}
    project.write()
    project.run("extract", "pets").succeeded("1 computed")
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.write()
    for stage in ("knn", "linear"):
        project.run(stage).refused("model net on data set pets", 'precision: "float32" -> "bfl')
    project.run("cli", "status").succeeded("pets/net: embeddings stale (train: precision:")
    project.run("collect").succeeded("not scored: knn of tiny", "not scored: knn of net")
    # Scoring is killed after the first of the two.
    project.run("extract", "pets").succeeded("1 cached, 1 computed")
    monkeypatch.setattr(
        protocol,
        "run_jobs",
        lambda f, jobs, *rest, costs=(), **more: process_pool.run_jobs(
            f, jobs[:1], *rest, costs=costs[:1], **more
        ),
    )
    project.knn()
    project.run("collect").succeeded("not scored: knn of net", "2 cells missing")
    assert set(collected()) == {"tiny"}
    monkeypatch.undo()
    monkeypatch.chdir(project.folder)
    project.knn().succeeded("1 cached, 1 computed")
    project.run("collect").succeeded("1 cells missing")
    assert set(collected()) == {"tiny", "net"}


def test_a_stale_view_makes_the_whole_model_stale(project):
    project.params["extraction"]["views"] = 1
    project.prepare()
    project.knn().succeeded("1 computed")
    view = cell_address("pets", "tiny", "train_view_1").path
    kept = project.folder / "kept"
    shutil.copytree(view, kept)
    project.params["extraction"]["precision"] = "bfloat16"
    project.write()
    project.run("extract", "pets").succeeded("1 computed")
    shutil.rmtree(view)
    kept.rename(view)  # as if the run had been killed before it
    project.run("knn").refused("train_view_1: precision")
    project.run("collect").succeeded("not scored: knn of tiny")
    project.run("extract", "pets").succeeded("0 cached, 1 computed")
    assert Cell.open(cell_address("pets", "tiny", "train_view_1")).manifest.key["precision"] == (
        "bfloat16"
    )


def test_results_without_embeddings_are_collected_and_those_of_other_cells_are_not(scored):
    before = (scored.folder / "results" / "scores.csv").read_bytes()
    shutil.rmtree("data/embeddings")
    scored.run("collect").succeeded("0 cells missing")
    assert (scored.folder / "results" / "scores.csv").read_bytes() == before
    spoiled = scored.folder / "data" / "provenance" / "pets" / "m1.json"
    spoiled.write_bytes(b"{}")  # nothing tells what m1's scores are of
    scored.run("collect").succeeded("not scored: knn of m1", "2 cells missing")
    entry = scored.params["models"]["m2"]
    entry["weights"] = "random(99)"
    scored.write()
    scored.run("collect").succeeded("not scored: linear of m2", "4 cells missing")
    scored.params["extraction"]["precision"] = "bfloat16"
    scored.write()
    scored.run("collect").succeeded("0 scores, 12 cells missing")


def test_records_of_a_data_set_without_an_index_are_refused(scored):
    shutil.rmtree("data/index")
    scored.run("collect").refused("pets.parquet", "not indexed")


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
