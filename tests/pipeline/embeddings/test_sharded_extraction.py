"""Several processes extract one data set: nothing twice, whoever ends early, the same bytes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections import Counter

import pytest
from projects import RESNET, VIT, fill_folder

from cache.cell import is_current
from cache.lock import Lock
from cache.shared_writer import MUTEX, SharedCellWriter, mutex_of
from pipeline.datasets.index import read_index
from pipeline.embeddings import engine, loading, missing, sampling, writing
from pipeline.embeddings.jobs import Sharing
from pipeline.embeddings.missing import extract_models
from pipeline.machine import shards
from pipeline.machine.shards import Shard
from pipeline.project.paths import EMBEDDINGS, cell_address, record_path
from pipeline.study.params import load_study


class StoppedError(Exception):
    """A shard's end in the middle."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test leaves the study that all begin with."""
    return tmp_path_factory.mktemp("kept") / "pets"


@pytest.fixture
def pets(project, kept, monkeypatch):
    """96 images in chunks of eight, two models; and the cells that a lone run makes."""
    monkeypatch.setattr("cache.chunking.MIN_CHUNK_ROWS", 8)
    monkeypatch.setattr("cache.chunking.MAX_CHUNK_ROWS", 16)
    monkeypatch.setattr(engine, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sampling, "IMAGES", 16)
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "4")
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    if kept.exists():
        shutil.copytree(kept, project.folder, dirs_exist_ok=True)
    else:
        shutil.rmtree("images")
        fill_folder(project.folder / "images", {"cat": 48, "dog": 48})
        project.prepare()
        shutil.copytree(project.folder, kept)
    project.cells = project.files("data/embeddings")
    shutil.rmtree("data/embeddings")
    # Threads stand for processes here: seeds are one process's, so networks are made in turn.
    turn, load = threading.Lock(), missing.load_model

    def load_in_turn(*arguments):
        with turn:
            return load(*arguments)

    monkeypatch.setattr(missing, "load_model", load_in_turn)
    return project


@pytest.fixture
def written(monkeypatch):
    """Chunks that were written, by cell and number."""
    found, write = Counter(), SharedCellWriter.write

    def counted(self, chunk, *arguments, **named):
        write(self, chunk, *arguments, **named)
        found[str(self.address), chunk] += 1

    monkeypatch.setattr(SharedCellWriter, "write", counted)
    return found


def extract(number: int, of: int, done: list) -> None:
    study, index = load_study(), read_index("pets")
    sharing = Sharing(Shard(number, of), mutex_of(EMBEDDINGS / "pets"), patient=True)
    try:
        done.append(extract_models(study, index, list(study.models), sharing)[1])
    except StoppedError:
        done.append(None)


