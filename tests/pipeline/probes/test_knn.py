"""kNN from stored neighbours: scikit-learn's votes, named variants, a choice without val."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_cells import clouds, make_study, make_task
from projects import fill_folder
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from cache.records import read_record
from pipeline.neighbors.data_checks import checks_path
from pipeline.neighbors.findings import vote_of_models
from pipeline.neighbors.neighbors import neighbors_key, search_cell, spaces
from pipeline.probes import knn
from pipeline.probes.knn import run_knn
from pipeline.probes.knn_variants import TUNED_K, tuned_votings
from pipeline.project.paths import neighbors_path, record_path
from pipeline.study.protocol_list import asked_variants

FOUR = {"n_neighbors": 60, "metric": ["euclidean", "cosine"], "normalization": ["none", "zscore"]}
GRID = {
    "presets": ["paper"], "k": [1, 5, 60], "weighting": ["distance", "uniform", "softmax"],
    "temperature": [0.07, 0.5], "tuned": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def search(study, task):
    for space in spaces(study.neighbors):
        key = neighbors_key(study.neighbors, space, task.train, task.val)
        path = neighbors_path(task.dataset, task.model, *space)
        search_cell("numpy", 1 << 30, key, path, task.train, task.val)


def run(study, task):
    """Outcomes by variant (as tables), and score rows by variant and metric."""
    search(study, task)
    scored = run_knn(study, task)
    table = scored.outcomes.to_pandas()
    outcomes = {str(name): part for name, part in table.groupby("variant", observed=True)}
    return outcomes, {(row["variant"], row["metric"]): row for row in scored.rows}


def made_task(seed=0, **options):
    train, labels = clouds(seed, **options)
    val, val_labels = clouds(seed + 1, n=33)
    return make_task(train, labels, val, val_labels)


def prepared(task, normalization):
    train, val = (cell.read().astype(np.float64) for cell in (task.train, task.val))
    if normalization == "none":
        return train, val
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(val)


def peer(k, metric, weighting):
    weights = weighting
    if weighting.startswith("softmax"):
        temperature = float(weighting.removeprefix("softmax"))
        weights = lambda distances: np.exp((1 - distances) / temperature)  # noqa: E731
    return KNeighborsClassifier(k, weights=weights, metric=metric, algorithm="brute")


def test_every_variant_votes_as_scikit_learn():
    task = made_task()
    study = make_study(FOUR, GRID)
    outcomes, rows = run(study, task)
    labels, truth = task.train.labels(), task.val.labels()
    asked = {"study": (20, "euclidean", "distance", "none")}
    asked["study_zscore"] = (20, "euclidean", "distance", "zscore")
    for name in outcomes:
        if name.startswith("k"):
            k, metric, weighting, normalization = name.removeprefix("k").split("_")
            asked[name] = (int(k), metric, weighting, normalization)
    assert set(asked) | {"tuned"} == set(outcomes)
    for name, (k, metric, weighting, normalization) in asked.items():
        train, val = prepared(task, normalization)
        shares = peer(k, metric, weighting).fit(train, labels).predict_proba(val)
        found = outcomes[name]
        of_truth = shares[np.arange(len(truth)), truth]
        np.testing.assert_array_equal(found["predicted"], shares.argmax(axis=1))
        np.testing.assert_allclose(np.exp(found["log_probability"]), of_truth, atol=1e-6)
        np.testing.assert_allclose(found["confidence"], shares.max(axis=1), atol=1e-6)
        assert rows[name, "top1"]["value"] == np.mean(shares.argmax(axis=1) == truth)
        assert rows[name, "top1"]["backend"] == "numpy"
        assert rows[name, "top1"]["seconds"] > 0


def names_of(study):
    return [variant.name for variant in asked_variants(study) if variant.protocol == "knn"]


def test_dino_is_named_by_its_k():
    study = make_study({"n_neighbors": 200}, {"presets": ["dino", "paper"]})
    assert names_of(study) == [
        "dino_k10", "dino_k20", "dino_k100", "dino_k200", "study", "study_zscore"
    ]  # fmt: skip
    task = made_task(4, n=230)
    outcomes, _ = run(study, task)
    train, val = prepared(task, "none")
    shares = peer(100, "cosine", "softmax0.07").fit(train, task.train.labels()).predict_proba(val)
    found = outcomes["dino_k100"]
    np.testing.assert_array_equal(found["predicted"], shares.argmax(axis=1))
    np.testing.assert_allclose(found["confidence"], shares.max(axis=1), atol=1e-6)


def test_names_are_distinct_presets_first_and_tuned_last():
    study = make_study(FOUR, GRID)
    names = names_of(study)
    assert names[:2] == ["study", "study_zscore"]
    assert names[-1] == "tuned"
    # two cosine spaces with four weightings (two temperatures), two euclidean ones with two
    assert len(names) == len(set(names)) == 2 + 3 * (2 * 4 + 2 * 2) + 1
    assert "k5_cosine_softmax0.07_zscore" in names
    assert not any("euclidean_softmax" in name for name in names)
    outcomes, _ = run(study, made_task())
    assert list(outcomes) == names


def test_statistics_come_from_train_alone():
    train, labels = clouds(10)
    val, val_labels = clouds(11, n=40)
    study = make_study(FOUR, {"k": [5], "tuned": True})
    whole, _ = run(study, make_task(train, labels, val, val_labels))
    part, _ = run(study, make_task(train, labels, val[:7], val_labels[:7], model="other"))
    for name, outcome in part.items():
        np.testing.assert_array_equal(outcome["predicted"], whole[name]["predicted"][:7])


def test_poisoned_val_labels_and_features_do_not_change_the_choice():
    train, labels = clouds(12)
    val, val_labels = clouds(13, n=60)
    study = make_study(FOUR, {"k": [5], "tuned": True})
    rng = np.random.default_rng(0)
    wild = (val * rng.normal(0, 50, val.shape)).astype(np.float32)
    _, honest = run(study, make_task(train, labels, val, val_labels))
    poisons = [(val, 3 - val_labels), (wild, rng.permutation(val_labels))]
    for number, poison in enumerate(poisons):
        _, rows = run(study, make_task(train, labels, *poison, model=f"poison{number}"))
        assert rows["tuned", "top1"]["details"] == honest["tuned", "top1"]["details"]
        assert rows["tuned", "top1"]["value"] != honest["tuned", "top1"]["value"]


def slow_leave_one_out(points, labels, metric, weighting, k):
    """Accuracy by votes of each image's k nearest others, one image at a time."""
    hits = 0
    for i, point in enumerate(points):
        if metric == "cosine":
            cosines = points @ point / np.linalg.norm(points, axis=1) / np.linalg.norm(point)
            distances = 1 - cosines
        else:
            distances = np.linalg.norm(points - point, axis=1)
        distances[i] = np.inf
        nearest = np.argsort(distances)[:k]
        weights = {
            "uniform": lambda d: np.ones_like(d),
            "distance": lambda d: 1 / d,
        }.get(weighting, lambda d: np.exp(-d / float(weighting.removeprefix("softmax"))))
        votes = np.bincount(labels[nearest], weights(distances[nearest]))
        hits += votes.argmax() == labels[i]
    return hits / len(points)


