"""A class that a split lacks, as declared: counted as errors of a head with all classes."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from projects import fill_folder

from pipeline.datasets.index import read_index
from pipeline.datasets.settings import Dataset
from pipeline.project.paths import record_path

CLASSES = list("abcdefg")
STAGES = ("neighbors", "knn", "linear", "fewshot", "transfer", "predictors", "similarity",
          "collect", "correlate", "report")  # fmt: skip


@pytest.fixture
def faulty(project):
    """Class e has no train images, class c no val images; DomainNet's painting is like that."""
    train = {name: 6 for name in CLASSES if name != "e"}
    val = {name: 3 for name in CLASSES if name != "c"}
    fill_folder(project.folder / "images" / "train", train)
    fill_folder(project.folder / "images" / "val", val, seed=50)
    for name in ("cat", "dog"):  # of the project's own images
        for path in (project.folder / "images" / name).iterdir():
            path.unlink()
        (project.folder / "images" / name).rmdir()
    entry = project.params["datasets"]["pets"]
    entry["missing_classes"] = {"train": ["e"], "val": ["c"]}
    entry["expected"] = {"train": 36, "val": 18, "classes": 7}
    project.params["linear"]["heads"] = ["logistic", "ridge", "sgd"]
    project.params["linear"]["sgd"] = {"epochs": 2, "learning_rates": [0.1], "batch_norm": [False]}
    project.params["fewshot"] = {
        "shots": [1, 2],
        "heads": ["prototypes", "ridge", "logistic"],
        "episodes": 2,
        "ways": [3],
    }
    project.params["transfer"] = {"sources": ["pets"]}
    names = ["rankme", "logme", "h_score", "nc1", "label_cka"]
    project.params["transferability"] = {"names": names}
    project.write()
    return project


@pytest.mark.slow
def test_every_protocol_counts_its_images_as_errors(faulty):
    faulty.run("index", "pets").succeeded()
    index = read_index("pets")
    assert index.classes == tuple(CLASSES)
    told = [remark for remark in index.remarks if "class" in remark]
    assert any("no train image, as declared (e): 3 val images count as errors" in r for r in told)
    assert any("1 of 7 classes has no val image, e.g. c" in r for r in told)
    faulty.run("extract", "pets").succeeded()
    for stage in STAGES:
        faulty.run(stage).succeeded()
    labels = index.labels("val")
    seen = 0
    for protocol in ("knn", "linear", "fewshot"):
        path = record_path(protocol, "pets", "tiny")
        outcomes = pq.read_table(path.with_suffix(".parquet")).to_pandas()
        names = [c for c in ("variant", "draw") if c in outcomes]
        for variant, rows in outcomes.groupby(names, observed=True):
            if len(rows) != len(labels):
                continue  # three classes at a time
            of_e = rows.sort_values("sample")["rank"].to_numpy()[labels == 4]
            assert (of_e > 1).all(), variant
            seen += 1
    assert seen > 8
    page = (faulty.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "val images count as errors" in page


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, ("1 classes have images in val but none in train", "missing_classes: {train: [e]}")),
        ({"train": ["e", "b"]}, ("class b is declared missing from train, and is there", "6 in")),
        ({"train": ["e"], "val": ["b"]}, ("class b is declared missing from val, and is there",)),
        ({"train": ["e", "nobody"]}, ("class nobody is declared missing", "and is nowhere")),
    ],
)
def test_what_is_declared_is_compared(faulty, declared, words):
    faulty.params["datasets"]["pets"]["missing_classes"] = declared
    faulty.write()
    faulty.run("index", "pets").refused(*words)


def test_a_class_lacks_one_split_only():
    entry = {"source": "folder", "path": "x", "role": "in_domain"}
    with pytest.raises(ValueError, match="in both: a"):
        Dataset.model_validate(entry | {"missing_classes": {"train": ["a"], "val": ["a"]}})
    with pytest.raises(ValueError, match="with `test_only`"):
        Dataset.model_validate(entry | {"test_only": True, "missing_classes": {"train": ["a"]}})


def test_the_faults_of_domainnets_lists_are_declared():
    entry = Dataset(source="known:imagenet_d_painting", path="x")
    assert (entry.missing_classes.train, entry.missing_classes.val) == (["t-shirt"], ["syringe"])
    assert entry.expected.classes == 345
