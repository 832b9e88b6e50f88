"""studies/paper.yaml reads all its 14 data sets, from trees of the shape that the archives have."""

from __future__ import annotations

from collections import Counter

import known_trees
import pytest
from projects import REPOSITORY
from ruamel.yaml import YAML

from pipeline.datasets.index import read_index
from pipeline.datasets.known import known_dataset
from pipeline.study.params import load_study

PAPER = REPOSITORY / "studies" / "paper.yaml"


@pytest.fixture
def paper(project, monkeypatch):
    """Its very entries, with the counts of the small trees instead of the archives'."""
    counts = known_trees.make_all(project.folder / "all images")
    monkeypatch.setenv("PROBELINE_IMAGES", str(project.folder / "all images"))
    datasets = YAML(typ="safe").load(PAPER)["datasets"]
    assert set(datasets) == set(counts)
    project.params["datasets"] = {n: {**e, "expected": counts[n]} for n, e in datasets.items()}
    project.write()
    return project, counts


def test_all_14_data_sets_are_indexed(paper):
    project, counts = paper
    for name, expected in counts.items():
        told = project.run("index", name).succeeded()
        assert f"{expected['train']} train and {expected['val']} val images" in told
        index = read_index(name)
        found = Counter(index.table["split"])
        assert {**found, "classes": len(index.classes)} == expected
        assert index.pad == known_dataset(name).entry.get("pad", False)
    assert read_index("imagenet_d_painting").classes == ("The_Eiffel_Tower", "syringe", "t-shirt")
    remarks = read_index("imagenet_d_painting").remarks
    assert any("as declared (t-shirt): 1 val image counts as an error" in r for r in remarks)
    assert read_index("inaturalist_genus").classes == ("Amia", "Fundulus")


def test_one_of_each_shape_is_extracted(paper):
    project, _ = paper
    for name in ("pascal", "cub", "imagenet", "imagenet_d_painting", "cifar100"):
        project.run("index", name).succeeded()
        project.run("extract", name).succeeded("1 computed")


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("imagenet_d_painting", "painting_train.txt", ("class t-shirt is declared missing",)),
        ("imagenet_d_painting", "painting_test.txt", ("class syringe is declared missing",)),
        ("imagenet_d_real", "real_test.txt", ("images that the data set's own lists name",)),
    ],
)
def test_other_lists_than_the_published_ones(paper, name, spoil, words):
    project, _ = paper
    path = project.folder / "all images" / "domainnet" / spoil
    domain, split = spoil.removesuffix(".txt").split("_")
    kind = {"train": ("t-shirt", 2, 0), "test": ("syringe", 1, 2)}[split]
    line = f"{domain}/{kind[0]}/{domain}_{kind[1]:03d}_{kind[2]:06d}.jpg {kind[1]}\n"
    if domain == "real":
        line = line.replace("000002", "000009")
    path.write_text(path.read_text() + line)
    project.run("index", name).refused(*words)


def test_the_totals_of_the_paper_are_those_of_the_published_counts():
    """Of which `plan` makes images, time and disk."""
    study = load_study(PAPER)
    expected = [entry.expected for entry in study.datasets.values()]
    assert sum(e.train for e in expected) == 1_281_166 + 500_000 + 2 * 55_150 + 5_994 + 1_464 + (
        24_485 + 50_000 + 409_832
    )
    assert sum(e.val for e in expected) == 50_000 + 100_000 + 2 * 11_030 + 5_794 + 1_449 + (
        6_122 + 10_000 + 176_743
    )
