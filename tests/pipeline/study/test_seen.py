"""Data sets that models were trained on: who saw what, what leaving them out does, what is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence
from projects import VIT

from pipeline.report.seen import effects, is_counted, places, who_saw
from pipeline.results.cube import seen_in
from pipeline.statistics.comparison import comparison
from pipeline.statistics.mean_scores import mean_scores
from pipeline.statistics.overall_ranks import overall_ranks
from pipeline.statistics.seen_effect import EVALUATION, MODEL, Change, changes, seen_effect
from pipeline.statistics.unseen import seen_outside, without_seen
from pipeline.study.params import load_study
from pipeline.study.seen import Seen, seen_cells

CLASSES = {"pets": ("cat", "dog"), "flowers": ("rose", "tulip"), "shop": ("rose", "cat")}


def written(project, **models):
    folder = dict(project.params["datasets"]["pets"])
    project.params["datasets"] = {
        "pets": folder,
        "flowers": {**folder, "alias": "ImageNet-1k"},
        "shop": folder,
    }
    project.params["models"] = {name: {**VIT, **entry} for name, entry in models.items()}
    project.write()
    return seen_cells(load_study(), CLASSES.__getitem__)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {}),
        ({"trained_on": []}, {}),
        ({"trained_on": ["other(shop)"]}, {}),
        ({"trained_on": ["pets"]}, {"pets": Seen.IMAGES}),
        ({"trained_on": ["imagenet"]}, {"flowers": Seen.IMAGES}),
        ({"trained_on": ["in1k"]}, {"flowers": Seen.IMAGES}),
        ({"trained_on": ["lvd142m", "pets"]}, {"flowers": Seen.IMAGES, "pets": Seen.IMAGES}),
        ({"trained_on": ["webli"]}, {}),
        (
            {"trained_on": ["pets"], "supervision": "supervised"},
            {"pets": Seen.BOTH, "shop": Seen.LABELS},
        ),
    ],
)
def test_a_data_set_is_seen_by_its_name_its_alias_or_a_corpus_that_has_it(said, expected, project):
    assert written(project, one=said, other={}) == {("one", d): s for d, s in expected.items()}


def test_what_the_study_pre_trains_has_the_same_rule(project):
    entry = {"architecture": VIT["architecture"], "arguments": VIT["arguments"],
             "dataset": "pets", "input_size": 32}  # fmt: skip
    methods = {"labelled": "supervised", "unlabelled": "simclr", "drawn": "random"}
    project.params["pretrain"] = {n: {**entry, "method": m} for n, m in methods.items()}
    found = written(project, **{name: {"weights": f"pretrain({name})"} for name in methods})
    assert found == {
        ("labelled", "pets"): Seen.BOTH,
        ("labelled", "shop"): Seen.LABELS,
        ("unlabelled", "pets"): Seen.IMAGES,
    }


def planted(role="out_of_domain"):
    """Ten models by two protocols on d0 (in domain), d1 and d2; m0 was trained on d1, .5 ahead."""
    rng = np.random.default_rng(1)
    skill = np.linspace(0.4, 0.3, 10)[:, None, None]
    value = skill + rng.normal(0, 0.005, (10, 3, 2))
    value[0, 1] += 0.5
    value[0, [0, 2]] -= 0.2
    cube = make_cube(value, ["knn/a", "linear/b"], role=["in_domain", role, "out_of_domain"])
    hits = {
        (v, f"d{d}"): rng.random((10, 200)) < value[:, d, i, None]
        for i, v in enumerate(["knn/a", "linear/b"])
        for d in range(3)
    }
    seen = {("m0", "d0"): Seen.BOTH, ("m0", "d1"): Seen.IMAGES, ("m1", "d2"): Seen.LABELS}
    return dataclasses.replace(make_evidence(cube, hits=hits), seen=seen)


def test_only_the_cells_of_data_sets_out_of_domain_are_left_out():
    evidence = planted()
    assert seen_outside(evidence) == [("m0", "d1")]
    left = without_seen(evidence)
    gone = evidence.cube["value"].notnull() & left.cube["value"].isnull()
    cells = gone.sel(metric="top1").any("variant").transpose("model", "dataset").values
    assert np.argwhere(cells).tolist() == [[0, 1]]
    kept = left.cube["value"].fillna(evidence.cube["value"])
    assert kept.identical(evidence.cube["value"])
    assert left.read_hits("knn/a", "d1").models == tuple(f"m{i}" for i in range(1, 10))
    assert left.read_hits("knn/a", "d1").hits.shape == (9, 200)
    assert left.read_hits("knn/a", "d2").models == tuple(evidence.models)
    assert left.everything is evidence


def test_nothing_changes_where_nothing_was_seen():
    evidence = dataclasses.replace(planted(), seen={("m1", "d2"): Seen.LABELS})
    assert without_seen(evidence) is evidence
    assert "trained_on" in seen_effect(evidence).attrs["withheld"]
    inside = planted(role="in_domain")
    assert without_seen(inside) is inside


def test_ranks_and_trust_are_as_if_the_score_had_never_been_measured():
    left = without_seen(planted())
    cube = planted().cube.copy(deep=True)
    cube["value"][{"model": 0, "dataset": 1}] = np.nan
    hits = {(v, f"d{d}"): planted().read_hits(v, f"d{d}") for v in ("knn/a", "linear/b")
            for d in range(3)}  # fmt: skip

    def read(variant, dataset):
        found = hits[variant, dataset]
        return dataclasses.replace(found, models=found.models[1:], hits=found.hits[1:]) if (
            dataset == "d1"
        ) else found  # fmt: skip

    never = dataclasses.replace(planted(), cube=cube, read_hits=read)
    for statistic in (comparison, overall_ranks, mean_scores):
        assert statistic(left).identical(statistic(never))
    assert not comparison(left).identical(comparison(planted()))


def test_what_changes_is_told_whichever_way_the_study_has_it():
    evidence = planted()
    table = seen_effect(evidence)
    assert table.identical(seen_effect(without_seen(evidence)))
    found = {(c.asks, c.of, c.dataset): c for c in changes(table)}
    best = found[MODEL, "linear", "d1"]
    assert (best.kept, best.left) == ("m0", "m1")
    assert best.kept_value > best.left_value + 0.4
    every = found[EVALUATION, "all", ""]
    for value, of in ((every.kept_value, evidence), (every.left_value, without_seen(evidence))):
        assert value == pytest.approx(float(comparison(of)["mean"].sel(targets="all").max()))
    assert every.left_value > every.kept_value


def test_the_mark_is_a_column_of_the_table_and_of_the_cube():
    cube = planted().cube
    assert seen_in(cube) == {}
    codes = np.zeros((10, 3), np.int8)
    codes[0, 1], codes[1, 2] = 1, 3
    cube["seen"] = (("model", "dataset"), codes)
    assert seen_in(cube) == {("m0", "d1"): Seen.IMAGES, ("m1", "d2"): Seen.LABELS}


def test_sentences():
    seen = {("a", "x"): Seen.IMAGES, ("b", "x"): Seen.BOTH, ("a", "y"): Seen.LABELS}
    assert places({**seen, ("c", "z"): Seen.IMAGES})[-1] == (
        "a on y: trained on other images with labels of its classes"
    )
    assert who_saw({("a", "x"): Seen.IMAGES}) == (
        "1 model was trained on a data set of this study: a on x."
    )
    assert (
        who_saw(seen) == "2 models were trained on data sets of this study: a and b on x; a on y."
    )
    assert is_counted(1, left_out=False).startswith("The scores of 1 cell count")
    assert "of 2 cells are left out of all statistics" in is_counted(2, left_out=True)
    labels = {"knn/a@d0": "kNN on d0", "linear/b@d0": "linear probe on d0"}
    told = effects(
        [
            Change(EVALUATION, "all", "", "knn/a@d0", "knn/a@d0", 0.8, 0.7),
            Change(EVALUATION, "knn", "", "knn/a@d0", "linear/b@d0", 0.8, 0.7),
            Change(EVALUATION, "linear", "", "knn/a@d0", "knn/a@d0", 0.8, 0.7),
            Change(MODEL, "knn", "d1", "m0", "m1", 0.91, 0.85),
            Change(MODEL, "knn", "mean", "m0", "", 0.91, np.nan),
            Change(MODEL, "linear", "d1", "m0", "m0", 0.91, 0.91),
        ],
        labels,
    )
    assert told == [
        "To predict scores by all protocols, kNN on d0 is highest with them (mean ρ 0.80) and "
        "without (mean ρ 0.70).",
        "To predict kNN scores, kNN on d0 is highest with them (mean ρ 0.80), linear probe on d0 "
        "without (mean ρ 0.70).",
        "By kNN on d1, m0 is best with them (91.0%), m1 without (85.0%).",
        "By kNN on the mean over data sets, no model is left without them.",
        "In 1 other comparison of models the best one is the same with them and without.",
    ]
