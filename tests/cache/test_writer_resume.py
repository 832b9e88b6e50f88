"""What a writer takes over from former ones, and what it must not."""

import random

import numpy as np
import pytest

from cache.cell import Cell, CellAddress, chunk_name, is_current
from cache.errors import CellMissingError
from cache.fingerprint import fingerprint
from cache.verify import verify

SHAPE = (1000, 3)


@pytest.fixture(scope="module")
def values(lab):
    return lab.values_of(*SHAPE)


@pytest.fixture(scope="module")
def whole(lab, values):
    return lab.files(lab.cell(values).store)


@pytest.fixture
def begun(lab, values):
    """A cell with chunks 0, 1 and 2 of 4 committed."""
    address = lab.address()
    with lab.writer(address, SHAPE) as writer:
        for chunk in range(3):
            writer.write(chunk, values[writer.rows_of(chunk)], seconds=2.0)
    return address


def finish(lab, address, values, missing):
    with lab.writer(address, SHAPE) as writer:
        assert writer.missing == missing
        lab.fill(writer, values)
        assert writer.commit()
        seconds = writer.seconds
    assert not address.partial.exists()
    return seconds


def test_goes_on_at_the_first_missing_chunk(lab, begun, values, whole):
    assert finish(lab, begun, values, missing=[3]) == 7.0
    assert lab.files(begun.store) == whole


def test_a_partial_cell_of_another_key_is_discarded(lab, begun):
    new = lab.values_of(*SHAPE, seed=9)
    with lab.writer(begun, SHAPE, key={"model": "other"}) as writer:
        assert writer.missing == [0, 1, 2, 3]
        lab.fill(writer, new)
        writer.commit()
    np.testing.assert_array_equal(Cell.open(begun).read(), new.astype(np.float16))


def test_a_partial_cell_of_another_width_is_discarded(lab, begun):
    with lab.writer(begun, (1000, 4)) as writer:
        assert writer.missing == [0, 1, 2, 3]


def test_back_to_the_first_key_nothing_of_it_is_believed(lab, begun, values, whole):
    with lab.writer(begun, SHAPE, key={"model": "other"}) as writer:
        writer.write(0, lab.values_of(256, 3, seed=9))
    finish(lab, begun, values, missing=[0, 1, 2, 3])
    assert lab.files(begun.store) == whole


@pytest.mark.parametrize("damage", ["absent", "cut", "flipped"])
def test_a_committed_chunk_that_is_not_whole_is_computed_again(lab, begun, values, whole, damage):
    """As a power loss leaves it: the journal's line is there, the chunk's bytes are not."""
    path = begun.partial / "cell" / chunk_name(1)
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage != "absent":
        data[50] ^= 1
        path.write_bytes(data[:100] if damage == "cut" else data)
    finish(lab, begun, values, missing=[1, 3])
    assert lab.files(begun.store) == whole


@pytest.mark.parametrize("seed", range(8))
def test_any_file_cut_short_anywhere_is_repaired(lab, begun, values, whole, seed):
    generator = random.Random(seed)
    for path in sorted(begun.partial.rglob("*")):
        if path.is_file() and generator.random() < 0.5:
            data = path.read_bytes()
            path.write_bytes(data[: generator.randrange(len(data))])
    with lab.writer(begun, SHAPE) as writer:
        lab.fill(writer, values)
        assert writer.commit()
    assert lab.files(begun.store) == whole
    assert not begun.partial.exists()


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"dtype": "int8", "remarks": []}'])
def test_a_damaged_layout_begins_anew(lab, begun, values, whole, text):
    (begun.partial / "layout.json").write_text(text)
    finish(lab, begun, values, missing=[0, 1, 2, 3])
    assert lab.files(begun.store) == whole


@pytest.mark.parametrize("name", ["layout.json", "journal.jsonl", f"cell/{chunk_name(2)}"])
def test_flipped_bits_in_what_is_being_built_never_reach_the_cell(lab, begun, values, whole, name):
    path = begun.partial / name
    data = bytearray(path.read_bytes())
    generator = random.Random(0)
    for _ in range(6):
        bit = generator.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with lab.writer(begun, SHAPE) as writer:
            lab.fill(writer, values)
            assert writer.commit()
        assert lab.files(begun.store) == whole, bit
        # Begin again, for the next bit.
        (begun.path / "zarr.json").unlink()
        with lab.writer(begun, SHAPE) as writer:
            for chunk in range(3):
                writer.write(chunk, values[writer.rows_of(chunk)], seconds=2.0)


def test_temporary_files_of_killed_processes_do_not_get_into_the_cell(lab, begun, values, whole):
    """`write_durably` and Zarr both write beside the final name first."""
    cell = begun.partial / "cell"
    (cell / "embedding" / "zarr.abc.partial").write_text("{")
    (cell / "embedding/c/3").mkdir()
    (cell / "embedding/c/3/.0.4711.partial").write_bytes(b"half")
    (cell / ".zarr.json.4711.partial").write_text("{")
    (cell / "id").mkdir()
    (cell / "id" / "zarr.json").write_text("{}")
    (begun.partial / ".layout.json.4711.partial").write_text("{")
    begun.store.mkdir()
    (begun.store / ".zarr.json.4711.partial").write_text("{")
    finish(lab, begun, values, missing=[3])
    assert lab.files(begun.store) == whole
    assert verify(begun, deep=True) == []


def test_a_stale_cell_stays_readable_until_the_new_one_is_whole(lab, values, whole):
    old = lab.values_of(700, 2, seed=5)
    address = lab.cell(old, key={"model": "old"})
    val = lab.cell(old, CellAddress(address.store, "val"))
    with lab.writer(address, SHAPE) as writer:
        lab.fill(writer, values)
        np.testing.assert_array_equal(Cell.open(address).read(), old.astype(np.float16))
        writer.commit()
    np.testing.assert_array_equal(Cell.open(address).read(), values.astype(np.float16))
    assert verify(address, deep=True) == verify(val, deep=True) == []
    assert {k: v for k, v in lab.files(address.store).items() if k.startswith("train")} == {
        k: v for k, v in whole.items() if k.startswith("train")
    }


def test_a_cell_that_another_process_finished_is_not_written_again(lab, values):
    values = values + np.float32(1e6)  # with a remark
    address = lab.cell(values)
    before = lab.files(address.store)
    (address.partial / "stale").mkdir(parents=True)  # the other process was killed while tidying
    (address.partial / "journal.jsonl").write_text("")
    with lab.writer(address, SHAPE) as writer:
        assert writer.finished
        assert writer.missing == []
        assert writer.remarks == Cell.open(address).manifest.remarks != ()
        assert writer.seconds == 0.0
        with pytest.raises(ValueError, match="no chunk 0 to write"):
            writer.write(0, values[:256])
        assert writer.commit()
    assert lab.files(address.store) == before
    assert not address.partial.exists()


def test_killed_between_the_two_renames_the_next_run_finishes(lab, values, whole, monkeypatch):
    address = lab.cell(lab.values_of(300, 3), key={"model": "old"})
    import os

    real = os.replace

    def replace(source, target):
        if str(source).endswith("cell"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with lab.writer(address, SHAPE) as writer:
        lab.fill(writer, values)
        with pytest.raises(KeyboardInterrupt):
            writer.commit()
    monkeypatch.undo()
    with pytest.raises(CellMissingError, match="not whole"):
        Cell.open(address, fingerprint(lab.key))
    finish(lab, address, values, missing=[])
    assert lab.files(address.store) == whole
    assert is_current(address, lab.key)
