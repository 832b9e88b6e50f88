"""The search on a simulated device: the CPU's neighbours, in few and large steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_gpus import Gpus, simulate

from pipeline.neighbors import limits
from pipeline.neighbors.banks import ArrayBank
from pipeline.neighbors.search import nearest


def cloud(seed: int, n: int, d: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.fixture
def gpu(monkeypatch, quiet_machine) -> Gpus:
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    return simulate(monkeypatch)


@pytest.mark.parametrize(("metric", "piece"), [("euclidean", 64), ("cosine", 1000)])
def test_a_device_finds_the_same(gpu, monkeypatch, metric, piece):
    """Also of a query among many of its class, of equal rows, and without its own row."""
    monkeypatch.setattr(limits, "DEVICE_PIECE", piece)
    monkeypatch.setattr(limits, "DEVICE_TABLE", 7000)
    bank, queries = cloud(0, 1700), cloud(1, 150)
    bank[900:1300] = queries[7] + 1e-3 * bank[900:1300]  # more near rows than are kept
    bank[[5, 6, 7]] = queries[3]
    for asked, own in ((queries, None), (bank[::9], np.arange(0, 1700, 9))):
        ours, theirs = (
            nearest(ArrayBank(bank, 130), ArrayBank(asked), 20, metric, own=own, backend=backend,
                    threads=2)
            for backend in ("numpy", "torch")
        )  # fmt: skip
        np.testing.assert_array_equal(theirs.indices, ours.indices)
        np.testing.assert_allclose(theirs.distances, ours.distances, rtol=2e-6)


def test_each_row_goes_over_the_bus_once_and_a_device_is_waited_for_seldom(gpu, monkeypatch):
    monkeypatch.setattr(limits, "DEVICE_PIECE", 512)
    monkeypatch.setattr(limits, "DEVICE_TABLE", 512 * 100)
    bank, queries = cloud(2, 4096), cloud(3, 300)
    nearest(ArrayBank(bank, 256), ArrayBank(queries), 5, "euclidean", backend="torch", threads=1)
    points = 4 * 13 * (4096 + 300)
    assert gpu.counts["uploaded_bytes"] == points + 4 * 4096  # and the numbers of the bank's rows
    assert gpu.counts["uploads"] == 1 + 4096 // 256 + 4096 // 512  # queries; chunks; pieces
    # 8 pieces x 3 groups of 100 queries: how many there are, and where; then scores and rows.
    assert gpu.counts["waits"] <= 2 * 8 * 3 + 2
    assert gpu.counts["downloads"] <= 8 * 3 + 2
    assert gpu.counts["downloaded_bytes"] <= 8 * 8 * 3 + 2 * 4 * 300 * (5 + limits.MARGIN)


def test_only_the_first_piece_is_sorted_as_a_whole(gpu, monkeypatch):
    """Of the others only what is below a query's limit is looked at again."""
    import torch

    widths: list[int] = []
    topk = torch.Tensor.topk

    def noting(self, *args, **kwargs):
        widths.append(self.shape[1])
        return topk(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "topk", noting)
    monkeypatch.setattr(limits, "DEVICE_PIECE", 1024)
    nearest(ArrayBank(cloud(4, 8192)), ArrayBank(cloud(5, 20)), 5, "euclidean", backend="torch",
            threads=1)  # fmt: skip
    kept = 5 + limits.MARGIN
    assert widths.count(1024) == 1
    assert all(width <= 3 * kept for width in widths if width != 1024)


@pytest.mark.parametrize("room", [9, 64])
def test_a_device_without_room_for_the_table_takes_fewer_queries(gpu, room):
    bank, queries = cloud(6, 500), cloud(7, 130)
    expected = nearest(ArrayBank(bank), ArrayBank(queries), 9, "euclidean")
    gpu.most_rows = room
    found = nearest(ArrayBank(bank), ArrayBank(queries), 9, "euclidean", backend="torch")
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert gpu.counts["emptied"]


@settings(max_examples=15)
@given(data=st.data())
def test_whatever_the_pieces_and_the_order(data):
    """Integers: many ties, of which any may stay, at the same distance."""
    n, q = data.draw(st.integers(2, 60)), data.draw(st.integers(1, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    bank, queries = (rng.integers(-3, 4, (rows, 2)).astype(np.float32) for rows in (n, q))
    k = data.draw(st.integers(1, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBELINE_DEVICE", "cpu")
        patch.setattr(limits, "DEVICE_PIECE", data.draw(st.integers(1, 40)))
        patch.setattr(limits, "DEVICE_TABLE", data.draw(st.integers(1, 90)))
        patch.setattr(limits, "MARGIN", data.draw(st.sampled_from([0, 1, 32])))
        ours, theirs = (
            nearest(ArrayBank(bank, 7), ArrayBank(queries), k, "euclidean", backend=b, threads=2)
            for b in ("numpy", "torch")
        )
    np.testing.assert_allclose(theirs.distances, ours.distances, rtol=1e-6)
    np.testing.assert_array_equal(theirs.indices, ours.indices)