def test_the_tuned_variant_is_the_best_of_a_slow_leave_one_out():
    task = made_task(14, n=48)
    study = make_study(FOUR | {"n_neighbors": 21}, {"k": [5], "tuned": True})
    outcomes, rows = run(study, task)
    labels = task.train.labels()
    scores = {}
    for metric, normalization in spaces(study.neighbors):
        train, _ = prepared(task, normalization)
        weightings = ["uniform", "distance"]
        if metric == "cosine":
            weightings += ["softmax0.03", "softmax0.07", "softmax0.2"]
        for weighting in weightings:
            for k in (1, 2, 5, 10, 20):
                scores[metric, normalization, weighting, k] = slow_leave_one_out(
                    train, labels, metric, weighting, k
                )
    best = max(scores, key=lambda name: scores[name])
    details = rows["tuned", "top1"]["details"]
    assert details["leave_one_out_accuracy"] == scores[best]
    assert details["leave_one_out_images"] == 48
    temperature = details["temperature"]
    weighting = details["weighting"] + ("" if temperature is None else str(temperature))
    assert (details["metric"], details["normalization"], weighting, details["k"]) == best
    train, val = prepared(task, best[1])
    shares = peer(best[3], best[0], best[2]).fit(train, labels).predict_proba(val)
    np.testing.assert_array_equal(outcomes["tuned"]["predicted"], shares.argmax(axis=1))


def test_constant_features_are_scored_and_nothing_is_chosen():
    train, labels = clouds(15, n=30)
    task = make_task(np.ones_like(train), labels, np.ones((6, 12), np.float32), labels[:6])
    outcomes, rows = run(make_study({"n_neighbors": 9}, {"k": [3], "tuned": True}), task)
    details = rows["tuned", "top1"]["details"]
    assert details["leave_one_out_accuracy"] is None
    assert (details["k"], details["metric"]) == (1, "euclidean")
    named = outcomes["k3_euclidean_distance_none"]["predicted"]
    assert (named == np.bincount(labels[:3]).argmax()).all()  # equal distances: the first rows


