"""Few-shot episodes: the classifiers against plain loops, the bookkeeping against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score, top_k_accuracy_score

from cache.errors import NonFiniteError
from pipeline.heads.shot_classifiers import (
    Scores,
    logistic_over,
    lone_share,
    prototypes,
    ridge_over,
)
from pipeline.heads.tuning import FEWSHOT_PENALTIES
from pipeline.probes.episode_scores import episode_rows, episode_table
from pipeline.probes.episodes import run_episodes
from pipeline.probes.shots import Budget, make_draws

CLASSES = 7
NAMES = tuple("abcdefg")
CLASSIFIERS = {"p": prototypes, "l": logistic_over([1.0], seed=0), "r": ridge_over([0.1, 10.0])}
BUDGETS = [Budget(shots=1), Budget(shots=10)]


def clouds(seed: int, n: int = 140, d: int = 9):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % CLASSES)
    centres = np.random.default_rng(99).normal(0, 1.2, (CLASSES, d))
    return (centres[labels] + rng.normal(0, 1, (n, d)) + 4).astype(np.float32), labels


def episodes(classifiers, budgets=BUDGETS, **changed):
    x, y = clouds(0)
    val, val_y = changed.get("val", clouds(1, n=60))
    draws = make_draws(y, CLASSES, budgets, seed=3)
    return run_episodes(classifiers, draws, x, y, val, val_y, CLASSES), draws, (x, y), (val, val_y)


def test_prototypes_equal_a_plain_loop():
    x, y = clouds(0, n=20)
    queries, _ = clouds(1, n=15)
    keep = y != 3  # a class without a shot
    x, y = x[keep], y[keep]
    scores = prototypes(x, y, queries, CLASSES)
    assert np.isneginf(scores.values[:, 3]).all()
    centre = x.astype(float).mean(0)
    unit = [v / np.linalg.norm(v) for v in x.astype(float) - centre]
    for row, query in zip(scores.values, queries.astype(float) - centre, strict=True):
        q = query / np.linalg.norm(query)
        votes = np.zeros(CLASSES)
        for c in set(y.tolist()):
            mean = np.mean([u for u, k in zip(unit, y, strict=True) if k == c], axis=0)
            votes[c] = np.exp(-np.square(q - mean).sum())
        np.testing.assert_allclose(np.exp(row), votes / votes.sum(), atol=1e-6)


def test_prototypes_ignore_scale_and_shift_and_the_other_queries():
    x, y = clouds(0, n=21)
    queries, _ = clouds(1, n=15)
    plain = prototypes(x, y, queries, CLASSES).values
    np.testing.assert_allclose(
        prototypes(8 * x + 16, y, 8 * queries + 16, CLASSES).values, plain, atol=1e-5
    )
    np.testing.assert_array_equal(prototypes(x, y, queries[:4], CLASSES).values, plain[:4])


@pytest.mark.parametrize(("n", "cs", "expected"), [(21, [0.01, 1e4], 1.0), (35, [0.2], 0.2)])
def test_logistic_is_scikit_learns_and_c_is_1_below_five_shots(n, cs, expected):
    x, y = clouds(0, n=n)
    queries, _ = clouds(1, n=30)
    mean = x.astype(float).mean(0)
    scale = np.sqrt(np.square(x - mean).mean())
    fit = LogisticRegression(C=expected, tol=1e-10, max_iter=10_000).fit((x - mean) / scale, y)
    found = logistic_over(cs, seed=0)(x, y, queries, CLASSES)
    assert found.details["C"] == expected
    assert found.details["converged"]
    np.testing.assert_allclose(
        np.exp(found.values), fit.predict_proba((queries - mean) / scale), atol=1e-5
    )


def test_shots_of_one_group_are_held_out_together():
    """Copies of noise with labels of noise: divided, a copy always tells the label."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(0, 1, (20, 40)), 3, axis=0).astype(np.float32)
    y = np.repeat(np.arange(20) % 2, 3)
    groups = np.repeat([f"g{i}" for i in range(20)], 3)
    given = []

    def recording(shots, labels, queries, n_classes, groups):
        given.append(groups)
        return logistic_over([1e-4, 1.0], seed=0)(shots, labels, queries, n_classes, groups)

    draws = make_draws(y, 2, [Budget(shots=12)], seed=3, draws=2)
    (e,) = run_episodes({"l": recording}, draws, x, y, x, y, 2, groups)
    for draw, known in zip(draws, given, strict=True):
        np.testing.assert_array_equal(known, groups[draw.rows])
    assert all(details["by_group"] for details in e.details)


