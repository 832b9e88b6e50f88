import json

import numpy as np
import pytest

from cache.cell import Cell, chunk_name
from cache.errors import CellMissingError
from cache.repair import mend_root, reopen, restore_description
from cache.verify import verify


@pytest.fixture
def values(lab):
    return lab.values_of(1100, 24)


def flip(path, bit=4):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= bit
    path.write_bytes(data)


def mend(lab, address, values):
    """Resume the reopened cell; returns the chunks that were computed."""
    with lab.writer(address, values.shape) as writer:
        missing = writer.missing
        lab.fill(writer, values)
        assert writer.commit()
    return missing


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_only_the_damaged_chunk_is_computed_again_and_the_bytes_are_the_same(lab, values, damage):
    address = lab.cell(values)
    before = lab.files(address.store)
    chunk = address.path / chunk_name(2)
    {
        "flip": lambda: flip(chunk),
        "truncate": lambda: chunk.write_bytes(chunk.read_bytes()[:-3]),
        "delete": chunk.unlink,
    }[damage]()
    assert reopen(address) == 1
    with pytest.raises(CellMissingError):
        Cell.open(address)
    assert mend(lab, address, values) == [2]
    assert lab.files(address.store) == before
    assert not address.partial.exists()


@pytest.mark.parametrize("name", ["label/c/0", "id/c/0", "label/zarr.json", "embedding/zarr.json"])
def test_damaged_labels_and_descriptions_cost_no_computation(lab, values, name):
    address = lab.cell(values)
    before = lab.files(address.store)
    flip(address.path / name)
    assert reopen(address) == 0
    assert mend(lab, address, values) == []
    assert lab.files(address.store) == before


def test_a_damaged_description_is_restored_from_the_root(lab, values):
    address = lab.cell(values)
    before = lab.files(address.store)
    flip(address.path / "zarr.json")
    assert verify(address)
    restore_description(address)
    assert lab.files(address.store) == before


def test_a_description_is_not_restored_from_a_root_that_says_something_else(lab, values):
    address = lab.cell(values)
    root = json.loads((address.store / "zarr.json").read_bytes())
    root["consolidated_metadata"]["metadata"]["train"]["attributes"]["probeline"]["columns"] = 25
    (address.store / "zarr.json").write_text(json.dumps(root))
    flip(address.path / "zarr.json")
    damaged = lab.files(address.path)
    restore_description(address)
    assert lab.files(address.path) == damaged
    assert reopen(address) is None
    assert lab.files(address.path) == damaged


def test_a_damaged_root_is_written_anew(lab, values):
    address = lab.cell(values)
    before = lab.files(address.store)
    flip(address.store / "zarr.json")
    mend_root(address.store)
    assert lab.files(address.store) == before


def test_what_an_earlier_unfinished_run_left_does_not_stand_in_the_way(lab, values):
    address = lab.cell(values)
    before = lab.files(address.store)
    with lab.writer(address, values.shape, key={"another": "key"}) as writer:
        writer.write(0, np.zeros((writer.chunk_rows, 24), np.float32))
    flip(address.path / chunk_name(0))
    assert reopen(address) == 1
    assert mend(lab, address, values) == [0]
    assert lab.files(address.store) == before
