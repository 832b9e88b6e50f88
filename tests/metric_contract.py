"""What every metric that is computed here does: tests that each inherits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.study.metric import Metric, Predictions

IMAGES, CLASSES = 240, 6


def predictions_of(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Predictions:
    """What a protocol makes of scores, shape (n_test, n_classes)."""
    own = scores[np.arange(len(labels)), labels][:, None]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return Predictions(
        scores.argmax(axis=1),
        1 + (scores > own).sum(axis=1),
        np.log(shares[np.arange(len(labels)), labels]).astype(np.float32),
        shares.max(axis=1),
        labels, labels, CLASSES, groups, held_out=True,
    )  # fmt: skip


def drawn(seed: int, skill: float) -> Predictions:
    """Predictions that are the better the higher `skill`; 0 is guessing."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(IMAGES) % CLASSES)
    scores = rng.standard_normal((IMAGES, CLASSES)) + skill * np.eye(CLASSES)[labels]
    return predictions_of(scores, labels, np.array(["a", "b", "c", ""])[rng.integers(0, 4, IMAGES)])


class MetricContract:
    """Subclass it, say which metric, and all of these tests are run."""

    @pytest.fixture
    def metric(self) -> Metric:
        raise NotImplementedError

    @pytest.mark.parametrize("skill", [0.0, 1.5, 30.0])
    def test_it_lies_in_its_range_and_its_interval_around_it(self, metric, skill):
        found = drawn(0, skill)
        assert metric.needs <= found.offers
        value = metric.value(found)
        assert metric.range[0] <= value <= metric.range[1]
        if metric.interval is not None:
            low, high = metric.interval(found)
            assert low - 1e-9 <= value <= high + 1e-9

    def test_better_predictions_are_better_in_its_direction(self, metric):
        guesses, good = (
            np.mean([metric.goodness(metric.value(drawn(seed, skill))) for seed in range(5)])
            for skill in (0.0, 30.0)
        )
        assert good > guesses

    def test_the_order_of_images_does_not_matter(self, metric):
        found = drawn(1, 1.0)
        order = np.random.default_rng(2).permutation(IMAGES)
        columns = (
            "predicted",
            "rank",
            "log_probability",
            "confidence",
            "truth",
            "labels",
            "groups",
        )
        mixed = replace(found, **{name: getattr(found, name)[order] for name in columns})
        assert metric.value(mixed) == pytest.approx(metric.value(found), rel=1e-9)

    def test_draws_together_are_as_one_after_the_other(self, metric):
        found = drawn(3, 1.0)
        draws = [
            predictions_of(np.random.default_rng(n).standard_normal((IMAGES, CLASSES)),
                           found.labels, found.groups)
            for n in range(3)
        ]  # fmt: skip
        expected = [metric.value(draw) for draw in draws]
        np.testing.assert_allclose(metric.of_draws(draws), expected, rtol=1e-12)
