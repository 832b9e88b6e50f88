"""Problems of fewer or coarser classes: what is judged among what, by plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from cache.errors import ProbelineError
from pipeline.heads.shot_classifiers import Scores, prototypes, ridge_over
from pipeline.probes.episode_scores import episode_rows, episode_table
from pipeline.probes.episodes import run_episodes
from pipeline.probes.problems import a_few_classes, coarse_classes, problems_of
from pipeline.probes.shots import Budget, make_draws
from pipeline.study.fewshot import Fewshot

CLASSES = 7
NAMES = tuple("abcdefg")
COARSE = {"x": list("aceg"), "y": list("bd"), "z": ["f"]}
CODES = np.array([0, 1, 0, 1, 0, 2, 0])
BUDGET = Budget(shots=4)


def clouds(seed: int, n: int):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % CLASSES)
    centres = np.random.default_rng(99).normal(0, 0.8, (CLASSES, 9))
    return (centres[labels] + rng.normal(0, 1, (n, 9)) + 4).astype(np.float32), labels


X, Y = clouds(0, 140)
VAL, VAL_Y = clouds(1, 61)
DRAWS = make_draws(Y, CLASSES, [BUDGET], seed=3, few_draws=3)


def episodes(problem, classify=prototypes, **groups):
    *_, found = run_episodes(
        {"p": classify}, DRAWS, X, Y, VAL, VAL_Y, CLASSES, problems=[problem], **groups
    )
    return found


@settings(max_examples=60, deadline=None)
@given(n=st.integers(3, 40), size=st.integers(2, 12), seed=st.integers(0, 5))
def test_every_class_is_judged_once_a_draw_among_so_many(n, size, seed):
    size = min(size, n - 1)
    problem = a_few_classes(n, size, seed)
    assert problem.chance == 1 / size
    for number in range(3):
        parts = list(problem.parts(number))
        np.testing.assert_array_equal(np.sum([p.judged for p in parts], axis=0), 1)
        for part in parts:
            np.testing.assert_array_equal(part.codes[part.labels], np.arange(size))
            assert (part.codes >= 0).sum() == size
            assert (part.codes[part.judged] >= 0).all()
            assert (np.diff(part.labels) > 0).all()
        assert [p.judged.sum() for p in parts[:-1]] == [size] * (len(parts) - 1)


def test_small_tasks_lie_in_larger_ones_and_draws_differ():
    def tasks(size, number=0, seed=0):
        return [set(p.labels.tolist()) for p in a_few_classes(24, size, seed).parts(number)]

    for small, large in ((2, 4), (2, 6), (3, 12)):
        assert all(any(s <= t for t in tasks(large)) for s in tasks(small))
    assert tasks(2) == tasks(2)
    assert tasks(2) != tasks(2, number=1)
    assert tasks(2) != tasks(2, seed=1)


def test_every_pair_of_classes_meets_equally_often():
    together = np.zeros((5, 5))
    for number in range(3000):
        for part in a_few_classes(5, 2, 0).parts(number):
            for own in np.flatnonzero(part.judged):
                together[own, part.labels[part.labels != own]] += 1
    expected = 3000 / 4
    apart = together[~np.eye(5, dtype=bool)]
    assert np.abs(apart - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("classify", [prototypes, ridge_over([0.1, 10.0])])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_few_classes_equal_a_plain_loop(classify, size):
    problem = a_few_classes(CLASSES, size, seed=0)
    found = episodes(problem, classify)
    assert found.variant.name == f"p_4_shots_{size}_classes"
    for place, draw in enumerate(DRAWS):
        for part in problem.parts(draw.number):
            classes = part.labels.tolist()
            shots = [row for row in draw.rows if Y[row] in classes]
            for image in np.flatnonzero(part.judged[VAL_Y]):
                scores = classify(
                    X[shots], np.array([classes.index(Y[r]) for r in shots]), VAL[[image]], size
                ).values[0]
                truth = classes.index(VAL_Y[image])
                assert found.predicted[place, image] == classes[int(scores.argmax())]
                assert found.rank[place, image] == 1 + (scores > scores[truth]).sum()
                if classify is prototypes:
                    np.testing.assert_allclose(
                        found.log_probability[place, image], scores[truth], rtol=1e-4, atol=1e-5
                    )


def test_coarse_classes_equal_the_head_on_merged_labels():
    found = episodes(coarse_classes(COARSE, NAMES))
    assert found.variant.name == "p_4_shots_coarse"
    for place, draw in enumerate(DRAWS):
        scores = prototypes(X[draw.rows], CODES[Y[draw.rows]], VAL, 3).values
        np.testing.assert_array_equal(found.predicted[place], scores.argmax(1))
        hits = scores.argmax(1) == CODES[VAL_Y]
        np.testing.assert_array_equal(found.rank[place] == 1, hits)


def test_the_metrics_are_of_the_same_images_and_classes_as_those_of_the_whole_problem():
    coarse, few = episodes(coarse_classes(COARSE, NAMES)), episodes(a_few_classes(CLASSES, 2, 0))
    for each, truth in ((coarse, CODES[VAL_Y]), (few, VAL_Y)):
        rows = {r["metric"]: r for r in episode_rows(each, VAL_Y, NAMES, seed=3)}
        hits = each.predicted == truth
        fine = [np.mean([h[c == VAL_Y].mean() for c in range(CLASSES)]) for h in hits]
        f1 = [f1_score(truth, p, average="macro") for p in each.predicted]
        assert rows["top1"]["details"]["draws"] == pytest.approx(hits.mean(1))
        assert rows["mean_per_class"]["details"]["draws"] == pytest.approx(fine)
        assert rows["macro_f1"]["details"]["draws"] == pytest.approx(f1)
        assert "top5" not in rows
        assert rows["nll"]["n_train"] == 4 * CLASSES
    assert rows["top1"]["details"] | {"draws": 0} == {
        "draws": 0, "shots": 4, "share": None, "images": [28] * 3, "short_classes": [],
        "classes": 2, "chance": 0.5, "episodes": [{"fits": 4}] * 3, "interval": "t over draws",
    }  # fmt: skip
    assert len(episode_table([coarse, few])) == 2 * 3 * len(VAL)


def test_guessing_scores_the_problems_chance():
    """A constant guess of the largest coarse class: exactly, by classes; and blind scores."""

    def largest(shots, labels, queries, n_classes, groups):
        return Scores(
            lambda _: np.tile(-np.arange(n_classes, dtype=float), (len(queries), 1)),
            queries,
            n_classes,
            False,
            {},
        )

    problem = coarse_classes(COARSE, NAMES)
    assert problem.chance == 4 / 7
    rows = {r["metric"]: r["value"] for r in
            episode_rows(episodes(problem, largest), VAL_Y, NAMES, seed=0)}  # fmt: skip
    assert rows["mean_per_class"] == pytest.approx(4 / 7)

    def blind(shots, labels, queries, n_classes, groups):
        values = np.random.default_rng(len(queries)).random((len(queries), n_classes))
        return Scores(lambda _: values, queries, n_classes, False, {})

    y, val_y = np.arange(400) % 20, np.arange(20_000) % 20
    draws = make_draws(y, 20, [BUDGET], seed=0, few_draws=2)
    x, val = np.zeros((400, 1), np.float32), np.zeros((20_000, 1), np.float32)
    for size in (2, 3, 7):
        *_, found = run_episodes({"p": blind}, draws, x, y, val, val_y, 20,
                                 problems=[a_few_classes(20, size, 0)])  # fmt: skip
        assert (found.rank == 1).mean() == pytest.approx(1 / size, abs=0.02)


def test_labelled_images_and_groups_are_those_of_the_draw():
    groups = np.array([f"g{i % 9}" for i in range(len(Y))])
    given = []

    def recording(shots, labels, queries, n_classes, its_groups):
        given.append((shots, its_groups))
        return prototypes(shots, labels, queries, n_classes)

    for problem in (a_few_classes(CLASSES, 3, 0), coarse_classes(COARSE, NAMES)):
        episodes(problem, recording, train_groups=groups)
        shown = {tuple(row) for shots, _ in given for row in shots.tolist()}
        drawn = np.unique(np.concatenate([d.rows for d in DRAWS]))
        assert shown == {tuple(row) for row in X[drawn].tolist()}
        lookup = {tuple(row): g for row, g in zip(X.tolist(), groups, strict=True)}
        for shots, its in given:
            assert [lookup[tuple(row)] for row in shots.tolist()] == its.tolist()
        given.clear()


def test_several_fits_tell_whether_all_converged():
    answers = iter([True] * 7 + [True, False] * 20)

    def fit(shots, labels, queries, n_classes, groups):
        found = prototypes(shots, labels, queries, n_classes)
        return Scores(
            lambda _: found.values, queries, n_classes, True, {"converged": next(answers)}
        )

    found = episodes(a_few_classes(CLASSES, 2, 0), fit)
    assert found.details == [{"fits": 4, "converged": c} for c in (True, False, False)]


def test_problems_of_a_data_set():
    asked = Fewshot(shots=[4], ways=[5, 2, 7, 9], coarse={"one": COARSE})
    found = problems_of(asked, "one", NAMES)
    assert [(p.ways, p.names) for p in found] == [(5, ()), (2, ()), (None, tuple(COARSE))]
    assert [p.ways for p in problems_of(asked, "other", NAMES)] == [5, 2]


@pytest.mark.parametrize(
    ("coarse", "words"),
    [
        ({"x": ["a", "hen"], "y": ["b"]}, ["fewshot.coarse.pets.x", "no such class", "hen"]),
        ({"x": ["a", "cat"], "y": ["b"]}, ["did you mean cats?"]),
        ({"x": ["a", "b"], "y": ["b"]}, ["coarse.pets.y", "named twice", "b, also in x"]),
        ({"x": ["a", "a"], "y": ["b"]}, ["coarse.pets.x", "named twice", "a, also in x"]),
        ({"x": ["a"], "y": ["b"]}, ["1 of 3 classes", "not named: cats", "one of x, y"]),
    ],
)
def test_coarse_classes_name_every_class_once(coarse, words):
    asked = Fewshot(shots=[4], coarse={"pets": coarse})
    with pytest.raises(ProbelineError) as caught:
        problems_of(asked, "pets", ("a", "b", "cats"))
    for word in words:
        assert word in str(caught.value)
