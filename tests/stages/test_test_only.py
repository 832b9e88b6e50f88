"""Test images without train images: scored by transfer, and by nothing else."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import xarray as xr
from projects import fill_folder
from timm.data import ImageNetInfo

from cache.records import read_record
from pipeline.planning.overview import study_overview
from pipeline.project.paths import cell_address, record_path
from pipeline.report.gaps import find_gaps
from pipeline.report.inputs import load_inputs
from pipeline.study.params import load_study
from pipeline.study.protocol_list import PROTOCOLS

IDS = ImageNetInfo().label_names()
KINDS = [IDS[2], IDS[11], IDS[999]]
"""WordNet ids of three classes of ImageNet, in its order."""

STAGES = ("neighbors", "knn", "linear", "fewshot", "transfer", "predictors", "similarity",
          "collect", "correlate", "report")  # fmt: skip


@pytest.fixture
def shifted(project):
    """A tiny ImageNet, and two test-only shifts of it in their authors' layouts."""
    for split, count, seed in (("train", 8, 0), ("val", 4, 70)):
        counts = dict.fromkeys(KINDS, count)
        fill_folder(project.folder / "imagenet" / split, counts, suffix=".jpeg", seed=seed)
    fill_folder(project.folder / "r", dict.fromkeys([KINDS[2], KINDS[0]], 3), seed=500)
    (project.folder / "r" / "README.txt").write_text("as in the archive")
    fill_folder(project.folder / "v2", dict.fromkeys(["999", "11", "2"], 2), seed=900)
    project.params["datasets"] = {
        "imagenet": {
            "source": "known:imagenet",
            "path": "imagenet",
            "expected": {"train": 24, "val": 12, "classes": 3},
        },
        "r": {"source": "known:imagenet_r", "path": "r", "expected": {"val": 6, "classes": 2}},
        "v2": {"source": "known:imagenet_v2", "path": "v2", "expected": {"val": 6, "classes": 3}},
    }
    project.params["models"] = {
        "tiny": project.params["models"]["tiny"],
        "other": {**project.params["models"]["tiny"], "weights": "random(1)"},
        "third": {**project.params["models"]["tiny"], "weights": "random(2)"},
    }
    project.params["neighbors"]["normalization"] = ["none", "zscore"]
    project.params["fewshot"] = {"shots": [2], "heads": ["prototypes"], "episodes": 2}
    project.params["transferability"] = {"names": ["rankme"]}
    project.params["transfer"] = {"sources": ["imagenet"]}
    project.write()
    return project


@pytest.mark.slow
def test_a_study_with_shifts_from_images_to_report(shifted):
    shifted.run("cli", "plan").succeeded("imagenet")
    for name in shifted.params["datasets"]:
        shifted.run("index", name).succeeded()
        shifted.run("extract", name).succeeded("3 computed")
        shifted.run("extract", name).succeeded("3 cached, 0 computed")
    assert not cell_address("r", "tiny", "train").path.exists()
    done = {stage: shifted.run(stage).succeeded() for stage in STAGES}
    for stage in ("knn", "linear", "fewshot", "predictors"):
        assert "0 cached, 3 computed" in done[stage], stage
        assert not record_path(stage, "r", "tiny").exists()
    assert "imagenet -> r: 2 shared classes" in done["transfer"]
    assert "imagenet -> v2: 3 shared classes" in done["transfer"]
    assert "0 cached, 9 computed" in done["transfer"]
    assert "not scored" not in done["collect"]

    record = read_record(record_path("transfer", "r", "tiny"))
    assert {row["n_test"] for row in record.scores} == {6}
    assert {row["n_train"] for row in record.scores} >= {16, 24}  # bank of two classes; head of all
    assert not any("target_zscore" in row["variant"] for row in record.scores)

    status = shifted.run("cli", "status").succeeded("all 9 cells are cached and scored")
    line = next(line.split() for line in status.splitlines() if line.startswith("r "))
    assert line.count("run") == len(line) // 2 - 1  # `not run`, but for embeddings and transfer
    overview = {d.name: d for d in study_overview(load_study()).datasets}
    assert overview["r"].asked == {p: 3 * (p == "transfer") for p in overview["r"].asked}
    assert overview["imagenet"].records["knn"] == 3

    scores = pd.read_csv("results/scores.csv")
    assert set(scores.loc[scores["dataset"] == "r", "protocol"]) == {"transfer"}
    with xr.open_dataset("results/scores.nc", engine="netcdf4") as cube:
        assert cube["n_test"].sel(dataset="r") == 6
    page = (shifted.folder / "report" / "index.html").read_text()
    assert "kNN of tiny on r" not in page
    assert "Data sets with test images only" in page
    missing = find_gaps(load_inputs(load_study()))[0]
    assert (missing.places, missing.checked) == ((), 15)
    assert json.loads((shifted.folder / "results" / "metrics.json").read_text())

    again = {stage: shifted.run(stage).succeeded() for stage in ("knn", "transfer")}
    assert "3 cached, 0 computed" in again["knn"]
    assert "9 cached, 0 computed" in again["transfer"]