def run_together(of: int) -> list:
    done: list = []
    threads = [threading.Thread(target=extract, args=(n, of, done)) for n in range(1, of + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return done


def test_three_at_once_compute_no_chunk_twice(pets, written):
    done = run_together(3)
    assert pets.files("data/embeddings") == pets.cells
    assert set(written.values()) == {1}
    assert sum(done) == len(written) > 12
    assert pets.left_overs() == []
    pets.run("extract", "pets").succeeded("2 cached, 0 computed")


@pytest.mark.parametrize("images", [6, 40])
def test_what_one_leaves_that_ends_in_the_middle_the_others_take_over(
    pets, written, monkeypatch, images
):
    """Of 16 images that decide how rows are stored, or after them."""
    decode, left, stopped = loading.decode, [images], threading.Lock()

    def stopping(data, path, white=None):
        left[0] -= 1
        if left[0] < 0 and stopped.acquire(blocking=False):  # one of them
            raise StoppedError
        return decode(data, path, white)

    monkeypatch.setattr(loading, "decode", stopping)
    done = run_together(3)
    assert done.count(None) == 1
    assert pets.files("data/embeddings") == pets.cells
    assert set(written.values()) == {1}  # it had not written what it had claimed
    assert pets.left_overs() == []


def test_a_killed_shards_locks_are_free_and_one_shard_does_all(pets):
    """What kill -9 leaves: files of locks that nobody holds, a mutex, an empty journal."""
    address = cell_address("pets", "tiny", "train")
    for name in ("claims/0", "claims/3", "lock"):
        (address.partial / name).parent.mkdir(parents=True, exist_ok=True)
        (address.partial / name).write_text('{"host": "gone"}')
    (address.partial / "journal.0123456789ab.jsonl").write_text("")
    (EMBEDDINGS / "pets" / MUTEX).write_text("")
    said = pets.run("extract", "--shard", "2/8").succeeded("extract pets, shard 2/8: ")
    assert "2 computed" in said
    assert pets.files("data/embeddings") == pets.cells
    assert pets.left_overs() == []
    assert "PROBELINE_SHARD" not in os.environ


def test_a_lone_extraction_beside_shards_is_refused_and_the_other_way_round(pets, monkeypatch):
    index = read_index("pets")
    asked = {"key": {"other": 1}, "ids": index.split("train")["path"].tolist(),
             "labels": index.labels("train"), "columns": 3}  # fmt: skip
    address = cell_address("pets", "tiny", "train")
    with SharedCellWriter(address, mutex=mutex_of(EMBEDDINGS / "pets"), **asked):
        pets.run("extract", "pets").refused("is being written by another process")
        pets.run("extract", "--shard", "1/2").refused("for another study", "one params.yaml")
    monkeypatch.setattr(writing, "JOIN_SECONDS", 0)
    with Lock(address.partial / "lock", "here"):
        pets.run("extract", "--shard", "1/2").refused("is being written by another process")


def test_what_names_no_shard_is_refused_by_every_stage(project):
    commands = [("extract", "pets"), ("neighbors",), ("linear",)]
    for command, text in zip(commands, ["9/8", "0/8", "a/b"], strict=True):
        project.run(*command, "--shard", text).refused("names no shard", text)
    assert project.left_overs() == []


def test_a_file_system_without_locks_is_said_at_once(project, monkeypatch):
    project.run("index", "pets")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    project.run("extract", "--shard", "1/2").refused("file system without locks", "another disk")


def test_rows_that_are_held_are_copied_by_shards_too(pets, monkeypatch):
    pets.run("extract", "--shard", "1/1").succeeded()
    shutil.move("images/cat/000.png", "images/cat/another.png")
    fill_folder(pets.folder / "images", {"cat": 58, "dog": 48})
    pets.run("index", "pets").succeeded()
    pets.run("extract", "pets", "--shard", "1/2").succeeded("tiny: 97 of 107 rows were held")
    study, index = load_study(), read_index("pets")
    assert not list(pets.folder.glob("data/embeddings/*/*.partial"))
    assert is_current(cell_address("pets", "net", "val"), _key(study, index, "net", "val"))


def _key(study, index, model, split):
    from pipeline.embeddings.cells import cell_key, known_card

    card = known_card(study, index, model)
    return cell_key(study, index, split, study.models[model], card)


def test_probes_are_shared_out_by_cells(project, monkeypatch):
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.prepare()
    held = record_path("linear", "pets", "net")
    other = Lock(held.with_name(f".{held.name}.lock.partial"), "another shard")
    scored: list[list[str]] = []

    def sleep(seconds):
        scored.append(sorted(path.stem for path in held.parent.glob("*.parquet")))
        other.release()  # killed: nothing of it is there

    monkeypatch.setattr(shards.time, "sleep", sleep)
    project.run("linear", "--shard", "1/2").succeeded()
    assert scored == [["tiny"]]
    assert held.exists()
    before = project.files("results/linear")
    project.run("linear", "--shard", "2/2").succeeded("2 cached, 0 computed")
    project.run("linear").succeeded("2 cached, 0 computed")
    assert project.files("results/linear") == before
    assert project.left_overs() == []


def test_a_record_that_another_shard_makes_meanwhile_is_not_made_again(project, monkeypatch):
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.prepare()
    project.run("neighbors", "--shard", "1/1").succeeded("0 cached, 2 computed")
    project.run("knn").succeeded()
    made = record_path("knn", "pets", "net")
    data = made.read_bytes()
    made.unlink()
    other = Lock(made.with_name(f".{made.name}.lock.partial"), "another shard")

    def sleep(seconds):
        made.write_bytes(data)
        os.utime(made, (0, 0))
        other.release()

    monkeypatch.setattr(shards.time, "sleep", sleep)
    project.run("knn", "--shard", "1/2").succeeded()
    assert made.stat().st_mtime == 0