def test_number_of_classes_comes_from_train():
    train, labels = clouds(16, classes=6)
    val, val_labels = clouds(17, n=20, classes=6)
    few = val_labels < 2  # val shows two classes only; ranks still go over six
    task = make_task(train, labels, val[few], val_labels[few])
    outcomes, rows = run(make_study(FOUR, {"k": [60], "weighting": ["uniform"]}), task)
    for outcome in outcomes.values():
        assert outcome["rank"].max() <= 6
    assert ("k60_euclidean_uniform_none", "top5") in rows


def test_neighbours_are_read_once_for_each_space(monkeypatch):
    task = made_task()
    study = make_study(FOUR, {"k": [1, 5, 20], "weighting": ["uniform", "distance"]})
    search(study, task)
    read = []
    original = knn.read_neighbors
    monkeypatch.setattr(knn, "read_neighbors", lambda *a: read.append(a[3]) or original(*a))
    run_knn(study, task)
    assert sorted(read) == sorted(spaces(study.neighbors))


def test_the_tuned_grid_stops_at_what_is_stored():
    assert {v.k for v in tuned_votings(("cosine", "none"), 60)} == {k for k in TUNED_K if k <= 60}
    assert len(tuned_votings(("cosine", "none"), 200)) == 8 * 5
    assert {v.weighting for v in tuned_votings(("euclidean", "none"), 9)} == {"uniform", "distance"}


def test_presets_beyond_a_train_split_are_left_out_there_and_refused_if_none_is_left(project):
    project.params["neighbors"] |= {"n_neighbors": 200, "metric": ["cosine"]}
    project.params["knn"] = {"presets": ["dino"]}
    project.write()
    project.run("index", "pets").succeeded()
    for stage in ("neighbors", "knn"):
        project.run(stage).refused("knn.presets (dino)", "data set pets", "at most 8", "10")
    assert not list((project.folder / "results").rglob("*.parquet"))
    fill_folder(project.folder / "images", {"cat": 9, "dog": 9}, seed=300)
    for stage in ("index", "extract"):
        project.run(stage, "pets").succeeded()
    project.run("neighbors").succeeded()
    from pipeline.datasets.index import read_index

    train = len(read_index("pets").split("train"))
    project.run("knn").succeeded(
        f"pets: dino_k20, dino_k100, dino_k200 left out, as k is more than its {train} train images"
    )
    record = read_record(record_path("knn", "pets", "tiny"))
    assert {row["variant"] for row in record.scores} == {"dino_k10"}


def test_a_finding_needs_most_models():
    def report(*pairs):
        return pd.DataFrame(pairs, columns=["val", "train"])

    found = vote_of_models(
        [report((1, 2), (5, 9), (3, 3)), report((1, 2), (3, 3)), report((5, 9), (1, 2)), report()]
    )
    assert found.to_dict("records") == [{"val": 1, "train": 2, "models": 0.75}]
    assert vote_of_models([report(), report()]).empty


def test_planted_copies_and_labels_are_listed_by_name(project, monkeypatch):
    """The findings of a study whose neighbours are those of made-up features."""
    from pipeline.neighbors import data_checks, findings
    from pipeline.neighbors.neighbors import Stored

    project.prepare()
    project.run("neighbors").succeeded()
    far = np.arange(1.0, 6.0)

    def read(settings, dataset, model, space, train, val):
        distances = np.tile(far, (2, 1))
        distances[1, 0] = 0
        indices = np.tile(np.arange(5), (2, 1))
        indices[1, 0] = 6
        near = np.tile(np.arange(3, 8), (8, 1))  # the last four train images are dogs
        near[:, 0] = 4
        return {
            "val": Stored(np.arange(2, dtype=np.int32), distances, indices, 0.0, "made"),
            "train": Stored(np.arange(8, dtype=np.int32), np.tile(far, (8, 1)), near, 0.0, "made"),
        }

    monkeypatch.setattr(findings, "read_neighbors", read)
    project.run("knn").succeeded("1 computed")
    table = read_record(checks_path("pets")).outcomes().to_pandas()
    assert list(table.columns) == list(data_checks.COLUMNS)
    from pipeline.datasets.index import read_index

    index = read_index("pets")
    train, val = index.split("train"), index.split("val")
    copies = table[table["kind"] == "near_duplicate"].to_dict("records")
    assert copies == [
        {
            "kind": "near_duplicate", "image": val["path"][1], "other": train["path"][6],
            "label": val["class"][1], "suggested": train["class"][6], "models": 1.0,
        }
    ]  # fmt: skip
    doubts = table[table["kind"] == "suspected_label"]
    assert doubts["image"].tolist() == train["path"][:4].tolist()
    assert set(doubts["label"]) == {"cat"}
    assert set(doubts["suggested"]) == {"dog"}
    monkeypatch.setattr(findings, "read_neighbors", None)
    project.run("knn").succeeded("1 cached")  # a list that is current is not made again
