"""Exact neighbours: the same as scikit-learn's in float64 and faiss's, whatever the blocks."""

from __future__ import annotations

from itertools import product

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from cache.cell import Cell, CellAddress, chunk_name
from cache.errors import CellCorruptError, NonFiniteError, ProbelineError
from cache.writer import CellWriter
from pipeline.heads.normalization import Normalizer, unit_length
from pipeline.neighbors import candidates, limits, search
from pipeline.neighbors.banks import ArrayBank, CellBank, draw
from pipeline.neighbors.library_search import nearest_by
from pipeline.neighbors.search import nearest

BACKENDS = ("numpy", "torch")


def cloud(seed, n, d, *, mean=0.0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal((n, d)) + mean).astype(dtype)


def direct(bank, queries, k, metric, own=None):
    """Distances and neighbours by differences in extended precision, ties by row."""
    a, b = queries.astype(np.longdouble), bank.astype(np.longdouble)
    if metric == "cosine":
        length_a, length_b = (np.sqrt((x * x).sum(axis=1)) for x in (a, b))
        a = a / np.where(length_a, length_a, 1)[:, np.newaxis]
        b = b / np.where(length_b, length_b, 1)[:, np.newaxis]
        zero = (length_a == 0).astype(float)[:, np.newaxis] + (length_b == 0)
        table = (((a[:, np.newaxis] - b) ** 2).sum(axis=2) + zero) / 2
    else:
        table = np.sqrt(((a[:, np.newaxis] - b) ** 2).sum(axis=2))
    table = table.astype(np.float64)
    if own is not None:
        table[np.arange(len(a)), own] = np.inf
    order = np.argsort(table, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(table, order, axis=1), order, table


def assert_same(found, expected, *, rtol=5e-6):
    """Distances agree; a neighbour may differ only where two distances do not."""
    distances, _, table = expected
    # Parallel rows are apart by the rounding of unit vectors, squared: 1e-32, whatever it means.
    atol = 1e-30 + 1e-12 * np.max(distances, initial=0.0, where=np.isfinite(distances))
    np.testing.assert_allclose(found.distances, distances, rtol=rtol, atol=atol)
    theirs = np.take_along_axis(table, found.indices.astype(np.int64), axis=1)
    np.testing.assert_allclose(theirs, distances, rtol=1e-12, atol=atol)
    for row in found.indices:
        assert len(set(row)) == len(row)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_neighbors_are_scikit_learns_in_float64(metric, dtype, mean, backend):
    bank, queries = (cloud(s, n, 40, mean=mean, dtype=dtype) for s, n in ((1, 2500), (2, 130)))
    peer = NearestNeighbors(n_neighbors=50, metric=metric, algorithm="brute")
    distances, order = peer.fit(bank.astype(np.float64)).kneighbors(queries.astype(np.float64))
    found = nearest(ArrayBank(bank), ArrayBank(queries), 50, metric, backend=backend)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, distances, rtol=2e-6)


