"""Probes tested on other data sets, against scikit-learn and against knowing too much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_cells import clouds, make_cell, make_study
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from pipeline.datasets.shared_classes import SharedClasses
from pipeline.heads.heads import Head, Recipe, fit_heads
from pipeline.heads.tuning import PENALTIES
from pipeline.probes import linear
from pipeline.probes.held_out_groups import obstacle
from pipeline.probes.task import Source, Task
from pipeline.probes.transfer import Transfer

PHOTOS = ("zebra", "cat", "owl", "fox")
SKETCHES = ("owl", "dog", "cat", "zebra")
SHARED = ("owl", "cat", "zebra")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def study(heads=("ridge",), k=(5,), **knn):
    asked = make_study(
        {"n_neighbors": 20, "metric": ["euclidean"], "normalization": ["zscore", "none"]},
        {"k": list(k), **knn},
    )
    linear = asked.linear.model_copy(
        update={
            "heads": list(heads),
            "normalization": ["none", "zscore"],
            "c": [0.01, 0.1, 1.0],
        }
    )
    sources = asked.transfer.model_copy(update={"sources": ["photos"]})
    return asked.model_copy(update={"linear": linear, "transfer": sources})


@pytest.fixture
def data(here):
    """Features, labels: photos' train; sketches' train and val, shifted and stretched."""
    photos, photo_labels = clouds(1, n=160)
    train, train_labels = clouds(2, n=80)
    val, val_labels = clouds(3, n=61)
    stretch = np.linspace(0.5, 3, photos.shape[1], dtype=np.float32)
    to_sketch = np.array([3, 2, 0, 1])  # photos' label -> the same cloud's label in sketches
    return (
        (photos, photo_labels),
        (train * stretch + 2, to_sketch[train_labels]),
        (val * stretch + 2, to_sketch[val_labels]),
    )


def task_of(data, **changes) -> Task:
    photos, train, val = data
    source = Source(make_cell("train", *photos, model="photos"), PHOTOS)
    cells = [make_cell(s, *x, model="sketches") for s, x in (("train", train), ("val", val))]
    task = Task("sketches", "made", *cells, SKETCHES, sources={"photos": source})
    return replace(task, **changes)


def outcomes_of(scored, variant):
    table = scored.outcomes.to_pandas()
    return table[table["variant"] == variant]


def names_of(labels, classes):
    return np.array(classes)[np.asarray(labels)]


def scaled(kind, train, other, own=None):
    """By a formula of the test's own; `own` makes it transductive."""
    mine = train.astype(np.float64)
    if kind == "none":
        mean = mine.mean(0)
        spread = np.sqrt(np.square(mine - mean).mean())
        return (mine - mean) / spread, (other - mean) / spread
    theirs = train if own is None else own
    theirs = theirs.astype(np.float64)
    return (mine - mine.mean(0)) / mine.std(0), (other - theirs.mean(0)) / theirs.std(0)


CASES = [("none", False), ("zscore", False), ("zscore", True)]


@pytest.mark.parametrize("name", ["sgd", "mlp"])
def test_heads_by_gradient_descent_are_those_of_the_source(data, name):
    (photos, labels), _, (val, val_labels) = data
    asked = study([name])
    sgd = asked.linear.sgd.model_copy(update={"learning_rates": [0.1, 1.0], "epochs": 6})
    settings = asked.linear.model_copy(update={"sgd": sgd})
    model = next(iter(asked.models.values()))
    asked = asked.model_copy(update={"linear": settings, "models": {"made": model}})
    scored = Transfer(asked)(task_of(data))
    judged = np.flatnonzero(np.isin(names_of(val_labels, SKETCHES), SHARED))
    recipe = Recipe(epochs=6, hidden=1000 if name == "mlp" else None, seed=asked.linear.seed)
    heads = [Head(0.1, False), Head(0.1, True)]
    fitted = fit_heads(heads, [photos], labels, len(PHOTOS), recipe)
    for place, variant in enumerate(
        ["mlp", "mlp_bn"] if name == "mlp" else ["sgd_cached", "sgd_cached_bn"]
    ):
        scores = fitted.probabilities(val[judged], place)[:, [PHOTOS.index(n) for n in SHARED]]
        found = outcomes_of(scored, f"from_photos_{variant}")
        assert names_of(found["predicted"], SKETCHES).tolist() == [
            SHARED[i] for i in scores.argmax(1)
        ]


