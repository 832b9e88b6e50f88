"""Heads on a simulated device: the CPU's results, and each matrix uploaded once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from simulated_gpus import Gpus, simulate

from pipeline.heads import slabs
from pipeline.heads.linear_heads import fit_head
from pipeline.heads.linear_solvers import LogisticSolver, computed_like
from pipeline.heads.ridge import fit_ridge
from pipeline.heads.shot_classifiers import logistic_over, ridge_over
from pipeline.heads.slabs import Part
from pipeline.heads.tuning import PENALTIES, PLAIN
from pipeline.study.linear import Linear

CLASSES = 3


def clouds(seed: int, n: int, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % CLASSES).astype(np.int64)
    means = np.random.default_rng(5).normal(0, 1, (CLASSES, d))
    return (means[labels] + rng.normal(0, 1.2, (n, d))).astype(np.float32), labels


@pytest.fixture
def gpu(monkeypatch, quiet_machine) -> Gpus:
    """Slabs of so few rows that there are several of them."""
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    monkeypatch.setattr(slabs, "SLAB", 800 * 8)
    monkeypatch.setattr(slabs, "DEVICE_SLAB", 800 * 8)
    return simulate(monkeypatch)


@pytest.mark.parametrize(("name", "normalization"), [("logistic", "zscore"), ("ridge", "l2")])
def test_heads_on_a_device_are_the_cpus(gpu, name, normalization):
    x, y = clouds(0, 2100)
    other, _ = clouds(1, 50)
    asked = Linear(c=[1e-3, 1e-2, 0.1])
    ours, theirs = (fit_head(name, normalization, x, y, CLASSES, asked, b) for b in BOTH)
    chosen = "C" if name == "logistic" else "lambda"
    assert theirs.details[chosen] == ours.details[chosen]
    np.testing.assert_allclose(theirs.scores(other), ours.scores(other), atol=1e-4)
    assert type(theirs.fit.coefficients) is np.ndarray


BOTH = ("numpy", "torch")


def bytes_of(*arrays: np.ndarray) -> int:
    return sum(array.nbytes for array in arrays)


def test_features_are_uploaded_once_for_all_c(gpu):
    """The fit's copy serves the check, the mean, the axes and every C; so does the hold-out's."""
    x, y = clouds(2, 2100)
    uploads = []
    for grid in ([1e-3, 1e-2], [1e-3, 3e-3, 1e-2]):
        gpu.counts.clear()
        fit_head("logistic", "zscore", x, y, CLASSES, Linear(c=grid), "torch")
        uploads.append(gpu.counts["uploaded_bytes"])
    labels = 3 * 8 * 2100  # of train, of its inner part and of the rest, for each C
    # 2,100 rows as float64 (they are few): all of them, and once more the inner part and the rest.
    assert uploads[0] <= 2 * 8 * x.size + 2 * labels
    assert uploads[1] - uploads[0] <= 8 * 420 * 8  # the labels of the rest, for each further C


def test_ridge_is_computed_on_the_device_from_the_start(gpu, monkeypatch):
    x, y = clouds(3, 900)
    for name in ("eigh", "solve"):
        monkeypatch.setattr(np.linalg, name, None)
    gpu.counts.clear()
    fit_head("ridge", "none", x, y, CLASSES, Linear(), "torch")
    assert gpu.counts["uploaded_bytes"] <= bytes_of(x, y) + 4096
    # Of each slab and penalty the sums alone come back; of the chosen one, its weights.
    pieces = -(-len(x) * x.shape[1] // slabs.SLAB)
    assert gpu.counts["downloads"] <= pieces * (3 * len(PENALTIES) + 1) + 2
    assert gpu.counts["downloaded_bytes"] <= 8 * gpu.counts["downloads"] + 8 * CLASSES * 9


@pytest.mark.parametrize("shape", [(300, 8), (20, 40)])
def test_groups_are_left_out_on_a_device_too(gpu, shape):
    x, y = clouds(4, *shape)
    groups = np.array([f"site {i % 7}" if i % 3 else "" for i in range(len(y))])
    (fits, judged), (others, there) = (
        fit_ridge(x, y, CLASSES, [0.1, 10.0], groups, computed_like(backend)) for backend in BOTH
    )
    for own, other in zip(fits, others, strict=True):
        np.testing.assert_allclose(other.coefficients, own.coefficients, atol=1e-9)
    for ours, theirs in zip(judged, there, strict=True):
        assert theirs.accuracy == ours.accuracy
        assert theirs.squared_error == pytest.approx(ours.squared_error, rel=1e-9)


def test_features_that_are_read_in_parts_are_not_held_there(gpu):
    """Rows that do not fit are uploaded a slab at a time, and give the same."""
    x, y = clouds(6, 600)
    held = LogisticSolver("torch", x, CLASSES).open_path(x, y, tolerance=PLAIN)(0.1)
    streamed = Part(x, streamed=True)
    solver = LogisticSolver("torch", streamed, CLASSES)
    assert solver.train is streamed
    read = solver.open_path(streamed, y, tolerance=PLAIN)(0.1)
    np.testing.assert_allclose(read.coefficients, held.coefficients, atol=1e-4)


@pytest.mark.parametrize("make", [lambda b: logistic_over([0.1, 1.0], 0, b),
                                  lambda b: ridge_over([0.1, 1.0], b)])  # fmt: skip
def test_few_shots_on_a_device_are_the_cpus(gpu, make):
    x, y = clouds(7, 30)
    queries, _ = clouds(8, 40)
    ours, theirs = (make(backend)(x, y, queries, CLASSES, None) for backend in BOTH)
    np.testing.assert_allclose(theirs.values, ours.values, atol=1e-6)
    assert theirs.details == pytest.approx(ours.details)
    assert gpu.counts["uploads"]


def test_devices_do_not_mix(gpu):
    """The simulation itself: what would fail on a real device fails on it."""
    there = torch.zeros(3, device="cuda")
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(there)
    assert (there + 1).device == torch.device("cuda", 0)
