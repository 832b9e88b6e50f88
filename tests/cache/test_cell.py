import os
from hashlib import sha256

import numpy as np
import pytest
import xarray as xr
import zarr

from cache import cell as cell_module
from cache.cell import Cell, CellAddress, chunk_name, is_current
from cache.errors import CellCorruptError, CellMissingError, CellStaleError
from cache.fingerprint import fingerprint
from cache.verify import altered


@pytest.fixture(scope="module")
def values(lab):
    return lab.values_of(600, 5)


@pytest.fixture
def address(lab, values):
    return lab.cell(values)


def test_paths(tmp_path):
    address = CellAddress(tmp_path / "vit.b16.zarr", "train")
    assert address.path == tmp_path / "vit.b16.zarr" / "train"
    assert address.partial == tmp_path / "vit.b16.train.partial"
    assert str(address) == str(address.path)


def test_two_models_or_splits_never_share_a_path(tmp_path):
    addresses = [
        CellAddress(tmp_path / f"{model}.zarr", split)
        for model in ("vit", "vit.b", "vit.b.16")
        for split in ("train", "val")
    ]
    assert len({a.path for a in addresses} | {a.partial for a in addresses}) == 12


def test_reads_what_was_written(address, values):
    cell = Cell.open(address)
    assert (cell.manifest.rows, cell.manifest.columns, cell.manifest.chunks) == (600, 5, 3)
    assert cell.dtype == np.dtype("<f2")
    np.testing.assert_array_equal(cell.read(), values.astype(np.float16))
    assert cell.labels().tolist() == [row % 10 for row in range(600)]
    assert cell.ids()[599] == "image/00599.png"
    assert len(cell.ids()) == 600


def test_many_readers_read_the_same(address, values, monkeypatch):
    monkeypatch.setattr("cache.cell._READER_BYTES", 1)
    np.testing.assert_array_equal(Cell.open(address).read(), values.astype(np.float16))


def test_chunk_by_chunk(address, values):
    parts = list(Cell.open(address).chunks())
    assert [(rows.start, rows.stop) for rows, _ in parts] == [(0, 256), (256, 512), (512, 600)]
    np.testing.assert_array_equal(np.concatenate([p for _, p in parts]), values.astype(np.float16))


def test_strange_ids_and_equal_labels(lab):
    address = lab.address()
    ids = ["", "a b", "größe/日本.png", "x" * 300, "'\"\\", "\n"]
    from cache.writer import CellWriter

    labels = np.zeros(6, np.int32)
    with CellWriter(address, key={}, ids=ids, labels=labels, columns=2) as writer:
        lab.fill(writer, lab.values_of(6, 2))
        writer.commit()
    cell = Cell.open(address)
    assert cell.ids() == ids
    assert cell.labels().tolist() == [0] * 6


def test_anyone_can_open_it_with_xarray(lab, values):
    train = lab.cell(values)
    lab.cell(values[:300], CellAddress(train.store, "val"))
    for split, rows in (("train", 600), ("val", 300)):
        data = xr.open_zarr(train.store, group=split)  # warnings are errors
        assert data.embedding.dims == ("sample", "feature")
        assert data.embedding.chunks is not None, "not lazy"
        assert data.embedding.dtype == np.float16
        np.testing.assert_array_equal(data.embedding, values[:rows].astype(np.float16))
        assert data.label.dims == data.id.dims == ("sample",)
        assert int(data.label[13]) == 3
        assert data.id.values[13] == "image/00013.png"
        assert data.attrs["probeline"]["rows"] == rows


def test_anyone_can_open_it_with_zarr(address, values):
    group = zarr.open_group(address.store, mode="r")
    assert list(group.group_keys()) == ["train"]
    array = group["train/embedding"]
    assert array.compressors == ()
    assert array.shards is None
    np.testing.assert_array_equal(array[:], values.astype(np.float16))
    assert sorted(zarr.open_group(address.path, mode="r").array_keys()) == [
        "embedding",
        "id",
        "label",
    ]


def test_the_last_chunk_is_padded_with_nan(address):
    chunk = np.fromfile(address.path / chunk_name(2), "<f2").reshape(256, 5)
    assert np.isfinite(chunk[:88]).all()
    assert np.isnan(chunk[88:]).all()