@pytest.mark.parametrize(("kind", "transductive"), CASES)
@pytest.mark.parametrize("head", ["knn", "ridge", "logistic"])
def test_equals_scikit_learn_on_the_shared_classes(data, head, kind, transductive):
    (photos, labels), (own, _), (val, val_labels) = data
    knn = {"presets": ["paper"]} if kind == "none" else {}
    heads = ["logistic" if head == "logistic" else "ridge"]
    scored = Transfer(study(heads, **knn))(task_of(data))
    truth = names_of(val_labels, SKETCHES)
    judged = np.flatnonzero(np.isin(truth, SHARED))
    names = names_of(labels, PHOTOS)
    fitting, queries = scaled(kind, photos, val[judged], own if transductive else None)
    twin = "target_" if transductive else ""
    if head == "knn":
        variant = f"knn_k5_euclidean_distance_{twin}zscore" if kind == "zscore" else "knn_study"
        in_bank = np.isin(names, SHARED)
        bank = photos if kind == "none" else fitting
        k = 5 if kind == "zscore" else 20
        fit = KNeighborsClassifier(k, weights="distance").fit(bank[in_bank], names[in_bank])
        scores = fit.predict_proba(val[judged] if kind == "none" else queries)
    else:
        variant = f"{head}_{twin}{kind}"
        details = next(
            row["details"] for row in scored.rows if row["variant"] == f"from_photos_{variant}"
        )
        if head == "ridge":
            fit = RidgeClassifier(alpha=details["lambda"]).fit(fitting, names)
            scores = fit.decision_function(queries)
        else:
            fit = LogisticRegression(C=details["C"], tol=1e-8, max_iter=5000).fit(fitting, names)
            scores = fit.predict_proba(queries)
    of_shared = [fit.classes_.tolist().index(name) for name in SHARED]
    scores = scores[:, of_shared]
    found = outcomes_of(scored, f"from_photos_{variant}")
    assert found["sample"].tolist() == judged.tolist()
    assert set(found["split"]) == {"val"}
    expected = np.array(SHARED)[scores.argmax(1)]
    assert names_of(found["predicted"], SKETCHES).tolist() == expected.tolist()
    own_score = scores[np.arange(len(judged)), [SHARED.index(t) for t in truth[judged]]]
    ranks = 1 + (scores > own_score[:, None]).sum(1)
    assert found["rank"].tolist() == ranks.tolist()
    if head != "ridge":
        shares = own_score / scores.sum(1)
        np.testing.assert_allclose(np.exp(found["log_probability"]), shares, atol=2e-3)
    else:
        assert found["log_probability"].isna().all()
    top1 = [
        row
        for row in scored.rows
        if (row["variant"], row["metric"]) == (f"from_photos_{variant}", "top1")
    ]
    assert [row["value"] for row in top1] == [pytest.approx((expected == truth[judged]).mean())]
    assert top1[0]["n_test"] == len(judged) < len(val)
    assert top1[0]["n_train"] == (np.isin(names, SHARED).sum() if head == "knn" else len(names))
    assert top1[0]["details"]["images_of_other_classes"] == len(val) - len(judged)


def test_classes_that_are_not_shared_are_never_predicted_nor_counted(data):
    scored = Transfer(study())(task_of(data))
    table = scored.outcomes.to_pandas()
    assert set(names_of(table["predicted"], SKETCHES)) <= set(SHARED)
    assert table["rank"].max() <= len(SHARED)
    assert "top5" not in {row["metric"] for row in scored.rows}


def test_nothing_is_chosen_by_what_is_tested_on(data):
    asked = study(["logistic", "ridge"])
    honest = Transfer(asked)(task_of(data)).outcomes.to_pandas()
    photos, (train, train_labels), (val, val_labels) = data
    swap = np.array([2, 1, 3, 0])  # poisons all labels of the target, keeps who is judged
    poisoned = photos, (train, swap[train_labels]), (val, swap[val_labels])
    found = Transfer(asked)(task_of(poisoned)).outcomes.to_pandas()
    assert found["predicted"].tolist() == honest["predicted"].tolist()
    assert found["confidence"].equals(honest["confidence"])
    assert found["rank"].tolist() != honest["rank"].tolist()


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (("a", "b", "c", "d"), "0 classes of the same name"),
        (("cat", "b", "c", "d"), "1 classes of the same name (cat)"),
        (("x", "y", "z", "w", "cat", "owl"), "no val image"),
    ],
)
def test_without_overlap_there_are_no_rows_and_a_reason(data, classes, why):
    scored = Transfer(study())(task_of(data, classes=classes))
    assert scored.rows == []
    assert scored.outcomes.num_rows == 0
    assert why in SharedClasses.of(PHOTOS, classes).obstacle(np.arange(4))


