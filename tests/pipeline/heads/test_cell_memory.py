"""What is said of a cell's memory is what a probe takes, and it does not grow with n x K."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pipeline.heads import needs, normalization, selection, slabs, softmax
from pipeline.heads.linear_heads import fit_head
from pipeline.heads.shot_classifiers import prototypes
from pipeline.probes.scoring import make_outcome
from pipeline.study.linear import Linear

SHAPES = {
    "tall": (2100, 100, 10),
    "tall, many classes": (2100, 60, 100),
    "folds": (900, 100, 10),
    "folds, many classes": (600, 30, 80),
    "wide": (300, 600, 10),
}
BYTES = {"logistic": needs.logistic_bytes, "ridge": needs.ridge_bytes}
SLAB = 1 << 14


class Read:
    """Features that are read by slices alone, as those of a cell that does not fit."""

    streamed, dtype = True, np.float32

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.values[rows].copy()


def clouds(n: int, d: int, classes: int):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(n) % classes)
    x = rng.normal(0, 1, (n, d)) + rng.normal(0, 0.3, (classes, d))[y]
    return x.astype(np.float32), y


def peak(head: str, features, y, classes: int) -> int:
    """Bytes beyond the features, of choosing, fitting, scoring and judging."""
    asked = Linear(c=[1e-3, 1e-2], max_iterations=10)
    tracemalloc.start()
    try:
        fitted = fit_head(head, "zscore", features, y, classes, asked)
        make_outcome(
            "v", fitted.slabs(features), y, seconds=0, backend="b", are_probabilities=False
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def small_slabs(monkeypatch):
    """Small things are as large ones: many slabs, nothing kept, float32."""
    monkeypatch.setattr(slabs, "SLAB", SLAB)
    monkeypatch.setattr(softmax, "KEPT", 0)
    monkeypatch.setattr(normalization, "BLOCK", 256)
    for module in (selection, needs):
        monkeypatch.setattr(module, "NARROW", 0)


@pytest.mark.parametrize("head", ["logistic", "ridge"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fit_takes_no_more_than_is_said_and_not_a_tenth_of_it(shape, head):
    n, d, classes = SHAPES[shape]
    x, y = clouds(n, d, classes)
    said = BYTES[head](n, d, classes, slabs.SLAB)
    assert said / 10 < peak(head, x, y, classes) < said


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("head", ["logistic", "ridge"])
def test_peaks_do_not_grow_with_images_times_classes(small_slabs, head, streamed):
    """Three sizes: what grows with n is a turned copy of the features, where they are held."""
    d, classes = 24, 60
    beyond = []
    for n in (2_200, 3_300, 6_600):
        x, y = clouds(n, d, classes)
        found = peak(head, Read(x) if streamed else x, y, classes)
        assert found < BYTES[head](n, d, classes, SLAB, streamed=streamed)
        copy = 4 * n * (d + 1) if head == "logistic" and not streamed else 0
        beyond.append(found - copy)
    per_image = (beyond[2] - beyond[0]) / 4_400
    assert per_image < 100  # labels, ranks, outcomes; a value of each class would be 480


def test_prototypes_and_their_scores_take_a_slab(small_slabs):
    peaks = []
    for n in (3_000, 12_000):
        x, y = clouds(n, 24, 60)
        tracemalloc.start()
        try:
            for _ in prototypes(x[:600], y[:600], x, 60).slabs():
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert peaks[-1] < needs.prototypes_bytes(600, 24, 60, SLAB)
    assert peaks[1] < 1.1 * peaks[0] + 50_000
