"""What is said of a cell's memory, which bounds how many run at once, is what a probe takes."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.heads import selection
from pipeline.heads.linear_heads import fit_head
from pipeline.machine.process_pool import COPIES
from pipeline.probes import protocol
from pipeline.probes.protocol import Source, Task, copy_bytes
from pipeline.study.linear import Linear

SHAPES = {
    "tall": (2100, 100, 10),
    "tall, many classes": (2100, 60, 100),
    "folds": (900, 100, 10),
    "folds, many classes": (600, 30, 80),
    "wide": (300, 600, 10),
}


@pytest.mark.parametrize("narrow", [0, 1 << 24])
@pytest.mark.parametrize("head", ["logistic", "ridge"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fit_takes_no_more_than_is_said_and_not_a_tenth_of_it(shape, head, narrow, monkeypatch):
    for module in (selection, protocol):  # float64 features, or float32 as if they were large
        monkeypatch.setattr(module, "NARROW", narrow)
    n, d, classes = SHAPES[shape]
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = rng.normal(0, 1, (n, d)) + rng.normal(0, 0.3, (classes, d))[y]
    tracemalloc.start()
    try:
        features = x.astype(np.float32)
        fit_head(head, "zscore", features, y, classes, Linear(c=[1e-3, 1e-2])).scores(features)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    said = COPIES * copy_bytes(n, d, classes)
    assert peak <= said
    assert peak >= said / 10


def cell(rows, columns):
    return SimpleNamespace(manifest=SimpleNamespace(rows=rows, columns=columns))


def test_the_largest_cell_of_a_task_counts_and_so_do_its_classes():
    def task(train, val, classes, sources=()):
        of = {str(i): Source(cell(*c), tuple("x" * k)) for i, (c, k) in enumerate(sources)}
        return Task("d", "m", cell(*train), cell(*val), tuple("c" * classes), sources=of)

    big = 10_000_000, 768
    plain = protocol._bytes(task(big, (50, 768), 10))
    assert plain == copy_bytes(*big, 10)
    assert protocol._bytes(task((50, 768), big, 10)) == plain
    assert protocol._bytes(task((50, 768), (5, 768), 10, [(big, 10)])) == plain
    thousand = protocol._bytes(task(big, (50, 768), 1000))
    assert thousand / plain == pytest.approx((768 + 1000) / (768 + 10), rel=1e-3)
    assert protocol._bytes(task(big, (50, 768), 10, [((50, 768), 1000)])) == thousand