def test_a_k_beyond_the_filtered_bank_is_left_out(data):
    photos, labels = data[0]
    few = np.concatenate([np.flatnonzero(labels == 3), np.flatnonzero(labels != 3)[:4]])
    scored = Transfer(study())(task_of(((photos[few], labels[few]), *data[1:])))
    variants = {row["variant"] for row in scored.rows}
    assert "from_photos_ridge_none" in variants
    assert not any("knn" in variant for variant in variants)


def test_a_models_heads_are_fitted_once_for_all_targets_and_not_for_the_next(data, monkeypatch):
    fitted = []
    fit_head = linear.fit_head
    monkeypatch.setattr(linear, "fit_head", lambda *a: fitted.append(a[:2]) or fit_head(*a))
    probe = Transfer(study())
    first = probe(task_of(data))
    assert probe(task_of(data)).outcomes.to_pandas().equals(first.outcomes.to_pandas())
    assert fitted == [("ridge", "none"), ("ridge", "zscore")]
    probe(task_of(data, model="another"))
    assert len(fitted) == 4


def test_worst_group_is_of_the_judged_images(data):
    groups = np.array([f"site{i % 3}" for i in range(61)])
    scored = Transfer(study())(task_of(data, groups=groups))
    found = outcomes_of(scored, "from_photos_ridge_none")
    hits = (found["rank"] == 1).groupby(groups[found["sample"]]).mean()
    (worst,) = [
        row["value"]
        for row in scored.rows
        if (row["variant"], row["metric"]) == ("from_photos_ridge_none", "worst_group")
    ]
    assert worst == pytest.approx(hits.min())


def test_groups_left_out_in_turn_equal_scikit_learns_splitter(data):
    (features, labels) = data[0]
    groups = np.array([f"site{i % 7 // 2}" for i in range(len(labels))])
    groups[:5] = ""  # never left out, always taught
    photos = make_cell("train", features, labels, model="photos")
    task = Task("photos", "made", photos, photos, PHOTOS, train_groups=groups)
    scored = Transfer(study(presets=["paper"]))(task)
    named = groups != ""
    folds = [
        (np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in np.unique(groups[named])
    ]
    direct = np.full(len(labels), -1)
    for train, test in folds:
        fit = KNeighborsClassifier(20, weights="distance").fit(features[train], labels[train])
        direct[test] = fit.predict(features[test])
    found = outcomes_of(scored, "held_out_group_knn_study")
    assert set(found["split"]) == {"train"}
    assert found["sample"].tolist() == np.flatnonzero(named).tolist()
    assert found["predicted"].tolist() == direct[named].tolist()
    for train, test in folds:
        bank, queries = scaled("none", features[train], features[test])
        fit = RidgeClassifierCV(alphas=PENALTIES).fit(bank, labels[train])
        direct[test] = fit.predict(queries)
    found = outcomes_of(scored, "held_out_group_ridge_none")
    assert found["predicted"].tolist() == direct[named].tolist()
    accuracies = [(direct[test] == labels[test]).mean() for _, test in folds]
    rows = {r["metric"]: r for r in scored.rows if r["variant"] == "held_out_group_ridge_none"}
    assert rows["mean_group"]["value"] == pytest.approx(np.mean(accuracies))
    assert rows["worst_group"]["value"] == pytest.approx(np.min(accuracies))
    assert rows["top1"]["details"]["groups"] == 4


def test_all_images_in_groups_equal_leave_one_group_out(data):
    features, labels = data[0]
    groups = np.array([f"site{i % 4}" for i in range(len(labels))])
    photos = make_cell("train", features, labels, model="photos")
    task = Task("photos", "made", photos, photos, PHOTOS, train_groups=groups)
    found = outcomes_of(Transfer(study(presets=["paper"]))(task), "held_out_group_knn_study")
    direct = cross_val_predict(
        KNeighborsClassifier(20, weights="distance"),
        features,
        labels,
        groups=groups,
        cv=LeaveOneGroupOut(),
    )
    assert found["predicted"].tolist() == direct.tolist()


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        (None, "no groups"),
        (["a"] * 6, "1 groups in train"),
        (["a", "a", "a", "b", "b", "b"], "single class"),
        (["a", "b", "a", "b", "a", "b"], "fewer than k"),
        (["a", "b", "c", "a", "b", ""], ""),
    ],
)
def test_when_groups_can_be_left_out(groups, why):
    labels = np.array([0, 0, 0, 1, 1, 1])
    k = 5 if why == "fewer than k" else 2
    found = obstacle(labels, None if groups is None else np.array(groups), k)
    assert (why in found) if why else (found == "")