def test_an_absent_chunk_never_reads_as_zeros(address):
    (address.path / chunk_name(1)).unlink()
    array = zarr.open_group(address.store, mode="r")["train/embedding"]
    assert np.isnan(array[256:512]).all()
    with pytest.raises(CellCorruptError, match="absent or cut short") as caught:
        Cell.open(address).read()
    assert caught.value.place == str(address.path / chunk_name(1))


@pytest.mark.parametrize("size", [0, 1, 2559, 2561])
def test_a_chunk_of_another_size_is_refused(address, size):
    data = (address.path / chunk_name(0)).read_bytes()
    assert len(data) == 2560
    (address.path / chunk_name(0)).write_bytes((data * 2)[:size])
    with pytest.raises(CellCorruptError, match=f"{size} bytes"):
        list(Cell.open(address).chunks())


@pytest.mark.parametrize(("chunk", "byte"), [(0, 0), (1, 1000), (2, 3), (2, 2559)])
def test_one_flipped_bit_of_a_chunk_is_refused_by_readers(address, chunk, byte):
    """The last byte of the last chunk is padding: no row's, and still not what was written."""
    path = address.path / chunk_name(chunk)
    data = bytearray(path.read_bytes())
    data[byte] ^= 16
    path.unlink()
    path.write_bytes(data)
    for read in (Cell.read, lambda cell: list(cell.chunks())):
        with pytest.raises(CellCorruptError, match="other bytes than were written") as caught:
            read(Cell.open(address))
        assert caught.value.place == str(path)
    assert [str(fault.path) for fault in altered(address)] in ([], [str(path)])
    os.utime(path, ns=(0, (address.path / "zarr.json").stat().st_mtime_ns + 1))
    assert [str(fault.path) for fault in altered(address)] == [str(path)]


def test_chunks_are_hashed_once_and_again_when_they_change(address, monkeypatch):
    monkeypatch.setattr(cell_module, "_intact", set())
    hashed = []
    monkeypatch.setattr(
        cell_module.hashlib, "sha256", lambda data: hashed.append(len(data)) or sha256(data)
    )
    cell = Cell.open(address)
    hashed.clear()  # the description's own
    first = cell.read()
    assert len(hashed) == 3
    np.testing.assert_array_equal(cell.read(), first)
    np.testing.assert_array_equal(np.concatenate([part for _, part in cell.chunks()]), first)
    assert len(hashed) == 3
    path = address.path / chunk_name(0)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    cell.read()
    assert len(hashed) == 4
    assert altered(address) == []


@pytest.mark.parametrize("name", ["label", "id"])
@pytest.mark.parametrize("damage", ["absent", "flipped", "metadata"])
def test_damaged_labels_and_ids_are_refused(address, name, damage):
    path = address.path / name / ("zarr.json" if damage == "metadata" else "c/0")
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.unlink()
    if damage != "absent":
        path.write_bytes(data)
    cell = Cell.open(address)
    with pytest.raises(CellCorruptError, match=f"{name}s are damaged") as caught:
        cell.labels() if name == "label" else cell.ids()
    assert caught.value.place == str(path)


def test_another_key_is_stale(lab, address):
    assert is_current(address, lab.key)
    assert not is_current(address, {**lab.key, "model": "other"})
    Cell.open(address, fingerprint(lab.key))
    with pytest.raises(CellStaleError, match="made for other inputs"):
        Cell.open(address, fingerprint({**lab.key, "model": "other"}))


def test_readers_refuse_a_partial_cell(lab, values):
    address = lab.address()
    with pytest.raises(CellMissingError, match="there is no such cell"):
        Cell.open(address)
    writer = lab.writer(address, values.shape)
    lab.fill(writer, values)
    with pytest.raises(CellMissingError, match="not whole") as caught:
        Cell.open(address)
    assert str(address.partial) in caught.value.found
    assert not is_current(address, lab.key)
    assert not address.store.exists()
    writer.close()


def test_a_file_in_the_cells_place_is_no_cell(tmp_path):
    (tmp_path / "m.zarr").write_text("")
    with pytest.raises(CellMissingError):
        Cell.open(CellAddress(tmp_path / "m.zarr", "train"))


def test_a_damaged_description_is_refused_and_not_current(lab, address):
    (address.path / "zarr.json").write_text("{}")
    with pytest.raises(CellCorruptError):
        Cell.open(address)
    assert not is_current(address, lab.key)
