import random

import numpy as np
import pytest

from cache.cell import Cell, CellAddress, chunk_name
from cache.verify import verify


@pytest.fixture(scope="module")
def pristine(lab):
    """Two whole splits in one store; `store` below mends them after each test."""
    train = lab.cell(lab.values_of(600, 5))
    lab.cell(lab.values_of(280, 5, seed=1), CellAddress(train.store, "val"))
    return train.store, lab.files(train.store)


@pytest.fixture
def store(pristine):
    store, files = pristine
    yield store
    for path in list(store.rglob("*")):
        if path.is_symlink() or (path.is_file() and str(path.relative_to(store)) not in files):
            path.unlink()
    for name, data in files.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(data)


def both(store, deep=True):
    return {split: verify(CellAddress(store, split), deep=deep) for split in ("train", "val")}


def test_a_whole_cell_has_no_fault(store):
    assert both(store) == both(store, deep=False) == {"train": [], "val": []}


def check_flips(store, files, number):
    generator = random.Random(number)
    names = sorted(files)
    for turn in range(number):
        name = names[turn % len(names)]
        bit = generator.randrange(8 * len(files[name]))
        damaged = bytearray(files[name])
        damaged[bit // 8] ^= 1 << bit % 8
        (store / name).write_bytes(damaged)
        faults = both(store)
        concerned = {"train", "val"} if name == "zarr.json" else {name.split("/")[0]}
        for split in faults:
            expected = [store / name] if split in concerned else []
            assert [fault.path for fault in faults[split]] == expected, (name, bit, faults)
        (store / name).write_bytes(files[name])


def test_every_flipped_bit_is_found_and_named(store, pristine):
    check_flips(store, pristine[1], 200)


@pytest.mark.slow
def test_every_one_of_many_flipped_bits_is_found_and_named(store, pristine):
    check_flips(store, pristine[1], 1000)


def test_every_missing_file_is_found_and_named(store, pristine):
    for name, data in pristine[1].items():
        (store / name).unlink()
        found = {fault.path for faults in both(store, deep=False).values() for fault in faults}
        assert store / name in found
        assert found <= {store / name, store / "zarr.json"}
        (store / name).write_bytes(data)


@pytest.mark.parametrize("name", ["embedding/c/9/0", "embedding/c/0/.0.123.partial", "notes.txt"])
def test_a_surplus_file_is_found_and_named(store, name):
    path = store / "train" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("?")
    (fault,) = verify(CellAddress(store, "train"))
    assert str(fault) == f"{path}: does not belong to the cell"


@pytest.mark.parametrize("size", [0, 1, 2559, 2570])
def test_a_chunk_of_another_size_is_found_without_reading_it(store, size):
    path = store / "train" / chunk_name(1)
    path.write_bytes((path.read_bytes() * 2)[:size])
    (fault,) = verify(CellAddress(store, "train"))
    assert str(fault) == f"{path}: has {size} bytes instead of 2560"


def test_a_link_to_nothing_is_named(store):
    """What a link-type DVC cache leaves when somebody empties it."""
    path = store / "train" / chunk_name(1)
    path.unlink()
    path.symlink_to(store / "gone")
    (fault,) = verify(CellAddress(store, "train"), deep=True)
    assert str(fault) == f"{path}: is a link to a file that is absent"


def test_links_to_the_right_files_are_fine(store, tmp_path):
    path = store / "train" / chunk_name(1)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert verify(CellAddress(store, "train"), deep=True) == []


def test_several_faults_are_all_named(store):
    (store / "train" / chunk_name(0)).unlink()
    (store / "train" / chunk_name(1)).write_bytes(b"short")
    (store / "train" / "id" / "c" / "0").write_bytes(b"other")
    (store / "zarr.json").write_text("{}")
    faults = verify(CellAddress(store, "train"), deep=True)
    assert [str(fault.path.relative_to(store)) for fault in faults] == [
        "zarr.json",
        f"train/{chunk_name(0)}",
        f"train/{chunk_name(1)}",
        "train/id/c/0",
    ]


def test_an_absent_cell_is_one_fault(tmp_path):
    (fault,) = verify(CellAddress(tmp_path / "m.zarr", "train"))
    assert fault.problem == "there is no such cell"


def test_rows_of_zeros_are_found_where_the_digests_are_right(lab):
    values = lab.values_of(600, 5)
    values[[300, 301, 599]] = 0
    address = lab.cell(values)
    assert verify(address) == []
    assert [str(fault) for fault in verify(address, deep=True)] == [
        f"{address.path / chunk_name(1)}: 2 rows hold only zeros; the first is row 300",
        f"{address.path / chunk_name(2)}: 1 rows hold only zeros; the first is row 599",
    ]


def test_the_other_splits_damage_is_not_blamed_on_this_one_and_writing_it_again_mends_all(lab):
    train = lab.cell(lab.values_of(300, 5))
    val = lab.cell(lab.values_of(280, 5), CellAddress(train.store, "val"))
    (val.path / "zarr.json").write_text("{}")
    assert verify(train, deep=True) == []
    (fault,) = verify(val, deep=True)
    assert fault.path == val.path / "zarr.json"
    lab.cell(lab.values_of(300, 5, seed=2), train, key={"model": "new"})
    np.testing.assert_array_equal(
        Cell.open(train).read(), lab.values_of(300, 5, seed=2).astype(np.float16)
    )
    lab.cell(lab.values_of(280, 5), val)
    assert both(train.store) == {"train": [], "val": []}
