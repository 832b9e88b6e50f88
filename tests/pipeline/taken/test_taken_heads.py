"""Heads, thresholds and tables of a taken classifier, against scikit-learn, SciPy and draws."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

from cache.errors import ProbelineError
from pipeline.neighbors.votes import Voting
from pipeline.taken.abstention import THRESHOLDS, steps_of
from pipeline.taken.answering import write_answers
from pipeline.taken.classifier import Classifier, Prediction
from pipeline.taken.heads import NeighborHead
from pipeline.taken.risk import Step, images_needed, threshold_for


def neighbor_head(bank, labels, k, weighting, *, cosine=False):
    empty = np.empty(0)
    return NeighborHead(
        bank, labels, empty, empty, cosine, cosine, Voting(k, weighting), int(labels.max()) + 1
    )


@pytest.mark.parametrize("weighting", ["uniform", "distance"])
@pytest.mark.parametrize("cosine", [False, True])
def test_neighbours_vote_as_in_scikit_learn(weighting, cosine):
    rng = np.random.default_rng(0)
    bank = (rng.normal(size=(9000, 12)) + 5).astype(np.float32)  # more than two blocks
    labels, queries = rng.integers(0, 4, 9000), (rng.normal(size=(50, 12)) + 5).astype(np.float32)
    queries[0] = bank[17]
    theirs = KNeighborsClassifier(
        7, weights=weighting, metric="cosine" if cosine else "euclidean", algorithm="brute"
    ).fit(bank.astype(np.float64), labels)
    expected = theirs.predict_proba(queries.astype(np.float64))
    said = neighbor_head(bank, labels, 7, weighting, cosine=cosine)(queries)
    np.testing.assert_array_equal(said.predicted, expected.argmax(axis=1))
    # Of the copy, scikit-learn's cosine distance is not quite 0.
    np.testing.assert_allclose(said.confidence[1:], expected.max(axis=1)[1:], atol=1e-6)


def test_a_row_of_zeros_is_at_right_angles_to_all():
    bank = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    head = neighbor_head(bank, np.array([0, 1, 2]), 1, "uniform", cosine=True)
    assert head(np.array([[2, 0], [-3, 0], [0, 5]], np.float32)).predicted.tolist() == [1, 2, 0]


@given(st.integers(0, 200), st.integers(1, 300), st.floats(0.01, 0.5))
def test_limits_are_exact_and_the_threshold_keeps_within_them(wrong, right, risk):
    confidence = np.linspace(0.2, 0.999, wrong + right)
    hits = np.random.default_rng([wrong, right]).permutation(np.arange(wrong + right) < right)
    steps = steps_of(confidence, hits)
    for step in steps:
        if step.wrong < step.images:  # at the upper limit, so few errors have a chance of 5%
            chance = stats.binom.cdf(step.wrong, step.images, step.upper)
            np.testing.assert_allclose(chance, 0.05, rtol=1e-6)
    try:
        found = threshold_for(steps, risk, "here")
    except ProbelineError:
        return
    assert found.upper <= risk
    stricter = [s for s in steps if s.threshold > found.threshold]
    assert all(s.upper <= risk for s in stricter if s.images >= images_needed(risk))


@pytest.mark.parametrize("risk", [0.01, 0.05, 0.2])
def test_so_many_images_show_a_risk_and_no_fewer(risk):
    n = images_needed(risk)
    assert (1 - risk) ** n <= 0.05 < (1 - risk) ** (n - 1)


def test_the_promise_is_broken_no_more_often_than_told():
    """Confidences that say too much, too little, or nothing: 400 studies of 300 images each."""
    risk, images, studies = 0.1, 300, 400
    rng = np.random.default_rng(0)
    for error in (
        lambda c: (1 - c) * 1.5,
        lambda c: 0.1 + 0 * c,
        lambda c: np.where(c > 0.8, 0.11, 0.5),
    ):
        broken = 0
        for _ in range(studies):
            confidence = rng.uniform(0.3, 1, images)
            hits = rng.random(images) >= error(confidence)
            answered = confidence[None] >= np.array(THRESHOLDS)[:, None]
            n = answered.sum(axis=1)
            wrong = (answered & ~hits).sum(axis=1)
            upper = np.where(
                wrong < n, stats.beta.ppf(0.95, wrong + 1, np.maximum(n - wrong, 1)), 1.0
            )
            steps = [
                Step(*row)
                for row in zip(THRESHOLDS, n.tolist(), wrong.tolist(), upper, strict=True)
            ]
            try:
                least = threshold_for(steps, risk, "").threshold
            except ProbelineError:
                continue
            grid = np.linspace(least, 1, 2001)
            broken += error(grid).mean() > risk
        assert stats.binomtest(broken, studies, 0.05, "greater").pvalue > 1e-3, broken


@pytest.mark.parametrize("risk", [0, 1, -0.1, 7, float("nan")])
def test_a_risk_is_a_share(risk):
    with pytest.raises(ProbelineError, match="is no share"):
        threshold_for([Step(0.5, 1000, 0, 0.003)], risk, "here")


def test_too_few_images_and_scores_that_are_no_probabilities_are_told():
    with pytest.raises(ProbelineError, match="59 or more test images"):
        threshold_for([Step(0.5, 40, 0, 0.072)], 0.05, "here")
    assert steps_of(np.full(9, np.nan), np.ones(9, bool)) == []
    with pytest.raises(ProbelineError, match="no probabilities"):
        threshold_for([], 0.05, "here")


class Fixed(Classifier):
    """Says of every image what it was told to."""

    def __init__(self, said):
        self.said = said

    def each(self, images, *, risk=None):
        return iter([self.said[image] for image in images])


def table_of(said, *paths, risk=None):
    table, lines = io.StringIO(), io.StringIO()
    failed = write_answers(Fixed(said), paths, risk, table, lines)
    return failed, list(csv.reader(io.StringIO(table.getvalue()))), lines.getvalue()


def test_odd_names_stay_what_they_are_and_run_nowhere():
    said = {
        "a.png": Prediction("a.png", "=1+1", 0.5),
        "-b.png": Prediction("-b.png", 'x "y", z\nw', 1.0),
        "c.png": Prediction("c.png", "sure", 0.4, answered=False),
        "d.png": Prediction("d.png", "ridge", float("nan")),
        "e\x1b[2J.png": ProbelineError("e", "is broken", found="\x1b]0;title"),
    }
    failed, rows, lines = table_of(said, *said)
    assert failed == 1
    assert rows[1:] == [
        ["a.png", "'=1+1", "0.5", ""],
        ["'-b.png", 'x "y", z\nw', "1", ""],
        ["c.png", "", "0.4", "not sure enough for this risk"],
        ["d.png", "ridge", "", ""],
        ["e\x1b[2J.png", "", "", "is broken: \\x1b]0;title"],
    ]
    assert "\x1b" not in lines
    assert rows[0] == ["image", "class", "probability", "remark"]
