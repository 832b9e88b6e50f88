"""Extraction: the same rows however the machine is set, resumed runs, and everything that fails."""

from __future__ import annotations

import errno
import io
import itertools
import logging
import os
import shutil

import numpy as np
import pytest
import torch
from projects import RESNET, VIT, draw, fill_folder
from safetensors.torch import save_file

from cache.cell import Cell
from cache.lock import Lock
from cache.seals import read_sealed
from pipeline.datasets.index import read_index
from pipeline.project.paths import cell_address, provenance_path


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of eight rows and batches of four, so that small data sets have several."""
    monkeypatch.setattr("cache.chunking.MIN_CHUNK_ROWS", 8)
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "4")


def rows(model: str = "tiny", split: str = "train") -> np.ndarray:
    return Cell.open(cell_address("pets", model, split)).read().astype(np.float64)


def compare(found: np.ndarray, expected: np.ndarray) -> None:
    """Rows equal up to 1e-3 of their norm."""
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-3


def test_batch_size_workers_and_company_do_not_change_rows(project, monkeypatch):
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.prepare()
    expected = {m: rows(m) for m in ("tiny", "net")}
    for size, workers in (("1", "0"), ("4", "2")):
        monkeypatch.setenv("PROBELINE_BATCH_SIZE", size)
        monkeypatch.setenv("PROBELINE_WORKERS", workers)
        shutil.rmtree("data/embeddings")
        project.run("extract", "pets").succeeded("0 cached, 2 computed")
        for model, before in expected.items():
            compare(rows(model), before)
    shutil.rmtree("data/embeddings")
    del project.params["models"]["net"]  # alone, it sees the same images
    project.write()
    project.run("extract", "pets").succeeded("0 cached, 1 computed")
    compare(rows(), expected["tiny"])


def test_rows_are_the_models_features_of_the_images_in_order(project, small_chunks):
    fill_folder(project.folder / "images", {"cat": 9, "dog": 8})  # the last batch is a partial one
    project.prepare()
    index = read_index("pets")
    import timm

    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=0, img_size=32).eval()
    data = timm.data.resolve_model_data_config(network) | {"input_size": (3, 32, 32)}
    see = timm.data.create_transform(**data, is_training=False)
    for split in ("train", "val"):
        cell = Cell.open(cell_address("pets", "tiny", split))
        assert cell.ids() == index.split(split)["path"].tolist()
        assert cell.labels().tolist() == index.labels(split).tolist()
        paths = [project.folder / "images" / p for p in cell.ids()]
        with torch.inference_mode():
            from PIL import Image

            images = torch.stack([see(Image.open(p).convert("RGB")) for p in paths])
            expected = network.forward_head(network.forward_features(images), pre_logits=True)
        assert cell.read().shape == expected.shape
        compare(cell.read().astype(np.float64), expected.numpy())


def test_extraction_leaves_networks_and_random_states_as_they_were(project, monkeypatch):
    from pipeline.embeddings import missing as extraction
    from pipeline.models.networks import digest_weights

    loaded = []
    load = extraction.load_model
    monkeypatch.setattr(extraction, "load_model", lambda *a: loaded.append(load(*a)) or loaded[-1])
    project.params["models"] = {"net": RESNET}
    state = torch.get_rng_state().tolist()
    project.prepare()
    (model,) = loaded
    assert digest_weights(model.backbone.cpu()) == model.weights_digest
    assert any("running_mean" in name for name in model.backbone.state_dict())
    assert not model.backbone.training
    assert torch.get_rng_state().tolist() == state


def test_a_second_run_and_a_renamed_order_compute_nothing(project):
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.prepare()
    before = project.files("data/embeddings", "data/provenance")
    project.params["models"] = {"net": RESNET, "tiny": {**VIT, "method": "words only"}}
    project.write()
    project.run("extract", "pets").succeeded("2 cached, 0 computed")
    assert project.files("data/embeddings", "data/provenance") == before
    assert provenance_path("pets", "tiny").is_file()


def test_a_stale_cell_is_named_and_computed_again(project):
    project.prepare()
    before = rows()
    project.params["models"]["tiny"]["weights"] = "random(1)"
    project.write()
    project.run("knn").refused("model tiny on data set pets", "dvc repro")
    project.run("extract", "pets").succeeded("0 cached, 1 computed")
    assert np.abs(rows() - before).max() > 1e-3


def test_a_cell_of_another_precision_is_stale_and_says_why(project):
    project.prepare()
    project.params["extraction"]["precision"] = "bfloat16"
    project.write()
    project.run("knn").refused(
        "model tiny on data set pets", 'precision: "float32" -> "bfloat16"', "dvc repro"
    )
    project.run("extract", "pets").succeeded("tiny is stale, made again: ", "0 cached, 1 comp")
    project.knn().succeeded("1 computed")


def test_a_bad_image_met_at_extraction_is_named_and_what_was_done_stays(
    project, small_chunks, monkeypatch
):
    from pipeline.embeddings import loading

    shutil.rmtree("images")
    fill_folder(project.folder / "images", {"cat": 40, "dog": 40})
    project.run("index", "pets").succeeded()
    train = read_index("pets").split("train")["path"].tolist()
    bad = train[3 * len(train) // 4]
    file = project.folder / "images" / bad
    file.write_bytes(file.read_bytes()[:60])  # indexing has read them all: this came later
    project.run("extract", "pets").refused(bad, "index the data set again")
    (partial,) = (project.folder / "data" / "embeddings" / "pets").glob("*.partial")
    with np.load(io.BytesIO(read_sealed(partial / "ahead.npz"))) as kept:
        done = kept["rows"].tolist()
    assert len(done) > 8
    assert not (partial / "lock").exists()
    project.run("knn").refused("embeddings are missing")

    decoded = []
    original = loading.decode
    monkeypatch.setattr(
        loading, "decode", lambda d, p, white=None: decoded.append(p) or original(d, p, white)
    )
    project.run("extract", "pets").refused(bad)  # again, and nothing is decoded twice
    assert not set(decoded) & {train[row] for row in done}

    file.unlink()
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").succeeded("1 computed")
    assert project.left_overs() == []


def test_a_full_disk_is_explained_and_the_next_run_goes_on(project, small_chunks, monkeypatch):
    fill_folder(project.folder / "images", {"cat": 20, "dog": 20})
    project.prepare()
    expected = project.files("data/embeddings")
    real = os.fsync
    for limit in (3, 9, 20):
        shutil.rmtree("data/embeddings")
        calls = itertools.count()

        def fsync(handle: int, calls=calls, limit=limit) -> None:
            if next(calls) > limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            project.run("extract", "pets").refused("disk is full", "free some space")
        project.run("extract", "pets").succeeded("1 computed")
        assert project.files("data/embeddings") == expected
        assert project.left_overs() == []


def test_a_cell_that_another_process_writes_is_refused_with_its_number(project):
    project.run("index", "pets")
    address = cell_address("pets", "tiny", "train")
    with Lock(address.partial / "lock", "here"):
        project.run("extract", "pets").refused(f"process {os.getpid()}", "wait until it ends")
    project.run("extract", "pets").succeeded("1 computed")
    assert project.left_overs() == []


def test_with_time_to_wait_a_cell_that_another_process_writes_is_waited_for(project, monkeypatch):
    project.run("index", "pets")
    address = cell_address("pets", "tiny", "train")
    held = Lock(address.partial / "lock", "here")
    said = []

    class Release(logging.Handler):
        """The owner ends at the moment when somebody says that it is waited for."""

        def emit(self, record):
            said.append(record.getMessage())
            held.release()

    handler = Release()
    logging.getLogger("cache.lock").addHandler(handler)
    monkeypatch.setenv("PROBELINE_WAIT_SECONDS", "60")
    try:
        project.run("extract", "pets").succeeded("1 computed")
    finally:
        logging.getLogger("cache.lock").removeHandler(handler)
        held.release()
    (line,) = said
    assert line.startswith(f"{address}: waiting up to 60 s for process {os.getpid()} on ")
    assert project.left_overs() == []


def test_weights_that_are_not_finite_are_named(project):
    import timm

    state = timm.create_model("test_vit", num_classes=0, img_size=32).state_dict()
    state["norm.weight"][0] = float("nan")
    save_file(state, "bad.safetensors")
    project.params["models"]["broken"] = {**VIT, "weights": "bad.safetensors"}
    project.write()
    project.run("index", "pets")
    project.run("extract", "pets").refused("models.broken.weights", "not finite")
    del project.params["models"]["broken"]
    project.write()
    project.run("extract", "pets").succeeded("computed")


@pytest.mark.parametrize("stage", ["knn", "linear"])
def test_a_value_written_into_a_cell_is_refused_by_the_probes(project, stage):
    project.prepare()
    chunk = cell_address("pets", "tiny", "val").path / "embedding" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    nan = np.full(1, np.nan, Cell.open(cell_address("pets", "tiny", "val")).dtype).tobytes()
    data[: len(nan)] = nan
    chunk.write_bytes(data)
    probe = "neighbors" if stage == "knn" else stage  # what reads the features
    project.run(probe).refused("other bytes than were written", "verify --repair")
    assert not list(project.folder.glob("results/**/*.parquet"))
    assert project.left_overs() == []


def test_an_image_that_vanished_after_indexing_is_named(project):
    project.run("index", "pets").succeeded()
    (project.folder / "images" / "dog" / "001.png").unlink()
    project.run("extract", "pets").refused("dog/001.png", "index the data set again")


def test_an_image_replaced_after_indexing_is_not_stored_under_the_old_key(project):
    bmp = project.folder / "images" / "cat" / "new.bmp"  # another picture, the same size
    draw(1).save(bmp)
    project.run("index", "pets").succeeded()
    draw(2).save(bmp)
    project.run("extract", "pets").refused("cat/new.bmp", "index the data set again")