def test_neighbors_are_faiss_flats():
    bank, queries = cloud(3, 3000, 64), cloud(4, 100, 64)
    index = faiss.IndexFlatL2(64)
    index.add(bank)
    squared, order = index.search(queries, 20)
    found = nearest(ArrayBank(bank), ArrayBank(queries), 20, "euclidean")
    np.testing.assert_allclose(found.distances**2, squared, rtol=1e-5)
    swapped = found.indices != order
    assert swapped.mean() < 0.01  # faiss's float32 order of near-ties
    products = faiss.IndexFlatIP(64)
    products.add(unit_length(bank)[0])
    cosines, order = products.search(unit_length(queries)[0], 20)
    found = nearest(ArrayBank(bank), ArrayBank(queries), 20, "cosine")
    np.testing.assert_allclose(1 - found.distances, cosines, atol=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("preparation", ["none", "l2", "zscore", "centered_l2"])
def test_preparations_are_the_formulas(metric, preparation):
    bank = cloud(5, 300, 9, mean=2.0)
    queries = cloud(6, 40, 9, mean=2.0)
    bank[:, 3] = 0.1  # constant over train
    a, b = bank.astype(np.float64), queries.astype(np.float64)
    if preparation == "l2":
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    elif preparation == "zscore":
        deviation = a.std(axis=0)
        deviation[3] = 1
        a, b = (
            (a - bank.mean(0, np.float64)) / deviation,
            (b - bank.mean(0, np.float64)) / deviation,
        )
        np.testing.assert_allclose(b, Normalizer.fit("zscore", bank)(queries), atol=1e-5)
    elif preparation == "centered_l2":
        a, b = a - bank.mean(0, np.float64), b - bank.mean(0, np.float64)
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    found = nearest(ArrayBank(bank), ArrayBank(queries), 10, metric, preparation)
    assert_same(found, direct(a, b, 10, metric), rtol=2e-6)


def test_a_constant_column_is_constant_whatever_its_value():
    bank, queries = cloud(7, 1111, 3), cloud(8, 20, 3)
    bank[:, 1] = np.float32(0.1)  # its float64 mean over 1111 rows is not float32(0.1)
    queries[:, 1] = 0.1
    without = [np.delete(x, 1, axis=1) for x in (bank, queries)]
    found = nearest(ArrayBank(bank, 100), ArrayBank(queries), 5, "euclidean", "zscore")
    expected = nearest(ArrayBank(without[0]), ArrayBank(without[1]), 5, "euclidean", "zscore")
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("mean", [1e2, 1e4])
def test_a_mean_far_from_the_origin_loses_no_neighbor(metric, mean, backend):
    bank, queries = cloud(9, 1500, 24, mean=mean), cloud(10, 60, 24, mean=mean)
    found = nearest(ArrayBank(bank), ArrayBank(queries), 20, metric, backend=backend)
    expected = direct(bank, queries, 20, metric)
    assert_same(found, expected, rtol=2e-6)
    np.testing.assert_array_equal(found.indices, expected[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_tight_clusters_far_apart_are_searched_again_in_float64(monkeypatch, backend):
    """A mean per cluster that no single centre removes: float32 products can't see inside."""
    rng = np.random.default_rng(11)
    centres = 1e4 * rng.standard_normal((4, 16))
    bank = (centres[np.arange(1200) % 4] + rng.standard_normal((1200, 16))).astype(np.float32)
    queries = (centres[np.arange(40) % 4] + rng.standard_normal((40, 16))).astype(np.float32)
    seen = []
    original = search._Search._pass

    def spy(self, raw, own, dtype):
        seen.append((dtype, len(raw)))
        return original(self, raw, own, dtype)

    monkeypatch.setattr(search._Search, "_pass", spy)
    found = nearest(ArrayBank(bank), ArrayBank(queries), 10, "euclidean", backend=backend)
    expected = direct(bank, queries, 10, "euclidean")
    np.testing.assert_array_equal(found.indices, expected[1])
    np.testing.assert_allclose(found.distances, expected[0], rtol=1e-6)
    assert [dtype for dtype, _ in seen] == [np.float32, np.float64]


def test_a_product_worse_than_the_bound_is_noticed(monkeypatch):
    """As with TF32, or a careless BLAS."""
    monkeypatch.setattr(candidates, "ROUNDINGS", 1e-3)
    seen = []
    original = search._Search._pass

    def spy(self, raw, own, dtype):
        seen.append(dtype)
        return original(self, raw, own, dtype)

    monkeypatch.setattr(search._Search, "_pass", spy)
    bank = cloud(12, 900, 30)
    bank[1] = bank[0]  # some pair is in doubt under any bound
    nearest(ArrayBank(bank), ArrayBank(bank[:1] + 1e-3), 5, "euclidean")
    assert np.float64 in seen


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("preparation", ["none", "l2", "zscore", "centered_l2"])
def test_equal_rows_have_distance_zero_in_order_of_the_bank(metric, preparation):
    bank = cloud(13, 600, 50, mean=5.0, dtype=np.float16)
    bank[[17, 300, 599]] = bank[4]
    found = nearest(ArrayBank(bank), ArrayBank(bank[[4]]), 6, metric, preparation)
    np.testing.assert_array_equal(found.indices[0, :4], [4, 17, 300, 599])
    assert (found.distances[0, :4] == 0).all()
    assert (found.distances[0, 4:] > 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_equal_rows_than_candidates(backend):
    bank = cloud(14, 400, 8)
    bank[100:] = bank[100]
    found = nearest(ArrayBank(bank, 64), ArrayBank(bank[[350]]), 12, "euclidean", backend=backend)
    assert (found.distances == 0).all()
    np.testing.assert_array_equal(found.indices[0], np.arange(100, 112))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_odd_sizes_and_values(data):
    n, m, d = (data.draw(st.integers(1, most)) for most in (60, 9, 5))
    k = data.draw(st.integers(1, n))
    metric = data.draw(st.sampled_from(["euclidean", "cosine"]))
    numbers = st.sampled_from(
        [0.0, 1.0, -1.0, 0.5, 65504.0, -65504.0, 6e-8, 1e-7, 3.14, 2.71, 1000.0]
    )
    bank = data.draw(arrays(np.float16, (n, d), elements=numbers))
    queries = data.draw(arrays(np.float16, (m, d), elements=numbers))
    chunk = data.draw(st.sampled_from([7, 59, 60, 61]))
    backend = data.draw(st.sampled_from(BACKENDS))
    found = nearest(
        ArrayBank(bank, chunk), ArrayBank(queries, 3), k, metric, threads=2, backend=backend
    )
    assert_same(found, direct(bank, queries, k, metric))


@settings(max_examples=12, deadline=None)
@given(
    chunk=st.integers(40, 700),
    query_chunk=st.integers(1, 200),
    piece=st.integers(4, 40).map(lambda eights: 8 * eights),
    block=st.integers(1, 25).map(lambda eights: 8 * eights),
    threads=st.integers(1, 3),
    margin=st.integers(0, 40),
    sample=st.integers(20, 300),
)
def test_blocks_and_threads_change_nothing(
    chunk, query_chunk, piece, block, threads, margin, sample
):
    bank, queries = CLASS_SORTED
    expected = direct(bank, queries, 15, "euclidean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PIECE", piece)
        patch.setattr(limits, "BLOCK", block)
        patch.setattr(limits, "MARGIN", margin)
        patch.setattr(limits, "SAMPLE", sample)
        found = nearest(
            ArrayBank(bank, chunk), ArrayBank(queries, query_chunk), 15, "euclidean",
            threads=threads,
        )  # fmt: skip
    np.testing.assert_array_equal(found.indices, expected[1])
    np.testing.assert_allclose(found.distances, expected[0], rtol=2e-6)


CLASS_SORTED = (
    (cloud(15, 650, 12) + np.sort(np.arange(650) % 5)[:, np.newaxis]).astype(np.float16),
    (cloud(16, 170, 12) + (np.arange(170) % 5)[:, np.newaxis]).astype(np.float16),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_leave_one_out_goes_by_row_not_by_distance(metric, backend):
    bank = cloud(17, 1300, 10)
    bank[900] = bank[3]
    rows = np.array([3, 900, 1299, 0, 5])
    found = nearest(ArrayBank(bank), ArrayBank(bank[rows]), 8, metric, own=rows, backend=backend)
    assert_same(found, direct(bank, bank[rows], 8, metric, own=rows))
    assert found.indices[0, 0] == 900
    assert found.indices[1, 0] == 3
    assert (found.distances[:2, 0] == 0).all()
    assert not (found.indices == rows[:, np.newaxis]).any()


@pytest.mark.parametrize("backend", ["numpy", "torch", "sklearn"])
def test_only_some_rows_are_searched_but_all_give_the_statistics(backend):
    bank, queries = cloud(18, 1400, 6) * np.arange(1, 7, dtype=np.float32), cloud(19, 30, 6)
    only = np.random.default_rng(0).random(1400) < 0.3
    only[:200] = False
    held = ArrayBank(bank, 130)
    found = nearest_by(backend, held, ArrayBank(queries), 9, "euclidean", "zscore", only=only)
    a, b = map(Normalizer.fit("zscore", bank), (bank, queries))
    distances, order, _ = direct(a[only], b, 9, "euclidean")
    np.testing.assert_array_equal(found.indices, np.flatnonzero(only)[order])
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)
    own = np.flatnonzero(only)[:10]
    found = nearest_by(
        backend, held, ArrayBank(bank[own]), 9, "euclidean", "none", only=only, own=own
    )
    assert not (found.indices == own[:, np.newaxis]).any()
    assert only[found.indices].all()


def test_zero_rows_have_cosine_distance_one():
    bank = cloud(20, 50, 7)
    bank[9] = 0
    found = nearest(ArrayBank(bank), ArrayBank(np.zeros((1, 7), np.float32)), 50, "cosine")
    np.testing.assert_allclose(found.distances, 1)
    np.testing.assert_array_equal(found.indices[0], np.arange(50))


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e18, 1e25, 1e37])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_what_float32_squares_cannot_hold(scale, metric):
    bank, queries = (cloud(s, n, 5) * np.float32(scale) for s, n in ((21, 200), (22, 20)))
    found = nearest(ArrayBank(bank), ArrayBank(queries), 7, metric)
    expected = direct(bank, queries, 7, metric)
    np.testing.assert_array_equal(found.indices, expected[1])
    np.testing.assert_allclose(found.distances, expected[0], rtol=1e-5)


@pytest.fixture
def cell(tmp_path):
    values = cloud(23, 2000, 33, dtype=np.float16)
    address = CellAddress(tmp_path / "model.zarr", "train")
    ids = [str(i) for i in range(len(values))]
    labels = np.zeros(len(values), int)
    with CellWriter(address, key={"a": 1}, ids=ids, labels=labels, columns=33) as writer:
        for chunk in writer.missing:
            writer.write(chunk, values[writer.rows_of(chunk)])
        writer.commit()
    return values, CellBank(Cell.open(address))


def test_a_cell_is_searched_as_its_array_is_in_little_memory(cell):
    values, bank = cell
    expected = nearest(ArrayBank(values), ArrayBank(values), 10, "euclidean", own=np.arange(2000))
    with pytest.raises(ProbelineError, match="too small") as error:
        nearest(bank, bank, 10, "euclidean", memory=1 << 20, threads=1)
    needed = int(error.value.expected.split()[2].replace(",", ""))
    found = nearest(bank, bank, 10, "euclidean", own=np.arange(2000), memory=needed, threads=1)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=2e-6)
    with pytest.raises(ProbelineError, match="too small"):
        nearest(bank, bank, 10, "euclidean", memory=needed - 1, threads=1)


def test_faults_are_named():
    bank = ArrayBank(cloud(24, 30, 4))
    with pytest.raises(ProbelineError, match=r"k = 31 neighbours of 30"):
        nearest(bank, bank, 31, "euclidean")
    with pytest.raises(ProbelineError, match=r"k = 30 neighbours of 29"):
        nearest(bank, bank, 30, "euclidean", own=np.arange(30))
    with pytest.raises(ProbelineError, match="from 1 to"):
        nearest(bank, bank, 0, "euclidean")
    with pytest.raises(ProbelineError, match="another number of features"):
        nearest(bank, ArrayBank(cloud(25, 3, 5)), 1, "euclidean")
    with pytest.raises(ProbelineError, match="metric"):
        nearest(bank, bank, 1, "manhattan")
    with pytest.raises(ProbelineError, match="preparation"):
        nearest(bank, bank, 1, "euclidean", "whiten")


@pytest.mark.parametrize("backend", ["numpy", "torch", "sklearn"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("where", ["bank", "queries"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_by_row(where, value, dtype, backend):
    arrays_ = {"bank": cloud(26, 5000, 4, dtype=dtype), "queries": cloud(27, 10, 4, dtype=dtype)}
    arrays_[where][7, 2] = value
    sides = ArrayBank(arrays_["bank"]), ArrayBank(arrays_["queries"])
    for metric, preparation in product(["euclidean", "cosine"], ["none", "zscore", "centered_l2"]):
        with pytest.raises(NonFiniteError) as error:
            nearest_by(backend, *sides, 3, metric, preparation)
        assert error.value.found == "row 7"


def test_a_sample_that_misleads_loses_no_neighbor(monkeypatch):
    """The rows compared first say that the nearest are much nearer than most of them are."""
    bank, queries = cloud(28, 3000, 6), cloud(29, 1, 6)
    expected = direct(bank, queries, 40, "euclidean")
    sample = np.sort(expected[1][0, :30]).astype(np.int32)
    monkeypatch.setattr(limits, "SAMPLE", len(sample))
    monkeypatch.setattr(search, "draw", lambda *_: (sample, bank[sample]))
    found = nearest(ArrayBank(bank), ArrayBank(queries), 40, "euclidean")
    np.testing.assert_array_equal(found.indices, expected[1])
    np.testing.assert_allclose(found.distances, expected[0], rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("preparation", ["none", "l2", "zscore", "centered_l2"])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_a_gpu_finds_the_same(metric, preparation, mean, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    bank, queries = cloud(30, 9000, 100, mean=mean), cloud(31, 700, 100, mean=mean)
    bank[[5, 6, 7]] = queries[3]
    own = np.arange(700)
    for asked, left_out in ((queries, None), (bank[:700], own)):
        ours, theirs = (
            nearest(
                ArrayBank(bank), ArrayBank(asked), 60, metric, preparation,
                own=left_out, backend=backend,
            )
            for backend in BACKENDS
        )  # fmt: skip
        np.testing.assert_array_equal(theirs.indices, ours.indices)
        np.testing.assert_allclose(theirs.distances, ours.distances, rtol=2e-6)


@pytest.mark.parametrize("preparation", ["none", "l2", "zscore", "centered_l2"])
def test_rows_drawn_from_a_cell_are_its_rows_and_a_damaged_chunk_is_refused(cell, preparation):
    values, bank = cell
    only = np.arange(2000) % 3 == 1
    for size, mask in ((50, None), (3000, None), (1999, None), (500, only), (1, only)):
        rows, drawn = draw(bank, size, mask)
        np.testing.assert_array_equal(drawn, values[rows])
        assert len(rows) == min(size, 2000 if mask is None else only.sum())
        assert (np.diff(rows) > 0).all()
        assert mask is None or mask[rows].all()
    chunk = bank.cell.address.path / chunk_name(1)
    chunk.write_bytes(chunk.read_bytes()[:-70])
    for damage in (lambda: None, chunk.unlink):
        damage()
        with pytest.raises(CellCorruptError, match="chunk") as error:
            nearest(bank, ArrayBank(values), 3, "euclidean", preparation)
        assert str(chunk) in error.value.place
