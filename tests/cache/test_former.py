"""Records that were replaced: kept whole, few of them, found again, never half of one."""

from __future__ import annotations

import os
import time

import pyarrow as pa
import pytest

from cache import former
from cache.former import forget_oldest, former_paths, former_records, put_aside, put_back
from cache.records import is_current_record, read_record, write_record


def key(number: int) -> dict:
    return {"protocol": "knn", "k": number}


def table(number: int) -> pa.Table:
    return pa.table({"variant": [f"k{number}"] * 9, "rank": [number] * 9})


@pytest.fixture
def place(tmp_path):
    return tmp_path / "knn" / "pets" / "tiny.parquet", tmp_path / "former" / "knn-pets" / "tiny"


def write(path, number):
    scores = [{"variant": f"k{number}", "value": number}]
    write_record(path, key=key(number), scores=scores, outcomes=table(number), asked=["k0", "k1"])


def kept(folder) -> list[int]:
    return [record.key["k"] for record in former_records(folder)]


def test_a_record_comes_back_byte_for_byte(place):
    path, folder = place
    write(path, 1)
    first = path.read_bytes()
    put_aside(path, folder)
    assert path.read_bytes() == first
    write(path, 2)
    assert kept(folder) == [1]
    assert put_back(key(1), path, folder)
    assert path.read_bytes() == first
    assert sorted(kept(folder)) == [1, 2]
    assert not put_back(key(3), path, folder)
    assert path.read_bytes() == first


def test_what_was_asked_and_gave_nothing_is_remembered(place):
    path, _ = place
    write(path, 1)
    assert read_record(path).asked == {"k0", "k1"}
    write_record(path, key={}, scores=[{"variant": "a"}, {"variant": "b"}], outcomes=table(1))
    assert read_record(path).asked == {"a", "b"}  # as records of former code


def test_a_few_are_kept_the_latest(place, monkeypatch):
    path, folder = place
    monkeypatch.setattr(former, "MOST", 2)
    for number in range(5):
        write(path, number)
        put_aside(path, folder)
        time.sleep(0.01)  # the file system's clock
        forget_oldest(folder)
    assert kept(folder) == [4, 3]
    assert put_back(key(3), path, folder)
    put_aside(path, folder)
    assert kept(folder) == [3, 4]  # by its last use
    forget_oldest(folder, 0)
    assert not folder.exists()
    assert former_paths(folder) == []


def test_nothing_is_kept_twice_nor_what_is_no_record(place):
    path, folder = place
    put_aside(path, folder)  # there is none
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rubbish")
    put_aside(path, folder)
    assert not folder.exists()
    write(path, 1)
    put_aside(path, folder)
    put_aside(path, folder)
    assert len(former_paths(folder)) == 1


@pytest.mark.parametrize("how", ["another disk", "a link of DVC's"])
def test_where_no_link_can_be_made_it_is_copied(place, tmp_path, monkeypatch, how):
    path, folder = place
    write(path, 1)
    if how == "another disk":

        def refuse(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
    else:
        cached = tmp_path / "of_dvc"
        path.rename(cached)
        path.symlink_to(cached)
    put_aside(path, folder)
    (copy,) = former_paths(folder)
    assert not copy.is_symlink()
    assert copy.read_bytes() == path.read_bytes()
    assert os.stat(copy).st_ino != os.stat(path).st_ino


def test_a_damaged_one_is_none(place):
    path, folder = place
    write(path, 1)
    put_aside(path, folder)
    write(path, 2)
    (file,) = former_paths(folder)
    whole = file.read_bytes()
    for byte in range(4, len(whole), 23):
        data = bytearray(whole)
        data[byte] ^= 4
        file.unlink()
        file.write_bytes(data)
        if put_back(key(1), path, folder):  # a bit that nothing reads
            assert read_record(path).outcomes().equals(table(1))
            assert put_back(key(2), path, folder)
        assert is_current_record(path, key(2))


def test_a_name_that_does_not_fit_its_key_is_not_believed(place):
    path, folder = place
    write(path, 1)
    put_aside(path, folder)
    (file,) = former_paths(folder)
    file.rename(former.former_path(folder, key(2)))
    assert not put_back(key(2), path, folder)
