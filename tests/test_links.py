"""Links in somebody else's project: nothing is written, replaced or removed where they lead."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from cache.cell import Cell, CellAddress
from cache.errors import ProbelineError
from cache.files import write_durably
from cache.journal import Journal
from cache.lock import Lock
from cache.writer import CellWriter
from pipeline.project.own_folders import refuse_links_out

PLACES = [
    "data/imported",
    "data/imported/pets",
    "data/imported/pets/tiny",
    "data/embeddings",
    "data/embeddings/pets",
    "data/embeddings/pets/tiny.zarr",
    "data/embeddings/pets/tiny.train.partial",
    "data/index",
    "data/neighbors",
    "data/neighbors/pets",
    "data/neighbors/pets/tiny",
    "data/provenance",
    "data/provenance/pets",
    "data/checkpoints",
    "data/weights",
    "data/weights/torchhub",
    "data/cards",
    "data/finetuning",
    "data/raw",
    "results/knn",
    "results/knn/pets",
    "results/finetune/pets/tiny",
    "results/statistics",
    "results/plots",
    "scores/more",
    "report/more",
]


def outside(project) -> dict[str, bytes]:
    folder = project.folder.parent / "holiday"
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def holiday(project):
    folder = project.folder.parent / "holiday"
    for inner in ("pets/tiny", "tiny", "tiny.zarr/val", "train", "."):
        (folder / inner).mkdir(parents=True, exist_ok=True)
        (folder / inner / "photo.jpg").write_bytes(b"irreplaceable")
    (project.folder / "emb").mkdir()
    for split in ("train", "val"):
        np.save(project.folder / "emb" / f"{split}.npy", np.eye(4, dtype=np.float32))
        (project.folder / "emb" / f"{split}.csv").write_text("class\na\na\nb\nb\n")
    return folder


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("relative", [False, True])
def test_a_link_out_of_the_projects_folders_is_named_first(project, holiday, place, relative):
    link = project.folder / place
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(holiday, link.parent) if relative else holiday)
    before = outside(project)
    root = place.split("/")[0]
    for command in (
        ("index", "pets"),
        ("cli", "cache", "import", "emb", "--dataset=pets", "--model=tiny"),
        ("cli", "cache", "prune", "--yes"),
        ("cli", "status"),
        ("knn",),
    ):
        project.run(*command).refused(place, f"leads out of {root}/", "delete the link")
    assert outside(project) == before
    assert link.is_symlink()


def test_the_folder_itself_may_lie_elsewhere(project, tmp_path):
    (tmp_path / "large disk").mkdir()
    (project.folder / "data").symlink_to(tmp_path / "large disk")
    project.prepare()
    assert (tmp_path / "large disk" / "embeddings" / "pets" / "tiny.zarr").is_dir()


def test_links_within_and_links_to_files_are_fine(project):
    """DVC's `cache.type symlink` leaves links to files of a cache that may lie anywhere."""
    project.prepare()
    kept = project.folder.parent / "dvc-cache"
    kept.mkdir()
    index = project.folder / "data" / "index" / "pets.parquet"
    index.rename(kept / "ab")
    index.symlink_to(kept / "ab")
    (project.folder / "data" / "again").symlink_to("embeddings")
    refuse_links_out()
    project.run("index", "pets").succeeded()
    assert not index.is_symlink()  # replaced, not written through
    assert (kept / "ab").exists()


@pytest.mark.parametrize("writer", ["whole file", "journal", "lock"])
def test_nothing_is_written_through_a_link(tmp_path, writer):
    precious, link = tmp_path / "bashrc", tmp_path / "mine"
    precious.write_text("precious")
    link.symlink_to(precious)
    if writer == "whole file":
        temporary = tmp_path / ".mine.partial"
        temporary.symlink_to(precious)
        write_durably(link, b"new")
        assert not temporary.exists()
        assert not link.is_symlink()  # replaced, as by every rename
        assert link.read_bytes() == b"new"
    else:
        make = Journal if writer == "journal" else lambda path: Lock(path, "cell")
        with pytest.raises(ProbelineError, match="is a link"):
            make(link)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("place", ["cell", "cell/embedding", "cell/embedding/c/0", "layout.json"])
def test_an_unfinished_cell_that_holds_links_is_begun_anew(tmp_path, place):
    """A stranger's clone may bring one that fits the study, but for where it leads."""
    address = CellAddress(tmp_path / "cache" / "tiny.zarr", "val")

    def writer() -> CellWriter:
        rows = {"ids": list("abcd"), "labels": np.zeros(4, np.int64), "columns": 2}
        return CellWriter(address, key={"format": 1}, **rows)

    first = writer()
    first.write(0, np.ones((4, 2), np.float32))
    first.close()
    elsewhere = tmp_path / "holiday"
    elsewhere.mkdir()
    (elsewhere / "photo.jpg").write_bytes(b"irreplaceable")
    link = address.partial / place
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir():
        shutil.rmtree(link)
    else:
        link.unlink(missing_ok=True)
    link.symlink_to(elsewhere / "photo.jpg" if "json" in place else elsewhere)
    with writer() as second:
        assert second.missing == [0]
        second.write(0, np.ones((4, 2), np.float32))
        assert second.commit()
    assert Cell.open(address).read().tolist() == np.ones((4, 2)).tolist()
    assert [p.name for p in elsewhere.iterdir()] == ["photo.jpg"]
    assert (elsewhere / "photo.jpg").read_bytes() == b"irreplaceable"
