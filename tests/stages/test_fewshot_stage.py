"""Stage fewshot: draws that all models share, what it stores and says, and when it runs again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from projects import RESNET, VIT, fill_folder
from sklearn.metrics import accuracy_score

from cache.cell import Cell
from cache.errors import NonFiniteError
from cache.records import read_record
from pipeline.datasets.index import read_index
from pipeline.heads.shot_classifiers import prototypes
from pipeline.probes.fewshot import draws_of
from pipeline.probes.reading import read_parts, read_rows
from pipeline.project.paths import cell_address, record_path
from pipeline.study.params import load_study
from pipeline.study.records import record_key

DRAWS = "results/fewshot/pets/images.drawn.parquet"


@pytest.fixture
def few(project):
    """Two models on three classes, one of which is small."""
    shutil.rmtree(project.folder / "images")
    fill_folder(project.folder / "images", {"ape": 16, "bee": 15, "cow": 4})
    project.params["models"] = {"tiny": {**VIT}, "net": {**RESNET}}
    project.params["fewshot"] = {
        "shots": [6, 1], "fractions": [0.5], "heads": ["ridge", "prototypes"], "seed": 3,
        "episodes": 3, "episodes_above_five": 2,
    }  # fmt: skip
    project.prepare()
    return project


def rows_of(model: str) -> pd.DataFrame:
    record = read_record(record_path("fewshot", "pets", model))
    assert record is not None
    return pd.DataFrame(record.scores)


def test_all_models_learn_from_the_stored_images_and_from_no_others(few):
    said = few.run("fewshot").succeeded("0 cached, 2 computed")
    assert "pets: 1 of 3 classes has too few train images for 6_shots (cow)" in said
    stored = pq.read_table(DRAWS).to_pandas()
    sizes = stored.groupby(["budget", "draw"]).size()
    assert set(sizes["1_shot"]) == {3}
    assert set(sizes["6_shots"]) == {6 + 6 + 3}
    assert (len(sizes["1_shot"]), len(sizes["6_shots"])) == (3, 2)
    paths = read_index("pets").split("train")["path"]
    assert (paths.iloc[stored["row"]].to_numpy() == stored["path"]).all()
    for model in ("tiny", "net"):
        record = read_record(record_path("fewshot", "pets", model))
        outcomes = record.outcomes().to_pandas()
        train, val = (Cell.open(cell_address("pets", model, s)) for s in ("train", "val"))
        for draw, images in stored[stored["budget"] == "6_shots"].groupby("draw"):
            shots = train.read().astype(np.float32)[images["row"]]
            labels = train.labels()[images["row"]]
            scores = prototypes(shots, labels, val.read().astype(np.float32), 3)
            mine = outcomes[(outcomes["variant"] == "prototypes_6_shots")]
            mine = mine[mine["draw"] == draw].sort_values("sample")
            np.testing.assert_array_equal(mine["predicted"], scores.values.argmax(1))
        table = rows_of(model)
        assert list(dict.fromkeys(table["variant"])) == [
            f"{head}_{budget}"
            for budget in ("6_shots", "1_shot", "50_percent")
            for head in ("ridge", "prototypes")
        ]
        top1 = table[(table["variant"] == "ridge_1_shot") & (table["metric"] == "top1")].iloc[0]
        mine = outcomes[outcomes["variant"] == "ridge_1_shot"]
        truth = val.labels()[mine["sample"]]
        assert top1["value"] == pytest.approx(accuracy_score(truth, mine["predicted"]))
        assert top1["n_train"] == 3
        short = table[table["variant"] == "ridge_6_shots"].iloc[0]
        assert short["details"]["short_classes"] == ["cow"]
    few.run("fewshot").succeeded("2 cached, 0 computed", "too few train images")


def test_what_makes_it_run_again_and_what_does_not(few):
    few.run("fewshot").succeeded("2 computed")
    few.run("linear").succeeded("2 computed")
    before = (few.folder / DRAWS).read_bytes()
    few.params["linear"]["seed"] = 5
    few.params["models"]["third"] = {**RESNET, "weights": "random(7)"}
    few.write()
    few.run("extract", "pets").succeeded()
    few.run("fewshot").succeeded("2 cached, 1 computed")
    few.params["fewshot"]["heads"] = ["prototypes"]
    few.write()
    few.run("fewshot").succeeded("3 cached, 0 computed")  # they are known
    few.run("linear").succeeded("0 cached, 3 computed")  # its seed was changed above
    assert (few.folder / DRAWS).read_bytes() == before, "the heads draw nothing"
    few.params["fewshot"]["seed"] = 4
    few.write()
    few.run("fewshot").succeeded("0 cached, 3 computed")
    few.run("linear").succeeded("3 cached, 0 computed")
    assert (few.folder / DRAWS).read_bytes() != before
    assert few.left_overs() == []


def test_scores_reach_the_table_the_cube_and_the_statistics(few):
    few.run("fewshot").succeeded()
    few.run("collect").succeeded("not scored: knn of tiny")
    few.run("correlate").succeeded()
    table = pd.read_csv("results/scores.csv")
    assert set(table["protocol"]) == {"fewshot"}
    for text in table["details"]:
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    metrics = json.loads((few.folder / "results" / "metrics.json").read_text())
    first = table[(table["variant"] == "ridge_6_shots") & (table["metric"] == "top1")]
    assert metrics["accuracy"] == pytest.approx(first["value"].max())


def test_simpler_problems_of_the_same_images(few):
    few.run("fewshot").succeeded()
    plain, drawn = rows_of("tiny"), (few.folder / DRAWS).read_bytes()
    few.params["fewshot"] |= {
        "ways": [2, 5], "coarse": {"pets": {"hooves": ["cow"], "none": ["ape", "bee"]}}
    }  # fmt: skip
    few.write()
    said = few.run("fewshot").succeeded("0 cached, 2 computed")
    assert "pets: not 5 classes at a time of 3" in said
    assert (few.folder / DRAWS).read_bytes() == drawn
    table = rows_of("tiny")
    more = [f"{head}_6_shots_{task}" for task in ("2_classes", "coarse")
            for head in ("ridge", "prototypes")]  # fmt: skip
    assert list(dict.fromkeys(table["variant"])) == [*dict.fromkeys(plain["variant"]), *more]
    kept = ["variant", "metric", "value", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(table[kept].head(len(plain)), plain[kept])
    told = {row["variant"]: (row["details"]["classes"], row["details"]["chance"])
            for row in table.to_dict("records")}  # fmt: skip
    assert told["ridge_6_shots"] == (3, pytest.approx(1 / 3))
    assert told["ridge_6_shots_2_classes"] == (2, 0.5)
    assert told["prototypes_6_shots_coarse"] == (2, pytest.approx(2 / 3))
    outcomes = read_record(record_path("fewshot", "pets", "tiny")).outcomes().to_pandas()
    n_test = len(read_index("pets").split("val"))
    assert (outcomes.groupby(["variant", "draw"]).size() == n_test).all()
    few.run("collect").succeeded()
    few.run("correlate").succeeded()
    few.run("fewshot").succeeded("2 cached, 0 computed")


def test_coarse_classes_are_checked_before_anything_is_scored(few):
    few.params["fewshot"]["coarse"] = {"pets": {"hooves": ["cows"], "none": ["ape", "bee"]}}
    few.write()
    few.run("fewshot").refused("fewshot.coarse.pets.hooves", "no such class", "did you mean cow?")
    assert read_record(record_path("fewshot", "pets", "tiny")) is None


def test_coarse_classes_of_another_data_set_change_no_key(few):
    few.params["datasets"]["zoo"] = {**few.params["datasets"]["pets"]}
    halves = {"x": ["ape"], "y": ["bee", "cow"]}
    keys = []
    for coarse in ({}, {"zoo": halves}, {"zoo": halves, "pets": halves}):
        few.params["fewshot"]["coarse"] = coarse
        few.write()
        study = load_study()
        keys.append([record_key(study, "fewshot", name, lambda _: {}) for name in ("pets", "zoo")])
    assert keys[0][0] == keys[1][0] != keys[2][0]
    assert keys[0][1] != keys[1][1] == keys[2][1]


@pytest.mark.parametrize("stage", ["fewshot", "predictors"])
def test_a_stage_that_is_left_out_imports_nothing_heavy(project, stage):
    code = (
        f"import sys, stages.protocol as s; s.main([{stage!r}], standalone_mode=False); "
        "print(sorted({'torch', 'sklearn', 'scipy', 'pandas', 'zarr'} & set(sys.modules)))"
    )
    project.shell("-c", code).succeeded(f"{stage}: 0 cached, 0 computed", "[]")
    kept = (project.folder / "results" / stage).iterdir()
    assert [path.name for path in kept] == [".folder"]


def test_draws_depend_on_labels_and_settings_alone(few):
    settings = load_study().fewshot
    index = read_index("pets")
    names = index.draw_names("train")
    first = draws_of(settings, index.labels("train"), 3, names)
    for model in ("tiny", "net"):
        labels = Cell.open(cell_address("pets", model, "train")).labels()
        again = draws_of(settings, labels, 3, names)
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a.rows, b.rows)


def test_rows_of_a_cell_are_read_without_the_others(few, monkeypatch):
    cell = Cell.open(cell_address("pets", "tiny", "train"))
    whole = cell.read().astype(np.float32)
    rows = np.array([0, 3, 4, 17, len(whole) - 1])
    np.testing.assert_array_equal(read_rows(cell, rows), whole[rows])
    np.testing.assert_array_equal(np.concatenate(list(read_parts(cell))), whole)
    assert len(read_rows(cell, np.array([], np.int64))) == 0
    spoiled = whole.copy()
    spoiled[4, 1] = np.nan
    held = [(slice(0, 7), spoiled[:7]), (slice(7, len(whole)), spoiled[7:])]
    monkeypatch.setattr(Cell, "chunks", lambda self: iter(held))
    monkeypatch.setattr(Cell, "read", lambda self: spoiled)
    np.testing.assert_array_equal(read_rows(cell, np.array([3, 5, 20])), whole[[3, 5, 20]])
    for read in (lambda: read_rows(cell, rows), lambda: list(read_parts(cell))):
        with pytest.raises(NonFiniteError, match="row 4"):
            read()
