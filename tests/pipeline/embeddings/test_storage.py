"""How a model's rows are stored: decided before the first chunk, taken over, begun anew, said.

The network's features are replaced by picked pixels, which are whole numbers: so every expected
value is known, and an image that is all white can be given a value beyond float16.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from projects import fill_folder

from cache.cell import Cell
from cache.files import sha256_bytes
from cache.manifest import Manifest, root_group
from cache.shared_writer import mutex_of
from cache.storage import Storage
from cache.verify import verify
from pipeline.datasets.index import read_index
from pipeline.embeddings import forward, missing, sampling, storage
from pipeline.embeddings.jobs import Sharing
from pipeline.embeddings.missing import extract_models
from pipeline.embeddings.provenance import read_provenance, recorded_storage
from pipeline.embeddings.sampling import sampled_rows
from pipeline.machine.shards import Shard
from pipeline.project.paths import EMBEDDINGS, cell_address
from pipeline.study.params import load_study

HUGE = 100_000.0
IMAGES = 60


class Network:
    """What stands for the network: picked pixels; and how many images it was given."""

    def __init__(self, real) -> None:
        self._real, self.images, self.narrow = real, 0, False

    def __call__(self, backbone, batch, mean, std, precision, kinds):
        self.images += len(batch)
        features = self._real(backbone, batch, mean, std, precision, kinds)
        for values in features.values():
            pixels = batch.flatten(1).float()
            picked = pixels[:, :: pixels.shape[1] // values.shape[1]][:, : values.shape[1]]
            values.copy_(picked)
            values[pixels.mean(dim=1) > 245, 0] = HUGE
            if self.narrow:
                values[:, 1] = 2000 + values[:, 1] / 256
        return features


@pytest.fixture
def network(monkeypatch):
    found = Network(forward.features_of_pixels)
    monkeypatch.setattr(forward, "features_of_pixels", found)
    return found


@pytest.fixture
def pets(project, monkeypatch, network):
    """Sixty images in chunks of eight, of which sixteen decide."""
    monkeypatch.setattr("cache.chunking.MIN_CHUNK_ROWS", 8)
    monkeypatch.setattr(sampling, "IMAGES", 16)
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "4")
    shutil.rmtree("images")
    fill_folder(project.folder / "images", {"cat": 30, "dog": 30})
    project.write()
    project.run("index", "pets").succeeded()
    return project


def of(dataset="pets", split="train") -> Manifest:
    return Cell.open(cell_address(dataset, "tiny", split)).manifest


def stored(dataset="pets") -> dict[str, tuple[str, int]]:
    """Type and generation of each cell, which is whole."""
    index = read_index(dataset)
    addresses = {split: cell_address(dataset, "tiny", split) for split in index.split_names}
    assert all(verify(address, deep=True) == [] for address in addresses.values())
    return {s: (of(dataset, s).dtype, of(dataset, s).generation) for s in addresses}


BOTH = ("train", "val")


def whites() -> list[bytes]:
    """Pictures that are white to the eye, the smallest digest first."""
    pictures = []
    for blue in range(236, 256):
        buffer = io.BytesIO()
        Image.new("RGB", (20, 16), (255, 255, blue)).save(buffer, "png")
        pictures.append(buffer.getvalue())
    return sorted(pictures, key=sha256_bytes)


def whiten(project, *, sampled: bool) -> None:
    """The last image, of train, becomes white; it is, or is not, among the images that decide."""
    path = project.folder / "images/dog/029.png"
    for white in whites() if sampled else reversed(whites()):
        path.write_bytes(white)
        project.run("index", "pets").succeeded()
        index = read_index("pets")
        train = index.digests("train")
        rows = sampled_rows(index, BOTH)["train"]
        drawn = sha256_bytes(white) in [train[row] for row in rows]
        if sha256_bytes(white) in train and drawn == sampled:
            return
    raise AssertionError("no such image")


def another(project, name: str, counts: dict[str, int], *, copied: int = 0, seed=5000) -> None:
    """A second data set, with some images of the first."""
    fill_folder(project.folder / name, counts, seed=seed)
    for path in sorted((project.folder / "images/cat").glob("*.png"))[:copied]:
        shutil.copy(path, project.folder / name / "cat" / f"9{path.name}")
    project.params["datasets"][name] = {"source": "folder", "path": name, "role": "in_domain"}
    project.write()
    project.run("index", name).succeeded()


def test_what_fits_stays_in_float16_and_no_image_is_computed_twice(pets, network):
    said = pets.run("extract", "pets").succeeded()
    assert network.images == IMAGES
    assert stored() == dict.fromkeys(BOTH, ("float16", 1))
    assert of().decided.startswith("on 16 images drawn over all classes (")
    assert of().remarks == ()
    assert "float32" not in said
    assert recorded_storage("pets", "tiny", "val") == Storage("float16", 1)
    assert "generation 1" in pets.run("cli", "cache", "show", "pets", "tiny").succeeded()
    assert pets.left_overs() == []


def test_what_overflows_at_once_is_float32_from_the_start(pets, network):
    whiten(pets, sampled=True)
    network.images = 0
    said = pets.run("extract", "pets").succeeded()
    assert network.images == IMAGES
    assert stored() == dict.fromkeys(BOTH, ("float32", 1))
    why = "tiny, train and val: stored in float32: a value exceeds float16's range of 65,504, on 16"
    assert why in said
    assert Cell.open(cell_address("pets", "tiny", "train")).read().max() == HUGE


def test_a_column_that_drowns_is_seen_before_the_first_chunk(pets, network):
    network.narrow = True
    said = pets.run("extract", "pets").succeeded("float16's step drowns the spread of 1 of ")
    assert network.images == IMAGES
    assert stored() == dict.fromkeys(BOTH, ("float32", 1))
    assert "generation" not in said


def test_of_a_small_data_set_all_images_decide(pets, network, monkeypatch):
    monkeypatch.setattr(sampling, "IMAGES", 1024)
    whiten(pets, sampled=True)
    network.images = 0
    pets.run("extract", "pets").succeeded()
    assert network.images == IMAGES
    assert stored() == dict.fromkeys(BOTH, ("float32", 1))
    assert of().decided.startswith("on 60 images")


def test_a_later_overflow_begins_a_generation_beside_the_float16_chunks(pets, network, monkeypatch):
    whiten(pets, sampled=False)
    network.images = 0
    partial, seen = cell_address("pets", "tiny", "train").partial, {}
    from cache.writer import CellWriter

    turn, commit = CellWriter._turn_to, CellWriter.commit

    def turning(self, layout):
        seen["then"] = pets.files(f"{partial}/cell")
        turn(self, layout)

    def committing(self):
        if self.address.partial == partial and seen:
            seen["now"] = pets.files(f"{partial}/cell")
        return commit(self)

    monkeypatch.setattr(CellWriter, "_turn_to", turning)
    monkeypatch.setattr(CellWriter, "commit", committing)
    said = pets.run("extract", "pets").succeeded("generation 2 of the model's rows begins here")
    assert "tiny, train: stored in float32" in said
    assert seen["now"] == seen["then"] != {}
    assert stored() == {"train": ("float32", 2), "val": ("float16", 1)}
    rows = len(read_index("pets").split("train"))
    assert IMAGES < network.images <= IMAGES + rows - 16 // 2
    assert pets.left_overs() == []
    assert "float32, generation 2" in pets.run("cli", "cache", "list").succeeded()
    assert "float32" in pets.run("cli", "status").succeeded()


def test_later_data_sets_take_the_generation_over_and_copies_keep_their_type(pets, network):
    pets.run("extract", "pets").succeeded()
    another(pets, "more", {"cat": 6, "dog": 6})
    (pets.folder / "more/dog/000.png").write_bytes(whites()[0])
    pets.run("index", "more").succeeded()
    pets.run("extract", "more").succeeded("generation 2 of the model's rows begins here")
    assert set(stored("more").values()) == {("float32", 2)}
    before = pets.files("data/embeddings/pets")

    network.images = 0  # nothing is copied: no image has to decide
    another(pets, "third", {"cat": 5, "dog": 5}, seed=9000)
    said = pets.run("extract", "third").succeeded("stored in float32: as the rows of more/tiny/")
    assert set(stored("third").values()) == {("float32", 2)}
    assert network.images == 10
    assert "begins" not in said

    network.images = 0  # what is copied from float16 stays float16
    another(pets, "fourth", {"cat": 2, "dog": 3}, copied=25, seed=7000)
    pets.run("extract", "fourth").succeeded()
    assert set(stored("fourth").values()) == {("float16", 1)}
    assert network.images == 5

    network.images = 0
    (pets.folder / "images/cat/003.png").rename(pets.folder / "images/dog/903.png")
    pets.run("index", "pets").succeeded()
    pets.run("extract", "pets").succeeded(" rows were held already, copied")
    assert network.images == 0
    assert stored() == dict.fromkeys(BOTH, ("float16", 1))
    assert pets.files("data/embeddings/pets") != before

    # A copy of float32 rows, and a new value that needs it
    network.images = 0
    (pets.folder / "more/dog/001.png").rename(pets.folder / "more/cat/901.png")
    (pets.folder / "more/dog/002.png").write_bytes(whites()[0])
    pets.run("index", "more").succeeded()
    pets.run("extract", "more").succeeded()
    assert network.images == 0  # that very image was known
    assert set(stored("more").values()) == {("float32", 2)}


def test_cells_that_are_made_again_in_another_type_are_scored_again(pets, network):
    pets.run("extract", "pets").succeeded()
    pets.knn().succeeded("1 computed")
    former = of().numbers
    another(pets, "more", {"cat": 6, "dog": 6})
    (pets.folder / "more/dog/000.png").write_bytes(whites()[0])
    pets.run("index", "more").succeeded()
    pets.run("extract", "more").succeeded()
    shutil.rmtree("data/embeddings/pets")
    pets.run("extract", "pets").succeeded("as the rows of more/tiny/")
    assert set(stored().values()) == {("float32", 2)}
    assert of().numbers != former
    del pets.params["datasets"]["more"]
    pets.write()
    pets.knn().succeeded("0 cached, 1 computed")
    assert "knn not scored" not in pets.run("cli", "status").succeeded()


def as_before_there_were_generations(dataset: str) -> None:
    """Cells, and what is recorded of them, as an older version wrote them."""
    for split in read_index(dataset).split_names:
        address = cell_address(dataset, "tiny", split)
        path = address.path / "zarr.json"
        document = json.loads(path.read_bytes())
        facts = document["attributes"]["probeline"]
        members = document["consolidated_metadata"]["metadata"]
        for name in ("generation", "decided", "self"):
            del facts[name]
        manifest = Manifest(**{**facts, "format": 2, "remarks": tuple(facts["remarks"])})
        path.write_bytes(manifest.to_bytes(members))
        assert b"generation" not in path.read_bytes()
        (address.store / "zarr.json").write_bytes(root_group(address.store))


@pytest.mark.parametrize("white", [False, True])
def test_cells_of_an_older_version_stay_and_are_taken_over(pets, network, white):
    if white:
        whiten(pets, sampled=True)
    pets.run("extract", "pets").succeeded()
    dtype = "float32" if white else "float16"
    as_before_there_were_generations("pets")
    pets.knn().succeeded("1 computed")
    before = pets.files("data/embeddings", "results")
    network.images = 0
    pets.run("extract", "pets").succeeded("1 cached, 0 computed")
    pets.knn().succeeded("1 cached, 0 computed")
    assert pets.files("data/embeddings", "results") == before
    another(pets, "more", {"cat": 2, "dog": 3}, copied=20)
    pets.run("extract", "more").succeeded()
    assert set(stored("more").values()) == {(dtype, 1)}
    assert network.images == 5
    (pets.folder / "images/cat/003.png").rename(pets.folder / "images/dog/903.png")
    pets.run("index", "pets").succeeded()
    pets.run("extract", "pets").succeeded()
    assert network.images == 5
    assert {kind for kind, _ in stored().values()} == {dtype}


def test_shards_agree_though_only_one_has_looked(pets, network, monkeypatch):
    whiten(pets, sampled=True)
    turn, load = threading.Lock(), missing.load_model

    def load_in_turn(*arguments):
        with turn:
            return load(*arguments)

    monkeypatch.setattr(missing, "load_model", load_in_turn)
    monkeypatch.setattr("pipeline.embeddings.engine.LOOK_SECONDS", 0.02)
    looked, run = [], sampling._run
    monkeypatch.setattr(sampling, "_run", lambda *a: looked.append(a[1]) or run(*a))
    network.images = 0
    index = read_index("pets")

    def extract(number):
        sharing = Sharing(Shard(number, 3), mutex_of(EMBEDDINGS / "pets"), patient=True)
        extract_models(load_study(), index, ["tiny"], sharing)

    threads = [threading.Thread(target=extract, args=(n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(looked) == sorted(sampled_rows(index, BOTH))  # each split once
    assert network.images == IMAGES
    assert set(stored().values()) == {("float32", 1)}
    shared = pets.files("data/embeddings")
    shutil.rmtree("data/embeddings")
    pets.run("extract", "pets").succeeded()
    assert pets.files("data/embeddings") == shared


def at_once(project, first: str, second: str) -> None:
    """Two processes extract a data set each: both look at images before the first one decides."""
    compute, children = sampling._compute, []
    for name in (first, second):
        child = os.fork()
        if child:
            children.append(child)
            continue

        def computed(*arguments, name=name):
            found = compute(*arguments)
            Path(f"{name} looked").touch()
            wait_for(f"{second} looked" if name == first else f"{first} is through")
            return found

        try:
            sampling._compute = computed
            project.run("extract", name).succeeded()
            Path(f"{name} is through").touch()
            os._exit(0)
        finally:
            os._exit(1)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    for path in Path().glob("* looked"):
        path.unlink()
    for path in Path().glob("* is through"):
        path.unlink()


def wait_for(name: str) -> None:
    until = time.monotonic() + 300
    while not Path(name).exists():
        assert time.monotonic() < until, name
        time.sleep(0.02)


@pytest.mark.parametrize("order", [("pets", "more"), ("more", "pets")])
def test_two_data_sets_at_once_are_as_one_after_the_other(pets, network, order):
    """Values of one need float32. Formerly the other began float16 under the same generation."""
    whiten(pets, sampled=True)
    another(pets, "more", {"cat": 6, "dog": 6})
    for name in order:
        pets.run("extract", name).succeeded()
    expected = pets.files("data/embeddings")
    if order[0] == "pets":
        assert set(stored("more").values()) == {("float32", 1)}
    else:
        assert [set(stored(name).values()) for name in order] == [
            {("float16", 1)},
            {("float32", 2)},
        ]
    shutil.rmtree("data/embeddings")
    at_once(pets, *order)
    assert pets.files("data/embeddings") == expected
    assert pets.left_overs() == []


def test_looked_at_again_only_what_is_new_is_read(pets, network, monkeypatch):
    """What deciding reads under its lock: of thousands of cells, those of other processes."""
    another(pets, "more", {"cat": 6, "dog": 6})
    pets.run("extract", "pets").succeeded()
    read, said_by = [], storage._said_by
    monkeypatch.setattr(
        storage, "_said_by", lambda path: read.append(path.parts[2]) or said_by(path)
    )
    storages = storage.Storages()
    known = storages.look()
    assert read == ["pets", "pets"]
    assert storages.look() == known
    assert read == ["pets", "pets"]
    pets.run("extract", "more").succeeded()
    read.clear()
    assert storages.look().keys() == known.keys()
    assert read == ["more", "more"]
    assert storage.known_storages() == storages.look()


def test_a_shard_that_does_not_wait_leaves_the_decision_to_who_is_at_it(pets, network):
    from cache.lock import Lock
    from cache.shared_writer import DECIDING

    index, mutex = read_index("pets"), mutex_of(EMBEDDINGS / "pets")
    with Lock(EMBEDDINGS / "pets" / DECIDING, "another shard"):
        sharing = Sharing(Shard(1, 2), mutex, patient=False)
        assert extract_models(load_study(), index, ["tiny"], sharing)[1] == 0
    assert network.images == 0
    assert pets.left_overs() == []


def in_a_fork(run, step: int) -> bool:
    """Run, killed before the n-th change of a file by which something is decided; False if it was.

    Such are the rows that decide, the layouts, and what follows each.
    """
    child = os.fork()
    if not child:
        left, follows = [step], [False]

        def hook(event: str, arguments: tuple) -> None:
            if event not in ("os.rename", "os.remove", "os.mkdir"):
                return
            name = os.fspath(arguments[1 if event == "os.rename" else 0])
            decides = str(name).endswith(("layout.json", "ahead.npz", "plan.npz"))
            if decides or follows[0]:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
            follows[0] = decides

        try:
            sys.addaudithook(hook)
            run()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_step_of_deciding_it_is_the_old_state_or_the_new(pets, network, stride):
    """An image that does not decide overflows, so that all steps are there: decide, begin, turn."""
    whiten(pets, sampled=False)
    pets.run("extract", "pets").succeeded("generation 2")
    expected = pets.files("data/embeddings")
    step, lives = 1, 0
    while not lives:
        shutil.rmtree("data/embeddings")
        lives = in_a_fork(lambda: pets.run("extract", "pets").succeeded(), step)
        if not lives:
            pets.run("extract", "pets").succeeded()
        assert pets.files("data/embeddings") == expected, step
        assert pets.left_overs() == [], step
        step += stride
    assert step > 9, "too few steps: the hook misses some"


def test_the_images_that_decide_are_of_every_class_and_know_no_order(pets):
    index = read_index("pets")
    rows = sampled_rows(index, BOTH)
    assert sum(map(len, rows.values())) == 16
    labels = np.concatenate([index.labels(split)[rows[split]] for split in rows])
    assert np.bincount(labels).tolist() == [8, 8]
    images = {index.digests(split)[row] for split in rows for row in rows[split]}
    (pets.folder / "images/cat").rename(pets.folder / "images/zebra")
    pets.run("index", "pets").succeeded()
    new = read_index("pets")
    found = sampled_rows(new, BOTH)
    assert {new.digests(split)[row] for split in found for row in found[split]} == images


class Images:
    """As much of an index as a draw looks at."""

    def __init__(self, splits: dict[str, list[tuple[int, int]]]) -> None:
        self._splits = splits

    def digests(self, split: str) -> list[str]:
        return [f"{digest:064x}" for _, digest in self._splits[split]]

    def labels(self, split: str) -> np.ndarray:
        return np.array([label for label, _ in self._splits[split]], np.int64)


images = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**6)), min_size=1, max_size=40)


@given(train=images, val=images, most=st.integers(1, 50))
def test_a_draw_takes_the_smallest_digests_of_each_class_in_turns(train, val, most):
    splits = {"train": train, "val": val}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "IMAGES", most)
        found = sampled_rows(Images(splits), ("train", "val"))
    drawn = [(s, row) for s, rows in found.items() for row in rows]
    assert len(drawn) == min(most, len(train) + len(val))
    assert all(rows.tolist() == sorted({*rows}) for rows in found.values())
    every = [(label, digest) for rows in splits.values() for label, digest in rows]
    taken = [splits[s][row] for s, row in drawn]
    for label in {label for label, _ in every}:
        of_class = sorted(digest for own, digest in every if own == label)
        got = sorted(digest for own, digest in taken if own == label)
        assert got == of_class[: len(got)]
        if len(got) < len(of_class):  # nobody has got two more than it
            most_of_others = max(sum(own == other for own, _ in taken) for other, _ in every)
            assert most_of_others <= len(got) + 1


def test_damaged_rows_of_the_images_that_decide_are_computed_again(pets, network):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.embeddings.engine._together", stop)
        assert pets.run("extract", "pets").status == 130
    assert network.images == 16
    path = cell_address("pets", "tiny", "train").partial / "ahead.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    pets.run("extract", "pets").succeeded()
    again = len(sampled_rows(read_index("pets"), BOTH)["train"])
    assert network.images == IMAGES + again
    assert read_provenance("pets", "tiny")["splits"]["train"]["storage"]["generation"] == 1
