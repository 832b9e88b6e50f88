import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import CellCorruptError
from cache.manifest import FORMAT, Manifest, root_group

keys = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
)


def make(key=None, **changes):
    facts = {
        "key": {"model": "tiny"} if key is None else key,
        "rows": 600,
        "columns": 3,
        "dtype": "float16",
        "chunk_rows": 256,
        "digests": {f"embedding/c/{chunk}/0": "a" * 64 for chunk in range(3)},
        "remarks": ("stored in float32: “why”",),
    }
    return Manifest(**{**facts, **changes})


def save(folder, manifest, members=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").write_bytes(manifest.to_bytes(members or {}))
    return folder / "zarr.json"


@given(keys)
def test_round_trip(lab, key):
    manifest = make(key)
    found = Manifest.read(save(lab.folder(), manifest))
    assert found == manifest
    assert found.fingerprint == manifest.fingerprint


def test_is_a_zarr_group_with_the_arrays_metadata(tmp_path):
    document = json.loads(make().to_bytes({"label": {"node_type": "array"}}))
    assert (document["zarr_format"], document["node_type"]) == (3, "group")
    assert document["consolidated_metadata"]["metadata"] == {"label": {"node_type": "array"}}


def test_equal_manifests_have_equal_bytes():
    one, other = make({"a": 1, "b": [2.5]}), make({"b": [2.5], "a": 1})
    assert one.to_bytes({"x": {}, "y": {}}) == other.to_bytes({"y": {}, "x": {}})


@pytest.mark.parametrize(("rows", "chunks"), [(1, 1), (256, 1), (257, 2), (600, 3)])
def test_number_of_chunks(rows, chunks):
    assert make(rows=rows).chunks == chunks


def test_every_flipped_bit_is_found(tmp_path):
    path = save(tmp_path, make(), {"label": {"shape": [3]}})
    data = path.read_bytes()
    for bit in range(0, 8 * len(data), 11):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CellCorruptError, match="description is damaged") as caught:
            Manifest.read(path)
        assert caught.value.place == str(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "{}", '{"attributes": {"probeline": {}}}', '"probeline"', "\xff"],
)
def test_another_file_in_its_place_is_refused(tmp_path, text):
    (tmp_path / "zarr.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CellCorruptError, match="delete the cell's folder"):
        Manifest.read(tmp_path / "zarr.json")


def test_cut_short_anywhere_is_refused(tmp_path):
    path = save(tmp_path, make())
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(CellCorruptError):
            Manifest.read(path)


@pytest.mark.parametrize("changes", [{}, {"digests": {}}, {"remarks": None}])
def test_another_format_is_refused_for_what_it_is(tmp_path, changes):
    """Also where its entries are no longer ours."""
    path = save(tmp_path, make(format=FORMAT + 1, **changes))
    with pytest.raises(CellCorruptError) as caught:
        Manifest.read(path)
    assert caught.value.found == f"format {FORMAT + 1}"


def test_an_absent_file_is_just_absent(tmp_path):
    with pytest.raises(FileNotFoundError):
        Manifest.read(tmp_path / "zarr.json")


def members(data):
    return set(json.loads(data)["consolidated_metadata"]["metadata"])


def test_the_root_repeats_all_splits_and_those_about_to_come(tmp_path):
    store = tmp_path / "store"
    save(store / "train", make(), {"label": {}})
    built = save(tmp_path / "partial" / "cell", make(), {"id": {}}).parent
    assert members(root_group(store)) == {"train", "train/label"}
    expected = {"train", "train/label", "val", "val/id"}
    assert members(root_group(store, {"val": built})) == expected
    assert members(root_group(store, {"train": built})) == {"train", "train/id"}


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"null"])
def test_a_damaged_split_does_not_keep_the_other_from_being_written(tmp_path, damage):
    store = tmp_path / "store"
    save(store / "train", make())
    save(store / "val", make()).write_bytes(damage)
    assert members(root_group(store)) == {"train"}
