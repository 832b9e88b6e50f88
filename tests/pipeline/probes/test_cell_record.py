"""A record that is made from what is known: never other than one that is computed whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.former import MOST, former_paths
from cache.records import read_record, write_record
from pipeline.probes.cell_record import CellRecord
from pipeline.project.paths import FORMER, RESULTS
from pipeline.study.knn import votes_in

IMAGES = 7


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("records"))
        patch.setattr(os, "fsync", lambda handle: None)  # which is against power cuts
        yield


@pytest.fixture(autouse=True)
def empty(here):
    for folder in (RESULTS, FORMER):
        shutil.rmtree(folder, ignore_errors=True)


def record_of(ks, train="a") -> CellRecord:
    key = {
        "format": 3, "protocol": "knn", "rules": {}, "train": train, "val": "b",
        "settings": {"neighbors": {"keep": 200}, "knn": {"k": list(ks)}},
    }  # fmt: skip
    asked = votes_in("cosine", "none", list(ks), ["uniform"], [])
    return CellRecord("knn", "pets", "tiny", key, tuple(asked))


class Votes:
    """Computes made-up scores; remembers which it was asked for. Of k = 4 there are none."""

    def __init__(self, train="a") -> None:
        self.asked: list[int] = []
        self._train = train

    def __call__(self, variants):
        self.asked += [variant.k for variant in variants]
        some = [variant for variant in variants if variant.k != 4]
        rows = [{"variant": v.name, "metric": "top1", "value": [v.k, self._train]} for v in some]
        names = pa.array([v.name for v in some], pa.string())
        where = pa.array([i for i in range(len(some)) for _ in range(IMAGES)], pa.int32())
        return rows, pa.table(
            {
                "variant": pa.DictionaryArray.from_arrays(where, names),
                "rank": [v.k for v in some for _ in range(IMAGES)],
                "split": pa.array(["val"] * len(where), pa.string()).dictionary_encode(),
            }
        )


def check(ks, train="a", path=None) -> None:
    """The record that lies there is what these settings ask for, whole."""
    record = read_record(path or record_of(ks).path)
    assert record.key == record_of(ks, train).key
    scored = [k for k in ks if k != 4]
    assert [row["value"] for row in record.scores] == [[k, train] for k in scored]
    names = [v.name for v in votes_in("cosine", "none", scored, ["uniform"], [])]
    table = record.outcomes().to_pydict()
    assert [str(name) for name in table["variant"]] == [n for n in names for _ in range(IMAGES)]
    assert table.get("rank", []) == [k for k in scored for _ in range(IMAGES)]
    assert set(table.get("split", [])) <= {"val"}


def make(ks, train="a") -> list[int]:
    votes = Votes(train)
    record = record_of(ks, train)
    if not record.is_current():
        planned = record.look_up().missing
        record.make(votes, IMAGES)
        assert votes.asked == [variant.k for variant in planned]
    assert record.is_current()
    check(ks, train)
    return votes.asked


def test_a_new_variant_is_computed_alone_and_one_taken_back_not_at_all():
    assert make([1, 2]) == [1, 2]
    first = record_of([1, 2]).path.read_bytes()
    assert make([1, 2, 3]) == [3]
    assert make([3, 1]) == []
    assert make([1, 2]) == []
    assert record_of([1, 2]).path.read_bytes() == first
    assert make([1, 2], train="other") == [1, 2]
    assert make([2, 3, 9]) == [9]


def test_a_variant_that_gave_nothing_is_not_asked_again():
    assert make([1, 4]) == [1, 4]
    assert make([1, 4, 5]) == [5]
    assert make([4]) == []
    assert make([4, 5]) == []


def test_records_of_former_code_are_taken_over():
    """They do not say what was asked for, only what was scored."""
    old = record_of([1, 2])
    rows, outcomes = Votes()(old.asked)
    write_record(old.path, key=old.key, scores=rows, outcomes=outcomes)
    assert make([2, 3]) == [3]
    assert make([1, 2]) == []


def test_a_damaged_record_is_computed_again_and_nothing_is_taken_from_it():
    make([1, 2])
    path = record_of([1, 2]).path
    whole = path.read_bytes()
    for byte in range(4, len(whole), 41):
        data = bytearray(whole)
        data[byte] ^= 1
        shutil.rmtree(FORMER, ignore_errors=True)
        path.unlink()
        path.write_bytes(data)
        record_of([1, 2, 3]).make(Votes(), IMAGES)
        check([1, 2, 3])


def test_settings_of_another_version_are_no_variants_of_ours():
    make([1, 2])
    path = record_of([1, 2]).path
    record = read_record(path)
    write_record(
        path,
        key={**record.key, "settings": {"knn": None}},
        scores=record.scores,
        outcomes=record.outcomes(),
    )
    assert make([1, 2]) == [1, 2]


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True), max_size=12))
def test_after_any_settings_the_record_is_that_of_the_last(rounds):
    for folder in (RESULTS, FORMER):
        shutil.rmtree(folder, ignore_errors=True)
    before: list[list[int]] = []
    for ks in rounds:
        asked = make(ks)
        lately = [k for former in before[-1:] for k in former]
        assert not set(asked) & set(lately)
        assert len(former_paths(record_of(ks).former)) <= MOST
        before.append(ks)


def writer(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        ks = sorted(rng.sample(range(1, 7), rng.randint(1, 4)))
        record_of(ks).make(Votes(), IMAGES)
        seen = Path(f"seen{seed}")  # this one's, or the other writer's
        seen.write_bytes(record_of(ks).path.read_bytes())
        check(read_record(seen).key["settings"]["knn"]["k"], path=seen)
        seen.unlink()


def test_two_writers_leave_a_whole_record_each_time():
    processes = [
        multiprocessing.get_context("fork").Process(target=writer, args=(seed,)) for seed in (1, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert list(Path().rglob("*.partial")) == []
    assert len(former_paths(record_of([1]).former)) <= MOST + 1
