"""Stage predictors: what it stores, and how predictors enter the table and the statistics."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from projects import RESNET, VIT, fill_folder
from scipy import stats

from cache.cell import Cell
from cache.records import read_record
from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_cells
from pipeline.machine.netcdf import read_netcdf
from pipeline.probes.predictors import run_predictors
from pipeline.probes.task import Task
from pipeline.project.paths import cell_address, record_path
from pipeline.results.cube import headline_variants
from pipeline.study.params import load_study

NAMES = ["logme", "rankme", "h_score", "alpha_req", "cdnv", "nc1", "uniformity", "label_cka"]


@pytest.fixture
def predicted(project, kept_project):
    return project.once(kept_project, lambda: build(project))


def build(project) -> None:
    """Six models of five families with every predictor."""
    fill_folder(project.folder / "images", {"cat": 30, "dog": 30})
    project.params["models"] = {
        f"m{n}": {
            **(VIT if n % 2 else RESNET), "weights": f"random({n})", "family": f"f{min(n, 4)}"
        }
        for n in range(6)
    }  # fmt: skip
    project.params["transferability"] = {"names": NAMES, "seed": 2}
    project.prepare()
    project.run("predictors").succeeded("0 cached, 6 computed")


def scores_of(model: str) -> dict[tuple[str, str], dict]:
    record = read_record(record_path("predictors", "pets", model))
    assert record is not None
    assert record.outcomes().num_rows == 0
    return {(row["variant"], row["metric"]): row for row in record.scores}


def test_values_and_promises_are_stored_and_undefined_ones_say_why(predicted):
    rows = scores_of("m0")
    assert list(dict.fromkeys(variant for variant, _ in rows)) == NAMES
    cell = Cell.open(cell_address("pets", "m0", "train"))
    features, labels = cell.read().astype(np.float64), cell.labels()
    sigma = np.linalg.svd(features, compute_uv=False)
    share = sigma / sigma.sum()
    rank = np.exp(-(share * np.log(share)).sum())
    assert rows["rankme", "value"]["value"] == pytest.approx(rank, rel=1e-3)
    assert rows["rankme", "promise"]["value"] == pytest.approx(rank / features.shape[1], rel=1e-3)
    cat, dog = (features[labels == label] for label in (0, 1))
    variances = [np.square(g - g.mean(0)).sum(1).mean() for g in (cat, dog)]
    cdnv = sum(variances) / 2 / np.square(cat.mean(0) - dog.mean(0)).sum()
    assert rows["cdnv", "value"]["value"] == pytest.approx(cdnv, rel=1e-6)
    assert rows["cdnv", "promise"]["value"] == pytest.approx(-cdnv, rel=1e-6)
    for row in rows.values():
        assert row["n_train"] == len(labels)
        assert row["seed"] == 2
        assert row["value"] is not None or row["details"]["reason"]
    predicted.run("predictors").succeeded("6 cached, 0 computed")


def test_only_its_own_settings_make_it_run_again(predicted):
    predicted.run("linear").succeeded("6 computed")
    predicted.params["linear"]["seed"] = 9
    predicted.write()
    predicted.run("predictors").succeeded("6 cached, 0 computed")
    predicted.run("linear").succeeded("6 computed")
    predicted.params["transferability"]["names"] = ["cdnv"]
    predicted.write()
    predicted.run("predictors").succeeded("6 cached, 0 computed")  # it is known
    predicted.params["transferability"]["seed"] = 3
    predicted.write()
    predicted.run("predictors").succeeded("0 cached, 6 computed")
    predicted.run("linear").succeeded("6 cached, 0 computed")


def test_a_predictor_that_is_undefined_is_null_in_all_files(predicted, monkeypatch):
    from pipeline.probes import predictors

    monkeypatch.setitem(
        predictors.PREDICTORS, "cdnv", lambda data: predictors._signed(-1, np.nan, 8, "no spread")
    )
    for path in (predicted.folder / "results" / "predictors" / "pets").iterdir():
        path.unlink()
    predicted.run("predictors").succeeded("6 computed")
    row = scores_of("m1")["cdnv", "promise"]
    assert row["value"] is None
    assert row["details"]["reason"] == "no spread"
    predicted.run("collect").succeeded()
    table = pd.read_csv("results/scores.csv")
    assert table[table["variant"] == "cdnv"]["value"].isna().all()
    cube = read_netcdf(predicted.folder / "results" / "scores.nc")
    assert np.isnan(cube["value"].sel(variant="predictors/cdnv")).all()
    predicted.run("correlate").succeeded()
    text = (predicted.folder / "results" / "metrics.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_promises_enter_the_correlations_and_no_protocols_place(predicted):
    predicted.run("linear").succeeded()
    predicted.run("collect").succeeded()
    predicted.run("correlate").succeeded()
    cube = read_netcdf(predicted.folder / "results" / "scores.nc")
    assert headline_variants(cube) == {"linear": "linear/logistic_none"}
    table = pd.read_csv("results/scores.csv")
    linear = table[(table["protocol"] == "linear") & (table["variant"] == "logistic_none")]
    top1 = linear[linear["metric"] == "top1"].set_index("model")["value"]
    correlations = read_netcdf(predicted.folder / "results" / "correlation.nc")
    metrics = json.loads((predicted.folder / "results" / "metrics.json").read_text())
    assert len(set(top1)) > 1
    for name in NAMES:
        chosen = table[(table["variant"] == name) & (table["metric"] == "promise")]
        promise = chosen.set_index("model")["value"].reindex(top1.index)
        both = promise.notna()
        pair = {
            "predictor": f"predictors/{name}@pets",
            "target": "linear/logistic_none@pets",
        }
        found = correlations["value"].sel(pair)
        if both.sum() < 4:
            assert np.isnan(found).all()
            continue
        rho = stats.spearmanr(promise[both], top1[both])[0]
        assert float(found.sel(coefficient="spearman")) == pytest.approx(rho)
        assert np.isnan(found.sel(coefficient="pearson_logit"))
    assert metrics["accuracy"] == pytest.approx(top1.max())


def test_alignment_reads_two_cached_views(project):
    project.params["extraction"]["views"] = 2
    project.prepare()
    study = load_study()
    asked = study.transferability.model_copy(update={"names": ["alignment", "cdnv"]})
    index = read_index("pets")
    train, val = open_cells(study, index, "tiny")
    task = Task("pets", "tiny", train, val, index.classes)
    found = run_predictors(study.model_copy(update={"transferability": asked}), task).rows
    views = [
        Cell.open(cell_address("pets", "tiny", f"train_view_{n}")).read().astype(np.float64)
        for n in (1, 2)
    ]
    a, b = (v / np.linalg.norm(v, axis=1)[:, np.newaxis] for v in views)
    assert found[0]["value"] == pytest.approx(np.square(a - b).sum(1).mean(), rel=1e-5)
    assert found[1]["value"] == -found[0]["value"]
    few = study.model_copy(
        update={
            "transferability": asked,
            "extraction": study.extraction.model_copy(update={"views": 1}),
        }
    )
    row = run_predictors(few, task).rows[0]
    assert row["value"] is None
    assert row["details"]["reason"] == "1 views cached, 2 needed"


def test_predictors_of_a_cell_do_not_hold_it(predicted, monkeypatch):
    """Only chunks are read: `Cell.read` of the whole is never called."""
    study = load_study()
    index = read_index("pets")
    train, val = open_cells(study, index, "m0")
    monkeypatch.setattr(Cell, "read", lambda self: pytest.fail("the whole cell was read"))
    rows = run_predictors(study, Task("pets", "m0", train, val, index.classes)).rows
    assert [r["value"] for r in rows] == [r["value"] for r in scores_of("m0").values()]
