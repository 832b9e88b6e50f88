"""Calibration against scikit-learn's curve; risk-coverage against trying every order."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import MadeImages, evidence_of, rows_of
from sklearn.calibration import calibration_curve

from pipeline.statistics.calibration import (
    calibration,
    ece_by_chance,
    risk_coverage,
    selective_risk,
)
from pipeline.study.metrics import BINS, expected_calibration_error

LOGISTIC = "linear/logistic_none"


def sure_evidence(n=600, seed=0, sharp=1.0):
    """A model that is right exactly as often as it is sure, or sharper than it should be."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1, n)
    labels = rng.integers(0, 2, n)
    hits = rng.random(n) < 1 - sharp * (1 - confidence)
    said = np.where(hits, labels, 1 - labels)
    return evidence_of(MadeImages(("a",), labels, [said], [confidence])), confidence, hits


def test_bins_are_those_of_scikit_learn():
    evidence, confidence, hits = sure_evidence()
    rows = rows_of(calibration(evidence))
    right, sure = calibration_curve(hits, confidence.astype(np.float32), n_bins=BINS)
    np.testing.assert_allclose([row["accuracy"] for row in rows], right)
    np.testing.assert_allclose([row["confidence"] for row in rows], sure, rtol=1e-6)
    weights = np.array([row["n"] for row in rows])
    assert weights.sum() == rows[0]["images"] == len(hits)
    assert rows[0]["error"] == pytest.approx((weights * np.abs(right - sure)).sum() / len(hits))
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_by_chance_is_what_calibrated_answers_show():
    found = []
    for seed in range(60):
        _, confidence, hits = sure_evidence(seed=seed)
        found.append(expected_calibration_error(confidence, hits))
    assert np.mean(found) == pytest.approx(ece_by_chance(confidence), rel=0.1)
    evidence, *_ = sure_evidence(sharp=2.0)
    first = rows_of(calibration(evidence))[0]
    assert first["error"] > 2 * first["error_by_chance"]


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=50)
def test_equal_confidence_counts_as_any_order_on_average(drawn):
    confidence, hits = (np.array(column) for column in zip(*drawn, strict=True))
    orders = [
        list(order)
        for order in permutations(range(len(hits)))
        if (np.diff(confidence[list(order)]) <= 0).all()
    ]
    answered = np.arange(1, len(hits) + 1)
    expected = np.mean([np.cumsum(~hits[order]) / answered for order in orders], axis=0)
    np.testing.assert_allclose(selective_risk(confidence.astype(float), hits), expected)


def test_the_curve_ends_at_the_error_of_all_and_its_area_lies_between_best_and_worst():
    evidence, confidence, hits = sure_evidence()
    rows = rows_of(risk_coverage(evidence))
    assert (rows[-1]["coverage"], rows[-1]["answered"]) == (1, len(hits))
    assert rows[-1]["risk"] == pytest.approx(1 - hits.mean())
    worst = selective_risk(-hits.astype(float), hits).mean()
    assert rows[0]["best_aurc"] <= rows[0]["aurc"] <= worst
    assert rows[0]["aurc"] < 1 - hits.mean()  # it knows something
    assert len(rows) == 100
    at = rows[49]
    kept = np.sort(confidence)[::-1][: int(at["answered"])]
    assert at["threshold"] == pytest.approx(kept[-1])


def test_a_perfect_model_has_no_risk():
    labels = np.array([0, 1, 1, 0])
    images = MadeImages(("a",), labels, [labels], [[0.6, 0.9, 1.0, 0.7]])
    rows = rows_of(risk_coverage(evidence_of(images)))
    assert {row["risk"] for row in rows} == {row["aurc"] for row in rows} == {0}


def test_where_the_headline_gives_no_probabilities_another_variant_of_the_probe_is_asked():
    labels = np.array([0, 1, 1, 0])

    class Both(MadeImages):
        def said(self, variant, dataset):
            found = super().said(variant, dataset)
            if variant.full_name != LOGISTIC or dataset != "d1":
                return found
            logistic = MadeImages(("a",), labels, [labels], [[0.6, 0.9, 1.0, 0.7]])
            logistic.variant = LOGISTIC
            return logistic.said(variant, dataset)

    images = Both(("a",), labels, [1 - labels])
    evidence = evidence_of(images, variants=("linear/ridge_none", LOGISTIC))
    assert {row["variant"] for row in rows_of(calibration(evidence))} == {LOGISTIC}
    alone = evidence_of(MadeImages(("a",), labels, [1 - labels]))
    for statistic in (calibration, risk_coverage):
        assert "gives probabilities" in statistic(alone).attrs["withheld"]
