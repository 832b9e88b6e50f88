"""What stopped runs left is named; what is of no use is cleared, unless its owner lives."""

from __future__ import annotations

import fcntl
from pathlib import Path

import numpy as np
import pathspec
import pytest
from dvc_objects.fs.utils import tmp_fname
from made_cells import make_cell
from projects import REPOSITORY

from cache.files import whole_file
from cache.lock import Lock
from pipeline.planning.left_overs import clear_dead, describe, left_overs


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(name: str, data: bytes = b"half") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


DEAD = (
    "data/study/.models.json.partial", "data/index/.pets.parquet.partial",
    "data/embeddings/pets/.shards.lock.partial", "data/provenance/pets/.tiny.json.partial",
    "results/knn/pets/.tiny.parquet.partial", "report/.index.html.partial",
    "data/weights/.net.pth.lock.partial", "data/imported/pets/.given.lock.partial",
    ".weights.lock.json.lock",
)  # fmt: skip
GONE_ON_WITH = (
    "data/weights/.net.pth.partial", "data/weights/.net.pth.state.partial",
    "data/checkpoints/small.training.partial", "data/finetuning/0123.partial/state.partial",
    "data/embeddings/pets/tiny.train.partial/layout.json", "data/raw/.pets.tar.partial",
)  # fmt: skip


def test_what_a_killed_process_was_writing_is_cleared():
    for name in (*DEAD, *GONE_ON_WITH):
        put(name)
    said = describe(left_overs())
    assert "cache prune" in said
    assert {str(path) for path in clear_dead()} == set(DEAD)
    assert not any(Path(name).exists() for name in DEAD)
    assert all(Path(name).read_bytes() == b"half" for name in GONE_ON_WITH)


def test_what_a_live_process_writes_stays():
    with whole_file(Path("results/scores.csv")) as file:
        file.write(b"all of it")
        assert clear_dead() == []
    assert Path("results/scores.csv").read_bytes() == b"all of it"


def test_what_lies_beside_a_whole_cell_is_cleared():
    cell = make_cell("train", np.ones((4, 2), np.float32), np.zeros(4, int)).address
    put(str(cell.partial / "lock"))
    assert clear_dead() == [cell.partial]
    assert not cell.partial.exists()
    with Lock(cell.partial / "lock", "another process, which makes it anew"):
        assert clear_dead() == []
        assert cell.partial.is_dir()


def test_what_dvc_was_putting_in_place_is_named_and_cleared_when_none_is_at_work():
    inside = Path("data/embeddings/pets/tiny.zarr/train/embedding/c/0")
    left = [put(f"data/study/{tmp_fname()}"), put(str(inside / tmp_fname()))]
    users = [put("results/notes.tmp"), put("data/study/.short.tmp")]
    assert left_overs() == left[:1]  # to look into every cell would take long
    lock = put(".dvc/tmp/lock", b"")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert clear_dead() == []
    assert sorted(clear_dead()) == sorted(left)
    assert all(path.exists() for path in users)


def test_dvc_takes_none_of_these_for_results():
    lines = (REPOSITORY / ".dvcignore").read_text().splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    for folder in ("data/study", "data/embeddings/pets/tiny.zarr/train/embedding/c/0"):
        assert ignored.match_file(f"{folder}/{tmp_fname()}")
    assert all(ignored.match_file(name) for name in DEAD if name.startswith("data"))
    assert not ignored.match_file("data/embeddings/pets/tiny.zarr/train/embedding/c/0/0")
    assert not ignored.match_file("results/notes.tmp")
