"""Stored neighbours: what a slow search finds, whatever the memory, and searched once."""

from __future__ import annotations

import numpy as np
import pytest
from made_cells import clouds, left_overs, make_study, make_task

from cache.cell import chunk_name
from cache.errors import (
    CellCorruptError,
    CellMissingError,
    CellStaleError,
    NonFiniteError,
    ProbelineError,
)
from cache.files import sha256_file
from pipeline.neighbors import neighbors
from pipeline.neighbors.leave_one_out import stratified
from pipeline.neighbors.neighbors import neighbors_key, read_neighbors, search_cell, spaces
from pipeline.project.paths import neighbors_path

EVERY = {
    "n_neighbors": 7,
    "metric": ["euclidean", "cosine"],
    "normalization": ["none", "l2", "zscore", "centered_l2"],
}
PLENTY = 1 << 30


def unit(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def slow_distances(train, queries, metric, normalization):
    """All distances in float64, by the definitions."""
    train, queries = train.astype(np.float64), queries.astype(np.float64)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1
    prepare = {
        "none": lambda x: x,
        "l2": unit,
        "zscore": lambda x: (x - mean) / deviation,
        "centered_l2": lambda x: unit(x - mean),
    }[normalization]
    a, b = prepare(queries), prepare(train)
    if metric == "cosine":
        return 1 - unit(a) @ unit(b).T
    return np.sqrt(((a[:, np.newaxis] - b) ** 2).sum(axis=2))


def store(settings, task, space, *, backend="numpy", memory=PLENTY):
    key = neighbors_key(settings, space, task.train, task.val)
    path = neighbors_path(task.dataset, task.model, *space)
    search_cell(backend, memory, key, path, task.train, task.val)
    return read_neighbors(settings, task.dataset, task.model, space, task.train, task.val)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def task(here):
    train, labels = clouds(0)
    val, val_labels = clouds(1, n=41)
    return make_task(train, labels, val, val_labels)


@pytest.mark.parametrize("backend", ["numpy", "sklearn", "torch"])
def test_every_space_holds_what_a_slow_search_finds(task, backend):
    settings = make_study(EVERY, {"k": [5]}).neighbors
    assert len(spaces(settings)) == 8
    train, val = task.train.read(), task.val.read()
    for space in spaces(settings):
        found = store(settings, task, space, backend=backend)
        own = slow_distances(train, train, *space)
        np.fill_diagonal(own, np.inf)
        for split, exact in (("val", slow_distances(train, val, *space)), ("train", own)):
            order = np.argsort(exact, axis=1)[:, :7]
            np.testing.assert_array_equal(found[split].indices, order)
            np.testing.assert_allclose(
                found[split].distances, np.take_along_axis(exact, order, 1), rtol=1e-6, atol=1e-12
            )
            np.testing.assert_array_equal(found[split].samples, np.arange(len(exact)))
            assert found[split].backend == backend


@pytest.mark.parametrize("backend", ["numpy", "sklearn"])
def test_fewer_train_images_than_are_kept(here, backend):
    train, labels = clouds(2, n=5)
    task = make_task(train, labels, train[:1], labels[:1])
    settings = make_study({"n_neighbors": 200}, {"k": [1]}).neighbors
    found = store(settings, task, ("euclidean", "none"), backend=backend)
    assert found["val"].indices.shape == (1, 5)
    assert found["train"].indices.shape == (5, 4)
    assert np.isfinite(found["train"].distances).all()
    for row, others in enumerate(found["train"].indices):
        assert sorted(others) == sorted(set(range(5)) - {row})


@pytest.mark.parametrize("backend", ["numpy", "sklearn"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_zeros_are_exact_matches_and_nothing_else_is(here, backend, metric):
    train, labels = clouds(3, shift=300.0)
    train[40] = train[3]
    train[50], train[60] = 0, 0
    val = train[[3, 7, 50]].copy()
    task = make_task(train, labels, val, labels[[3, 7, 50]])
    settings = make_study({"n_neighbors": 6, "metric": [metric]}, {"k": [1]}).neighbors
    found = store(settings, task, (metric, "none"), backend=backend)["val"]
    zeros = [np.flatnonzero(row == 0).tolist() for row in found.distances]
    assert zeros == [[0, 1], [0], [0, 1] if metric == "euclidean" else []]
    assert found.indices[0, :2].tolist() == [3, 40]  # equal distances in order of train
    if metric == "cosine":  # a row of zeros is at distance 1 from everything
        np.testing.assert_array_equal(found.distances[2], 1)


def test_tiny_and_huge_distances_stay_positive_and_finite(here):
    train = np.array([[0.0], [1e-38], [3e38], [-3e38]], np.float32)
    task = make_task(train, np.array([0, 1, 0, 1]), train, np.array([0, 1, 0, 1]))
    settings = make_study({"n_neighbors": 4, "metric": ["euclidean"]}, {"k": [1]}).neighbors
    found = store(settings, task, ("euclidean", "none"))["val"]
    np.testing.assert_array_equal(found.indices[0, :2], [0, 1])
    assert found.distances[0, 0] == 0 < found.distances[0, 1] < 1e-37
    assert np.isfinite(found.distances).all()


def test_little_memory_finds_the_same_and_too_little_says_how_much(here):
    train, labels = clouds(4, n=900, d=40)
    val, val_labels = clouds(5, n=400, d=40)
    task = make_task(train, labels, val, val_labels)
    settings = make_study(EVERY, {"k": [1]}).neighbors
    space = ("euclidean", "zscore")
    with pytest.raises(ProbelineError, match=r"at least [0-9,]+ bytes") as refusal:
        store(settings, task, space, memory=1000)
    assert "euclidean_zscore.parquet" in refusal.value.place
    assert not neighbors_path("clouds", "made", *space).exists()
    needed = int(refusal.value.expected.split()[2].replace(",", ""))
    tight, ample = (store(settings, task, space, memory=m) for m in (2 * needed, PLENTY))
    for split in ("val", "train"):
        np.testing.assert_array_equal(tight[split].indices, ample[split].indices)
        np.testing.assert_allclose(tight[split].distances, ample[split].distances, rtol=1e-6)


def test_of_many_train_images_a_stratified_draw_is_searched_in_all(here, monkeypatch):
    train, labels = clouds(6, n=1300)  # several chunks
    task = make_task(train, labels, train[:3], labels[:3])
    settings = make_study({"n_neighbors": 9}, {"k": [1]}).neighbors
    every = store(settings, task, ("cosine", "none"))["train"]
    drawn = stratified(labels, 50)
    monkeypatch.setattr(neighbors, "stratified", lambda labels: stratified(labels, 50))
    some = store(settings, task, ("cosine", "none"))["train"]
    np.testing.assert_array_equal(some.samples, drawn)
    np.testing.assert_array_equal(some.indices, every.indices[drawn])
    np.testing.assert_allclose(some.distances, every.distances[drawn], rtol=1e-6)


def test_missing_stale_and_damaged_neighbours_are_refused(task):
    settings = make_study({"n_neighbors": 5}, {"k": [1]}).neighbors
    space = ("cosine", "none")
    there = (task.dataset, task.model, space, task.train, task.val)
    with pytest.raises(CellMissingError, match=r"stages\.neighbors"):
        read_neighbors(settings, *there)
    store(settings, task, space)
    more = make_study({"n_neighbors": 6}, {"k": [1]}).neighbors
    with pytest.raises(CellStaleError, match="keep"):
        read_neighbors(more, *there)
    path = neighbors_path("clouds", "made", *space)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CellCorruptError, match=r"cosine_none\.parquet"):
        read_neighbors(settings, *there)


def test_the_stage_searches_what_is_missing_alone(project):
    project.prepare()
    folder = project.folder / "data" / "neighbors" / "pets" / "tiny"
    for path in folder.glob("*"):
        path.unlink()
    project.run("knn").refused("neighbours are missing", "python -m stages.neighbors")
    assert not list((project.folder / "results").rglob("*.parquet"))
    project.run("neighbors").succeeded("0 cached, 1 computed")
    project.run("neighbors").succeeded("1 cached, 0 computed")
    before = project.files("data/neighbors")
    project.params["knn"] = {"k": [1, 2], "weighting": ["uniform"], "tuned": True}
    project.write()
    project.run("neighbors").succeeded("1 cached, 0 computed")  # votes ask for no new search
    project.run("knn").succeeded("0 cached, 1 computed")
    project.params["neighbors"]["metric"] = ["cosine"]
    project.write()
    project.run("knn").refused("cosine_none.parquet", "missing")
    project.run("neighbors").succeeded("0 cached, 1 computed")
    assert before.items() <= project.files("data/neighbors").items()  # the other space stays
    project.params["neighbors"]["n_neighbors"] = 4
    project.write()
    project.run("knn").refused("another question", "keep")
    project.run("neighbors").succeeded("0 cached, 1 computed")
    path = folder / "cosine_none.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    project.run("neighbors").succeeded("0 cached, 1 computed")
    assert left_overs(project.folder) == []


@pytest.mark.parametrize("backend", ["sklearn", "torch"])
def test_the_backend_is_chosen_by_name_and_recorded(project, monkeypatch, backend):
    project.prepare()
    project.params["neighbors"]["n_neighbors"] = 6
    project.write()
    monkeypatch.setenv("PROBELINE_BACKEND", "faiss")
    project.run("neighbors").refused("PROBELINE_BACKEND", "auto, numpy, torch, sklearn, cuml")
    monkeypatch.setenv("PROBELINE_BACKEND", backend)
    project.run("neighbors").succeeded("1 computed", f"searches: 1 by {backend} on the CPU")
    monkeypatch.delenv("PROBELINE_BACKEND")
    project.run("neighbors").succeeded("1 cached")  # the machine's choice makes nothing stale
    project.run("knn").succeeded("1 computed")
    from cache.records import read_record

    record = read_record(project.folder / "results" / "knn" / "pets" / "tiny.parquet")
    assert {row["backend"] for row in record.scores} == {backend}
    assert {row["details"]["device"] for row in record.scores} == {"cpu"}


@pytest.mark.parametrize("backend", ["numpy", "sklearn", "torch"])
@pytest.mark.parametrize(("split", "row"), [("train", 61), ("val", 3)])
def test_a_feature_that_is_not_finite_is_named(here, backend, split, row):
    task = make_task(*clouds(7), *clouds(8, n=20))
    cell = {"train": task.train, "val": task.val}[split]
    chunk = cell.address.path / chunk_name(0)  # a writer would refuse it, and so do readers
    stored = np.frombuffer(chunk.read_bytes(), np.float32).copy()
    stored[row * 12 + 5] = np.nan
    chunk.write_bytes(stored.tobytes())
    cell.manifest.digests[chunk_name(0)] = sha256_file(chunk)
    settings = make_study(EVERY, {"k": [1]}).neighbors
    for space in spaces(settings):
        with pytest.raises(NonFiniteError) as error:
            store(settings, task, space, backend=backend)
        where = f"row {row} ({row:05d}) of split {split}, model made, data set clouds"
        assert error.value.found == where
        assert "_".join(space) in error.value.place


@pytest.mark.gpu
def test_cuml_finds_the_same(task):
    pytest.importorskip("cuml")
    settings = make_study(EVERY, {"k": [5]}).neighbors
    for space in spaces(settings):
        ours, theirs = (store(settings, task, space, backend=b) for b in ("numpy", "cuml"))
        for split in ("val", "train"):
            np.testing.assert_array_equal(ours[split].indices, theirs[split].indices)
            np.testing.assert_allclose(
                ours[split].distances, theirs[split].distances, rtol=1e-6, atol=1e-12
            )
