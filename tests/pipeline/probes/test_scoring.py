"""From probabilities to metrics: ranks, intervals, and normalisation, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.metrics import f1_score

from cache.errors import ProbelineError
from pipeline.heads.normalization import Normalizer, centre_and_scale, unit_length
from pipeline.probes.scoring import (
    Outcome,
    make_outcome,
    outcome_table,
    score_rows,
)
from pipeline.study.metrics import expected_calibration_error, macro_f1

EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)  # ties are frequent


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_ranks_predictions_and_log_probabilities_equal_a_plain_loop(data):
    rows, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 7))
    p = data.draw(hnp.arrays(np.float64, (rows, classes), elements=EIGHTHS))
    labels = np.array(
        data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    )
    outcome = make_outcome("v", p, labels, seconds=0, backend="b")
    for i in range(rows):
        order = sorted(range(classes), key=lambda c: (-p[i, c], c))
        assert outcome.predicted[i] == order[0]
        rank = order.index(labels[i]) + 1
        unranked = rank > 1 and p[i, labels[i]] == 0  # nothing says that it is before another
        assert outcome.rank[i] == (classes if unranked else rank)
        expected = np.log(p[i, labels[i]]) if p[i, labels[i]] else -np.inf
        assert outcome.log_probability[i] == np.float32(expected)
    assert ((outcome.rank == 1) == (outcome.predicted == labels)).all()


def test_a_probability_that_is_no_number_is_never_a_hit():
    for bad in (np.nan, np.inf):
        p = np.array([[0.5, 0.5], [bad, 0.1]])
        with pytest.raises(ProbelineError, match="not a finite"):
            make_outcome("v", p, np.array([0, 0]), seconds=0, backend="b")


def outcome_of(rank: np.ndarray) -> Outcome:
    zeros = np.zeros(len(rank))
    predicted, rank = zeros.astype(np.int32), rank.astype(np.int32)
    return Outcome("v", predicted, rank, zeros - 1, zeros + 0.5, 1.0, "b", 3, {"C": 1})


@settings(max_examples=40, deadline=None)
@given(
    rank=hnp.arrays(np.int32, st.integers(1, 60), elements=st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_metrics_equal_plain_formulas(rank, seed):
    labels = np.random.default_rng(seed).integers(0, 9, len(rank))
    rows = {r["metric"]: r for r in score_rows(outcome_of(rank), labels, 9, 100)}
    assert list(rows) == ["top1", "top5", "mean_per_class", "macro_f1", "ece", "nll"]
    n = len(rank)
    for metric, k in (("top1", 1), ("top5", 5)):
        hits = int((rank <= k).sum())
        low = stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
        high = stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
        found = rows[metric]
        assert found["value"] == hits / n
        np.testing.assert_allclose((found["ci_low"], found["ci_high"]), (low, high), atol=1e-9)
    classes = [np.mean(rank[labels == c] == 1) for c in sorted(set(labels.tolist()))]
    mean = rows["mean_per_class"]
    assert mean["value"] == pytest.approx(np.mean(classes))
    assert 0 <= mean["ci_low"] <= mean["value"] + 1e-12
    assert mean["value"] - 1e-12 <= mean["ci_high"] <= 1
    assert {r["n_test"] for r in rows.values()} == {n}
    assert {r["n_train"] for r in rows.values()} == {100}


def test_top5_of_five_classes_says_nothing_and_is_left_out():
    rows = score_rows(outcome_of(np.array([1, 2])), np.array([0, 4]), 5, 9)
    assert [r["metric"] for r in rows] == ["top1", "mean_per_class", "macro_f1", "ece", "nll"]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 40))
def test_f1_is_scikit_learns_and_calibration_a_plain_loops(data, n):
    draws = [data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 4))) for _ in range(2)]
    assert macro_f1(*draws) == pytest.approx(f1_score(draws[1], draws[0], average="macro"))
    sure = data.draw(hnp.arrays(np.float64, n, elements=st.integers(0, 30).map(lambda x: x / 30)))
    hits = draws[0] == draws[1]
    expected = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15) | ((low == 0) & (sure == 0))
        if inside.any():
            expected += inside.mean() * abs(hits[inside].mean() - sure[inside].mean())
    assert expected_calibration_error(sure, hits) == pytest.approx(expected, abs=1e-9)


def test_a_share_of_votes_on_an_edge_lies_below_it():
    """Guo et al.: (low, high]. 4/20 is 3/15, the third bin's end; as float32 it is above that."""
    confidence = np.array([4, 8, 12, 16]) / 20
    hits = np.array([True, False, True, True])
    inner = confidence + np.array([-1e-3] * 4)  # in the same bins
    expected = np.mean(np.abs(hits - confidence))
    assert expected_calibration_error(confidence, hits) == pytest.approx(expected)
    pair = np.concatenate([confidence, inner]), np.concatenate([hits, ~hits])
    together = np.abs(confidence + inner - 1).sum() / 8  # a hit and a miss in each bin
    assert expected_calibration_error(*pair) == pytest.approx(together)