@pytest.mark.parametrize(
    ("labels", "groups", "share"),
    [
        ("aab", None, 1 / 3),
        ("aabb", None, 0),
        ("ab", None, 1),
        ("aabb", ["x", "x", "y", "z"], 0.5),  # of a, nothing is outside the group
        ("aabb", ["", "", "", ""], 0),
        ("aabb", ["x", "x", "x", "x"], 0),  # one group is none
        ("aaab", ["x", "x", "", "x"], 0.25),
    ],
)
def test_lone_shots(labels, groups, share):
    classes = np.array([ord(label) - ord("a") for label in labels])
    assert lone_share(classes, None if groups is None else np.array(groups)) == share


@pytest.mark.parametrize("more", [0, 1, 3])
def test_ridge_on_hardly_more_images_than_classes_still_tells_classes_apart(more):
    """A tenth of a percent of labels: one image each of 20 classes, and of a few a second one."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(20, 64))
    y = np.concatenate([np.arange(20), np.arange(more)])
    x, truth = means[y] + rng.normal(size=(len(y), 64)), np.repeat(np.arange(20), 10)
    queries = means[truth] + rng.normal(size=(200, 64))
    found = ridge_over(FEWSHOT_PENALTIES)(
        x.astype(np.float32), y, queries.astype(np.float32), 20, None
    )
    right = np.mean(found.values.argmax(1) == truth)
    nearest = np.square(queries[:, None] - x[:20]).sum(2).argmin(1)
    assert right > 0.9 * np.mean(nearest == truth) > 0.5


def test_ridge_is_scikit_learns_at_the_lambda_with_the_least_leave_one_out_error():
    x, y = clouds(0, n=35)
    queries, _ = clouds(1, n=30)
    keep = y != 3
    x, y = x[keep], y[keep]
    mean = x.astype(float).mean(0)
    scale = np.sqrt(np.square(x - mean).mean())
    known, unknown = (x - mean) / scale, (queries - mean) / scale
    errors = []
    for penalty in (0.1, 1.0, 10.0, 100.0):
        left_out = [
            RidgeClassifier(alpha=penalty).fit(np.delete(known, i, 0), np.delete(y, i))
            .decision_function(known[i : i + 1])[0] - (2.0 * (np.unique(y) == y[i]) - 1)
            for i in range(len(y))
        ]  # fmt: skip
        errors.append(np.square(left_out).mean())
    best = (0.1, 1.0, 10.0, 100.0)[int(np.argmin(errors))]
    found = ridge_over([0.1, 1.0, 10.0, 100.0])(x, y, queries, CLASSES)
    assert found.details["lambda"] == best
    expected = RidgeClassifier(alpha=best).fit(known, y).decision_function(unknown)
    np.testing.assert_allclose(found.values[:, np.unique(y)], expected, atol=1e-4)
    assert np.isneginf(found.values[:, 3]).all()


def plain_ece(confidence, hits) -> float:
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - hits[inside].mean())
    return total


def test_episodes_equal_scikit_learns_metrics_and_scipys_interval():
    found, draws, (x, y), (val, val_y) = episodes({"prototype": prototypes})
    sites = np.array(["x", "y"])[np.arange(60) % 2]
    assert [e.variant.name for e in found] == ["prototype_1_shot", "prototype_10_shots"]
    for e, budget in zip(found, BUDGETS, strict=True):
        of_budget = [d for d in draws if d.budget == budget]
        top1, top5, balanced = [], [], []
        for number, draw in enumerate(of_budget):
            scores = prototypes(x[draw.rows], y[draw.rows], val, CLASSES).values
            np.testing.assert_array_equal(e.predicted[number], scores.argmax(1))
            top1.append(np.mean(scores.argmax(1) == val_y))
            top5.append(top_k_accuracy_score(val_y, scores, k=5))
            balanced.append(balanced_accuracy_score(val_y, scores.argmax(1)))
            np.testing.assert_allclose(
                e.log_probability[number], scores[np.arange(60), val_y], rtol=1e-6
            )
        rows = {r["metric"]: r for r in episode_rows(e, val_y, NAMES, seed=3)}
        for metric, values in (("top1", top1), ("top5", top5), ("mean_per_class", balanced)):
            assert rows[metric]["value"] == pytest.approx(np.mean(values))
            half = stats.t(len(values) - 1).ppf(0.975) * stats.sem(values)
            low, high = np.mean(values) - half, np.mean(values) + half
            assert rows[metric]["ci_low"] == pytest.approx(max(low, 0))
            assert rows[metric]["ci_high"] == pytest.approx(min(high, 1))
        predicted, logs = e.predicted, e.log_probability.astype(float)
        f1 = [f1_score(val_y, p, average="macro") for p in predicted]
        assert rows["macro_f1"]["value"] == pytest.approx(np.mean(f1))
        assert rows["nll"]["value"] == pytest.approx(-logs.mean())
        assert rows["nll"]["ci_high"] > rows["nll"]["value"]
        assert rows["ece"]["details"]["draws"] == pytest.approx(
            [plain_ece(c, p == val_y) for c, p in zip(e.confidence, predicted, strict=True)]
        )
        worst = {r["metric"]: r for r in episode_rows(e, val_y, NAMES, sites, seed=3)}
        expected = [min(np.mean((p == val_y)[sites == s]) for s in "xy") for p in predicted]
        assert worst["worst_group"]["details"]["draws"] == pytest.approx(expected)
        assert rows["top1"]["n_train"] == budget.shots * CLASSES
        assert rows["top1"]["details"]["shots"] == budget.shots
        assert rows["top1"]["details"]["draws"] == pytest.approx(top1)


def test_the_table_holds_every_image_of_every_draw():
    found, draws, _, (val, _) = episodes(CLASSIFIERS)
    table = episode_table(found)
    assert len(table) == 3 * len(draws) * len(val)
    frame = table.to_pandas()
    chosen = frame[(frame["variant"] == "l_10_shots") & (frame["draw"] == 3)]
    e = next(e for e in found if e.variant.name == "l_10_shots")
    np.testing.assert_array_equal(chosen["sample"], np.arange(len(val)))
    np.testing.assert_array_equal(chosen["predicted"], e.predicted[3])
    np.testing.assert_array_equal(chosen["rank"], e.rank[3])


def test_test_labels_change_no_prediction_and_undrawn_images_are_not_read():
    val, val_y = clouds(1, n=60)
    honest, draws, (x, y), _ = episodes(CLASSIFIERS)
    shuffled, *_ = episodes(CLASSIFIERS, val=(val, val_y[::-1]))
    drawn = np.unique(np.concatenate([d.rows for d in draws]))
    poisoned = np.full_like(x, np.nan)
    poisoned[drawn] = x[drawn]
    third = run_episodes(CLASSIFIERS, draws, poisoned, y, val, val_y, CLASSES)
    for a, b, c in zip(honest, shuffled, third, strict=True):
        np.testing.assert_array_equal(a.predicted, b.predicted)
        np.testing.assert_array_equal(a.predicted, c.predicted)


def test_one_draw_has_no_interval_and_scores_without_probabilities_no_logarithm():
    def votes(shots, labels, queries, n_classes, groups):
        return Scores(lambda _: np.zeros((len(queries), n_classes)), queries, n_classes, False, {})

    x, y = clouds(0)
    draws = make_draws(y, CLASSES, [Budget(shots=10)], seed=0, draws=1)
    (e,) = run_episodes({"v": votes}, draws, x, y, x, y, CLASSES)
    assert np.isnan(e.log_probability).all()
    np.testing.assert_array_equal(e.rank[0], y + 1)  # all equal: ordered by class
    (row, *_) = episode_rows(e, y, NAMES, seed=0)
    assert row["ci_low"] is None
    assert row["value"] == pytest.approx(np.mean(y == 0))
    metrics = {r["metric"] for r in episode_rows(e, y, NAMES, seed=0)}
    assert metrics == {"top1", "top5", "mean_per_class", "macro_f1"}


def test_small_classes_are_reported():
    x, y = clouds(0)
    y = np.where(y == 6, 5, y)
    y[np.flatnonzero(y == 5)[:3]] = 6
    draws = make_draws(y, CLASSES, [Budget(shots=10)], seed=0)
    (e,) = run_episodes({"p": prototypes}, draws, x, y, x, y, CLASSES)
    (row, *_) = episode_rows(e, y, NAMES, seed=0)
    assert row["details"]["short_classes"] == ["g"]
    assert row["n_train"] == 63


def test_a_single_draw_that_did_not_converge_is_told():
    for answers, expected in (([True] * 5, True), ([True] * 4 + [False], False)):
        left = iter(answers)

        def fit(shots, labels, queries, n_classes, groups, left=left):
            return Scores(
                lambda _: np.zeros((len(queries), n_classes)),
                queries,
                n_classes,
                False,
                {"converged": next(left)},
            )

        (found,), *_, (_, val_y) = episodes({"f": fit}, [Budget(shots=10)])
        assert episode_rows(found, val_y, NAMES, seed=0)[0]["details"]["converged"] is expected
    (found, _), *_, (_, val_y) = episodes({"p": prototypes})
    assert "converged" not in episode_rows(found, val_y, NAMES, seed=0)[0]["details"]


def test_a_score_that_is_no_number_is_refused():
    def broken(shots, labels, queries, n_classes, groups):
        return Scores(
            lambda _: np.full((len(queries), n_classes), np.nan), queries, n_classes, True, {}
        )

    with pytest.raises(NonFiniteError, match="not a finite number"):
        episodes({"broken": broken})
