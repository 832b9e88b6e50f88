"""Awkward names, from params.yaml through a small real study to what the reader sees."""

from __future__ import annotations

import pandas as pd
import pytest
from packed_page import texts_in
from projects import RESNET, VIT, fill_folder

from pipeline.report.inputs import load_inputs
from pipeline.report.tables import score_table
from pipeline.results.variant_table import asked_table, variants_of
from pipeline.study.params import load_study


@pytest.fixture
def awkward(project, kept_project):
    return project.once(kept_project, lambda: build(project))


def build(project) -> None:
    """Three data sets with the same classes, whose names look like parts of variants'."""
    del project.params["datasets"]["pets"]
    for seed, name in enumerate(("my_knn_set", "cats_bnw", "x_5_shots")):
        fill_folder(project.folder / name, {"cat": 5, "dog": 5}, seed=100 * seed)
        role = "out_of_domain" if seed else "in_domain"
        project.params["datasets"][name] = {"source": "folder", "path": name, "role": role}
    project.params["models"] = {
        f"m{n}": {**(VIT if n % 2 else RESNET), "weights": f"random({n})"} for n in range(2)
    }
    project.params["linear"] |= {"heads": ["ridge", "sgd"], "sgd": {"epochs": 2}}
    project.params["fewshot"] = {
        "shots": [2],
        "fractions": [0.025],
        "heads": ["ridge"],
        "episodes": 2,
    }
    project.params["transfer"] = {"sources": ["my_knn_set", "cats_bnw"]}
    project.params["transferability"] = {"names": ["rankme"]}
    for name in project.params["datasets"]:
        project.prepare(name)
    for stage in ("neighbors", "knn", "linear", "fewshot", "transfer", "predictors"):
        project.run(stage).succeeded()
    project.run("collect").succeeded("0 cells missing")
    project.run("correlate").succeeded()


def test_labels_are_right_from_records_to_the_page(awkward):
    table = pd.read_csv("results/scores.csv")
    named = table.drop_duplicates(["protocol", "variant"])
    labels = {f"{row.protocol}/{row.variant}": row.label for row in named.itertuples()}
    assert list(table.columns)[-1] == "label"
    assert len(set(labels.values())) == len(labels)
    assert labels["fewshot/ridge_2p5_percent"] == "few-shot: 2.5% of the labels, ridge"
    assert labels["transfer/from_my_knn_set_knn_k3_euclidean_distance_none"] == (
        "transferred probe: trained on my_knn_set, kNN, 3 neighbours, euclidean, 1/distance, plain"
    )
    # Every variant that a record holds is one that the study enumerates, and the other way round:
    # all data sets have the same classes and enough images; none has groups.
    study = load_study()
    asked = {v.full_name for v in asked_table(study).values() if not v.held_out_group}
    assert labels.keys() == asked
    inputs = load_inputs(study)
    assert {v["name"]: v["label"] for v in score_table(inputs)["variants"]} == {
        name: label for name, label in labels.items() if not name.startswith("predictors/")
    }
    assert variants_of(inputs.cube) == inputs.variants
    assert inputs.columns["linear/ridge_none@x_5_shots"].label == "linear probe on x_5_shots"


def test_statistics_take_no_part_of_a_name_for_something_else(awkward):
    effect = pd.read_csv("results/statistics/normalization_effect.csv")
    pairs = dict(zip(effect["variant"], effect["plain"], strict=True))
    for where in ("linear/", "transfer/from_cats_bnw_", "transfer/from_my_knn_set_"):
        assert pairs[f"{where}sgd_cached_bn"] == f"{where}sgd_cached"
        assert pairs[f"{where}sgd_cached_bn_tuned"] == f"{where}sgd_cached_tuned"
    assert len(pairs) == 6
    curves = pd.read_csv("results/statistics/label_curves.csv")
    assert set(curves["head"]) == {"ridge"}
    assert set(curves["budget"]) == {"2_shots", "2p5_percent"}
    awkward.run("report").succeeded()
    page = (awkward.folder / "report" / "index.html").read_text(encoding="utf-8")
    page += "".join(texts_in(page).values())
    assert "trained on my_knn_set, kNN, 3 neighbours" in page
    for wrong in ("trained on my, ", "2p5 percent", "from cats bnw"):
        assert wrong not in page