def test_what_votes_name_is_judged_unrounded():
    p = np.array([[0.2, 0.2, 0.6], [0.8, 0.2, 0.0]])
    outcome = make_outcome("v", p, np.array([0, 2]), seconds=0, backend="b")
    assert outcome.confidence.tolist() == [0.6, 0.8]
    assert outcome_table([outcome]).schema.field("confidence").type == "float"


@pytest.mark.parametrize(("places", "told"), [(None, True), (5, True), (4, False), (1, False)])
def test_top5_of_fewer_than_five_votes_says_nothing(places, told):
    outcome = replace(outcome_of(np.array([1, 2])), places=places)
    rows = score_rows(outcome, np.array([0, 4]), 9, 9)
    assert ("top5" in [row["metric"] for row in rows]) == told


def test_classes_without_a_vote_are_no_hits_by_the_alphabet():
    votes = np.zeros((100, 100))
    votes[:, 99] = 1.0  # of 20 neighbours of one class
    truth = np.arange(100)
    outcome = make_outcome("v", votes, truth, seconds=0, backend="b", places=20)
    (top5,) = [r for r in score_rows(outcome, truth, 100, 9) if r["metric"] == "top5"]
    assert top5["value"] == 0.01


def test_the_worst_group_is_the_one_with_the_lowest_accuracy():
    outcome = outcome_of(np.array([1, 1, 2, 1, 2, 2]))
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    rows = score_rows(outcome, np.zeros(6, np.int64), 2, 9, groups)
    (worst,) = [r for r in rows if r["metric"] == "worst_group"]
    assert worst["value"] == pytest.approx(1 / 3)


def test_scores_that_are_no_probabilities_have_neither_log_loss_nor_calibration():
    scores = np.array([[3.0, -1.0], [-np.inf, -5.0]])
    labels = np.array([0, 0])
    outcome = make_outcome("v", scores, labels, seconds=0, backend="b", are_probabilities=False)
    assert outcome.rank.tolist() == [1, 2]
    found = [r["metric"] for r in score_rows(outcome, labels, 2, 9)]
    assert found == ["top1", "mean_per_class", "macro_f1"]


def test_a_true_class_without_a_vote_has_no_finite_log_loss():
    p = np.array([[1.0, 0.0], [1.0, 0.0]])
    outcome = make_outcome("v", p, np.array([0, 1]), seconds=0, backend="b")
    found = [r["metric"] for r in score_rows(outcome, np.array([0, 1]), 2, 9)]
    assert found == ["top1", "mean_per_class", "macro_f1", "ece"]


def test_the_bootstrap_is_seeded_and_covers():
    labels = np.repeat([0, 1], 200)
    rank = np.where(np.random.default_rng(0).random(400) < 0.7, 1, 2)
    first, second = (score_rows(outcome_of(rank), labels, 2, 9)[1] for _ in range(2))
    assert first == second
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert first["ci_high"] - first["ci_low"] == pytest.approx(2 * half, rel=0.15)


def test_every_image_and_variant_is_a_row_of_the_outcome_table():
    table = outcome_table([outcome_of(np.array([1, 2, 3])), outcome_of(np.array([4, 5, 6]))])
    columns = ["variant", "sample", "predicted", "rank", "log_probability", "confidence"]
    assert table.column_names == columns
    assert table["sample"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert table["rank"].to_pylist() == [1, 2, 3, 4, 5, 6]


FEATURES = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 12), st.integers(1, 6)),
    elements=st.floats(-1e4, 1e4, width=32),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(FEATURES)
def test_normalised_features_are_finite_and_fixed_by_train(train):
    other = train[:1] + 1

    def zscore(*arrays):
        return tuple(map(Normalizer.fit("zscore", arrays[0]), arrays))

    for normalise in (zscore, centre_and_scale, unit_length):
        both = normalise(train, other)
        assert all(np.isfinite(x).all() and x.dtype == np.float32 for x in both)
        np.testing.assert_array_equal(normalise(train, other * 7)[0], both[0])


def test_zscore_has_mean_zero_and_deviation_one_and_zeroes_constants():
    train = np.random.default_rng(0).normal(5, 3, (50, 4)).astype(np.float32)
    train[:, 2] = 7
    scaled, shifted = map(Normalizer.fit("zscore", train), (train, train + 3))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0, 1], atol=1e-5)
    np.testing.assert_allclose(shifted[:, 0] - scaled[:, 0], 3 / train[:, 0].std(), rtol=1e-4)
