"""Named arrays in one file: whatever is wrong with it is one error."""

import contextlib
import io
import zipfile

import numpy as np
import pytest

from cache.bundles import read_arrays, write_arrays
from cache.errors import CellCorruptError
from cache.seals import with_seal


def packed(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_what_is_written_is_read(tmp_path):
    write_arrays(tmp_path / "a.npz", rows=np.arange(3), names=["a", "bä"], one=0.5)
    found = read_arrays(tmp_path / "a.npz")
    assert found["rows"].tolist() == [0, 1, 2]
    assert found["names"].tolist() == ["a", "bä"]
    assert float(found["one"]) == 0.5


def test_an_older_file_without_a_digest_is_read(tmp_path):
    (tmp_path / "a.npz").write_bytes(packed(rows=np.arange(3)))
    assert read_arrays(tmp_path / "a.npz")["rows"].tolist() == [0, 1, 2]


def at(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + bytes([value]) + data[place + 1 :]


def of_zip(change: str) -> bytes:
    """One byte of the archive's list of members, by what it then says of itself."""
    data = packed(rows=np.arange(3))
    entry = data.rindex(b"PK\1\2")
    match change:
        case "encrypted":  # RuntimeError
            return at(data, entry + 8, 1)
        case "packed by an unknown way":  # NotImplementedError
            return at(data, entry + 10, 99)
        case "of a later version":  # NotImplementedError
            return at(data, entry + 6, 255)
        case "far larger than it is":
            return at(data, entry + 27, 127)
    raise AssertionError(change)


@pytest.mark.parametrize(
    "change",
    ["encrypted", "packed by an unknown way", "of a later version", "far larger than it is"],
)
def test_a_stranger_s_archive_is_one_error(tmp_path, change):
    (tmp_path / "a.npz").write_bytes(with_seal(of_zip(change)))
    with pytest.raises(CellCorruptError, match="is damaged"):
        read_arrays(tmp_path / "a.npz")


def test_what_is_packed_tighter_than_it_says_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.npy", bytes(10**6))
    (tmp_path / "a.npz").write_bytes(with_seal(buffer.getvalue()))
    with pytest.raises(CellCorruptError, match="larger than it is"):
        read_arrays(tmp_path / "a.npz")


def test_every_flipped_bit_is_named_or_harmless(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, rows=np.arange(3))
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(at(data, place, data[place] ^ 4))
        with contextlib.suppress(CellCorruptError):
            assert read_arrays(path)["rows"].tolist() == [0, 1, 2], place