def test_transfer_is_the_same_as_to_a_val_split_with_a_train_split_beside_it(shifted):
    """Train images of the target change nothing where statistics come from the source."""
    fill_folder(shifted.folder / "both" / "train", dict.fromkeys([KINDS[2], KINDS[0]], 2), seed=77)
    (shifted.folder / "r").rename(shifted.folder / "both" / "val")
    (shifted.folder / "both" / "val" / "README.txt").unlink()
    shifted.params["datasets"] |= {
        "r": {**shifted.params["datasets"]["r"], "path": "both/val"},
        "both": {"source": "folder", "path": "both", "role": "out_of_domain"},
    }
    del shifted.params["datasets"]["v2"]
    for name in shifted.params["datasets"]:
        shifted.prepare(name)
    shifted.run("transfer").succeeded()
    tables = [
        {
            (row["variant"], row["metric"]): row["value"]
            for row in read_record(record_path("transfer", name, "tiny")).scores
            if "target_zscore" not in row["variant"]
        }
        for name in ("r", "both")
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) > 4


def test_numbered_folders_are_imagenets_classes(shifted):
    shifted.run("index", "v2").succeeded()
    table = pd.read_parquet("data/index/v2.parquet")
    assert dict(zip(table["path"], table["class"], strict=True)) == {
        f"{IDS.index(kind)}/{n:03d}.png": kind for kind in KINDS for n in range(2)
    }
    assert set(table["split"]) == {"val"}
    (shifted.folder / "v2" / "2").rename(shifted.folder / "v2" / "1000")
    shifted.run("index", "v2").refused("is no class of ImageNet", "1000")


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_of_ones_own_test_images(project, nested):
    fill_folder(project.folder / ("mine/test" if nested else "mine"), {"cat": 3, "dog": 3})
    entry = {"source": "folder", "path": "mine", "role": "out_of_domain", "test_only": True}
    project.params["datasets"]["mine"] = entry
    project.write()
    project.run("index", "mine").succeeded("0 train and 6 val images of 2 classes")
    fill_folder(project.folder / "mine" / "train", {"cat": 3, "dog": 3})
    project.run("index", "mine").refused("train")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transfer": {"sources": ["r"]}}, ("transfer.sources", "data sets with train images")),
        (
            {
                "pretrain": {
                    "small": {
                        "method": "random",
                        "architecture": "test_vit",
                        "dataset": "r",
                    }
                }
            },
            ("pretrain.small.dataset", "with train images", "imagenet"),
        ),
    ],
)
def test_nothing_is_trained_on_it(shifted, change, words):
    shifted.params |= change
    shifted.write()
    shifted.run("cli", "status").refused(*words)


def test_every_protocol_was_thought_of(shifted):
    shifted.run("index", "imagenet")
    assert set(study_overview(load_study()).protocols) | {"finetune"} == {p.name for p in PROTOCOLS}


def test_reduced_precision_is_audited_on_the_test_images(shifted):
    shifted.params["extraction"]["precision"] = "bfloat16"
    shifted.write()
    shifted.run("index", "r").succeeded()
    shifted.run("extract", "r").succeeded("3 computed", "tiny: ")
