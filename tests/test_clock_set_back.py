"""A clock that goes backwards, and copies that keep their times: what is decided by times errs
towards reading once more, never towards believing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from projects import draw
from safetensors.torch import save

from cache.cell import Cell
from cache.errors import CellCorruptError
from pipeline.models.cards import checkpoint_digest
from pipeline.models.settings import Model
from pipeline.project.paths import cell_address


def put_back(path: Path, times: tuple[int, int]) -> None:
    """As `cp -p`, `rsync -t` and a clock that was set back leave it."""
    os.utime(path, ns=times)


def times_of(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_atime_ns, facts.st_mtime_ns


def test_a_checkpoint_of_the_same_size_and_time_is_another(project):
    import torch

    path = Path("net.safetensors")
    entry = Model.model_validate({"architecture": "test_resnet", "weights": str(path)})
    path.write_bytes(save({"a": torch.zeros(9)}))
    times = times_of(path)
    first = checkpoint_digest("net", entry)
    path.write_bytes(save({"a": torch.ones(9)}))
    put_back(path, times)
    assert checkpoint_digest("net", entry) != first  # written in place
    path.write_bytes(save({"a": torch.zeros(9)}))
    shutil.copy(path, "other")
    put_back(Path("other"), times)
    Path("other").replace(path)
    assert checkpoint_digest("net", entry) == first  # renamed into its place


@pytest.fixture
def extracted(project):
    project.prepare()
    return project


def test_a_chunk_damaged_long_before_its_description_is_named_by_whoever_reads_it(extracted):
    address = cell_address("pets", "tiny", "train")
    chunk = address.path / "embedding/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[7] ^= 4
    chunk.write_bytes(data)
    put_back(chunk, (0, 0))
    with pytest.raises(CellCorruptError):
        Cell.open(address).read()
    extracted.run("neighbors").refused("other bytes than were written")
    extracted.run("cli", "cache", "verify", "--repair").succeeded("1 cells mended")


def test_an_image_of_the_same_size_and_time_is_named_where_it_is_read(project):
    path = Path("images/cat/000.bmp")
    draw(1).save(path)
    project.write()
    project.run("index", "pets").succeeded()
    times, size = times_of(path), path.stat().st_size
    draw(2).save(path)
    put_back(path, times)
    assert path.stat().st_size == size
    project.run("extract", "pets").refused("cat/000.bmp")


def test_all_of_a_study_made_tomorrow_is_whole_today(extracted):
    tomorrow = 2 * 10**18
    for path in Path("data").rglob("*"):
        put_back(path, (tomorrow, tomorrow))
    extracted.run("extract", "pets").succeeded("1 cached, 0 computed")
    extracted.run("cli", "status").succeeded("1 of 1 cell")
