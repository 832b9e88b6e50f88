import errno
import os

import pyarrow as pa
import pytest

from cache.errors import CellCorruptError, DiskFullError
from cache.records import is_current_record, read_record, write_record

KEY = {"protocol": "knn", "k": [1, 5], "cell": "f" * 64}
SCORES = [{"variant": "k=5", "metric": "top-1", "value": 0.1 + 0.2}]
OUTCOMES = pa.table({"variant": ["k=1"] * 40 + ["k=5"] * 40, "correct": [True, False] * 40})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "knn" / "digits" / "resnet.parquet"
    write_record(path, key=KEY, scores=SCORES, outcomes=OUTCOMES)
    return path


def test_round_trip(path):
    record = read_record(path)
    assert (record.path, record.key, record.scores) == (path, KEY, SCORES)
    assert record.outcomes().equals(OUTCOMES)
    assert [p.name for p in path.parent.iterdir()] == ["resnet.parquet"]


def test_equal_records_are_equal_bytes(path, tmp_path):
    write_record(tmp_path / "again", key=KEY, scores=SCORES, outcomes=OUTCOMES)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_absent(tmp_path):
    assert read_record(tmp_path / "none.parquet") is None
    assert not is_current_record(tmp_path / "none.parquet", KEY)


def test_current_is_only_the_same_key(path):
    assert is_current_record(path, dict(reversed(KEY.items())))
    for other in ({**KEY, "k": [1, 6]}, {**KEY, "more": None}, {"protocol": "knn"}, {}):
        assert not is_current_record(path, other)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"rubbish" * 99, b"PAR1" + bytes(90) + b"PAR1"])
def test_another_file_in_its_place_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(CellCorruptError, match="delete the file") as caught:
        read_record(path)
    assert caught.value.place == str(path)
    assert not is_current_record(path, KEY)


def test_a_parquet_file_of_somebody_else_is_refused(path):
    import pyarrow.parquet as pq

    for table in (OUTCOMES, OUTCOMES.replace_schema_metadata({"probeline.key": "{}"})):
        pq.write_table(table, path)
        with pytest.raises(CellCorruptError, match="not a result record"):
            read_record(path)


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "r.parquet").mkdir()
    with pytest.raises((CellCorruptError, IsADirectoryError), match="directory"):
        read_record(tmp_path / "r.parquet")


def flips(data, step):
    for bit in range(0, 8 * len(data), step):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def check_flips(path, step):
    """No flipped bit changes the key, a score or an outcome, nor is it a bare PyArrow error."""
    found = 0
    for damaged in flips(path.read_bytes(), step):
        path.write_bytes(damaged)
        try:
            record = read_record(path)
            assert (record.key, record.scores) == (KEY, SCORES)
            outcomes = record.outcomes()
        except CellCorruptError:
            found += 1
        else:
            assert outcomes.equals(OUTCOMES)
    assert found


def test_flipped_bits_never_change_a_number(path):
    check_flips(path, step=37)


@pytest.mark.slow
def test_many_more_flipped_bits_never_change_a_number(path):
    check_flips(path, step=3)


def test_cut_short_anywhere_is_refused(path):
    data = path.read_bytes()
    for length in range(0, len(data), 31):
        path.write_bytes(data[:length])
        with pytest.raises(CellCorruptError):
            read_record(path)


def test_a_failed_write_leaves_the_former_record(path, monkeypatch, full_disk):
    full_disk(after=1)
    with pytest.raises(DiskFullError):
        write_record(path, key={}, scores=[], outcomes=OUTCOMES)
    full_disk.free()
    assert is_current_record(path, KEY)
    assert [p.name for p in path.parent.iterdir()] == ["resnet.parquet"]


def test_the_disks_own_errors_are_not_called_damage(path, monkeypatch):
    import pyarrow.parquet as pq

    def broken(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pq, "read_schema", broken)
    with pytest.raises(OSError, match="Input/output"):
        read_record(path)


def test_records_from_before_checksums_are_read(path):
    import json

    import pyarrow.parquet as pq

    old = {"probeline.key": json.dumps(KEY), "probeline.scores": json.dumps(SCORES)}
    pq.write_table(OUTCOMES.replace_schema_metadata(old), path)
    assert is_current_record(path, KEY)
    assert read_record(path).outcomes().equals(OUTCOMES)
