"""Several processes build one cell: nothing twice, and whoever is killed, the same bytes."""

import fcntl
import random
import shutil
import signal
import time

import numpy as np
import pytest

from cache.cell import Cell, CellAddress
from cache.errors import CellLockedError, ProbelineError
from cache.journal import line_of, read_entries
from cache.lock import Lock, Mutex
from cache.shared_writer import (
    MUTEX,
    SharedCellWriter,
    clear_mutex,
    is_all_claimed,
    mutex_of,
)
from cache.verify import verify

SHAPE = (3000, 24)  # 12 chunks
CHUNKS = 12


@pytest.fixture(scope="module")
def values(lab):
    return lab.values_of(*SHAPE)


@pytest.fixture(scope="module")
def alone(lab):
    """The bytes that a lone writer makes."""
    folder = lab.folder()
    child = lab.child("child_writer.py", folder / "m.zarr", *SHAPE, folder / "log", 0)
    assert child.wait(60) == 0
    return lab.files(folder / "m.zarr")


def start(lab, folder, delay=0.02, scale=1.0):
    return lab.child("child_shard.py", folder / "m.zarr", *SHAPE, folder / "log", delay, scale)


def lines(folder):
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def computed(folder):
    return sum(line.startswith("compute") for line in lines(folder))


def until(folder, count):
    end = time.monotonic() + 60
    while computed(folder) < count and time.monotonic() < end:
        time.sleep(0.002)


def check(lab, folder, expected):
    assert lab.files(folder / "m.zarr") == expected
    assert [p.name for p in sorted(folder.iterdir())] == ["log", "m.zarr"]
    assert verify(CellAddress(folder / "m.zarr", "train"), deep=True) == []


def test_three_at_once_compute_each_chunk_once(lab, tmp_path, alone):
    children = [start(lab, tmp_path) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0] * 3
    check(lab, tmp_path, alone)
    assert sorted(line for line in lines(tmp_path) if line.startswith("compute")) == sorted(
        f"compute {chunk}" for chunk in range(CHUNKS)
    )
    assert lines(tmp_path).count("commit") == 1


def kill_and_finish(lab, folder, alone, kills, generator, shards=3):
    """Kill one of some shards at random moments; another takes its place."""
    children = [start(lab, folder) for _ in range(shards)]
    killed = 0
    for _ in range(kills):
        until(folder, computed(folder) + generator.choice([0, 1, 2]))
        time.sleep(generator.uniform(0, 0.03))
        victim = children.pop(generator.randrange(len(children)))
        victim.kill()
        killed += victim.wait(60) == -signal.SIGKILL
        children.append(start(lab, folder))
    assert [child.wait(60) for child in children] == [0] * shards
    clear_mutex(folder)
    check(lab, folder, alone)
    assert CHUNKS <= computed(folder) <= CHUNKS + killed
    return killed


def test_killed_at_random_moments_the_others_make_the_same_cell(lab, tmp_path, alone):
    assert kill_and_finish(lab, tmp_path, alone, 3, random.Random(1))


def test_after_all_are_killed_a_lone_writer_goes_on(lab, tmp_path, alone):
    children = [start(lab, tmp_path, delay=0.2) for _ in range(2)]
    until(tmp_path, 4)
    for child in children:
        child.kill()
        child.wait(60)
    child = lab.child("child_writer.py", tmp_path / "m.zarr", *SHAPE, tmp_path / "log", 0)
    assert child.wait(60) == 0
    clear_mutex(tmp_path)
    check(lab, tmp_path, alone)
    again = computed(tmp_path) - CHUNKS  # what each had claimed and not written, if anything
    assert 0 <= again <= 2


@pytest.mark.parametrize("shared", [False, True])
def test_what_was_begun_before_there_were_shards_goes_on(lab, values, shared):
    """Lines that do not say their type are of the type that the cell then had."""
    address = lab.address()
    with lab.writer(address, SHAPE) as writer:
        for chunk in (0, 1):
            write(writer, chunk, values)
    journal = address.partial / "journal.jsonl"
    entries = [
        {name: value for name, value in entry.items() if name != "dtype"}
        for entry in read_entries(journal)[0]
    ]
    journal.write_bytes(b"".join(map(line_of, entries)))
    if shared:
        pair = Pair(lab, address=address)
        assert pair.first.missing == pair.second.missing == list(range(2, CHUNKS))
        write(pair.first, 2, values * np.float32(1e6))  # these two are then of another type
        pair.second.refresh()
        assert pair.second.missing == [c for c in range(CHUNKS) if c != 2]
        pair.first.close()
        pair.second.close()
    else:
        with lab.writer(address, SHAPE) as writer:
            assert writer.missing == list(range(2, CHUNKS))


class Pair:
    """Two writers of one cell in this process: locks tell them apart as they do processes."""

    def __init__(self, lab, dtype="float16", address=None):
        self.lab, self.address, self.dtype = lab, address or lab.address(), dtype
        self.mutex = mutex_of(self.address.store.parent)
        self.first, self.second = self.join(), self.join()

    def join(self, rows=SHAPE[0], key=None):
        return SharedCellWriter(
            self.address, mutex=self.mutex, key=key or self.lab.key, columns=SHAPE[1],
            ids=[f"image/{row:05d}.png" for row in range(rows)], labels=np.arange(rows) % 10,
            dtype=self.dtype,
        )  # fmt: skip


@pytest.fixture
def pair(lab):
    pair = Pair(lab)
    yield pair
    pair.first.close()
    pair.second.close()


def write(writer, chunk, values):
    assert writer.claim(chunk)
    writer.write(chunk, values[writer.rows_of(chunk)], seconds=2.0)


def test_what_one_claims_or_has_done_the_other_does_not(pair, values):
    assert pair.first.claim(3)
    assert not pair.second.claim(3)
    pair.first.write(3, values[pair.first.rows_of(3)])
    assert 3 in pair.second.missing  # it has not looked yet
    assert not pair.second.claim(3)
    assert 3 not in pair.second.missing
    assert (pair.first.own, pair.second.own) == (1, 0)


def test_at_a_glance_all_is_claimed_when_it_is_done_or_somebody_is_at_it(pair, values, lab):
    assert not is_all_claimed(lab.address())  # nobody has begun
    for chunk in range(CHUNKS - 1):
        write(pair.first, chunk, values)
    assert not is_all_claimed(pair.address)
    assert pair.first.claim(CHUNKS - 1)
    assert is_all_claimed(pair.address)
    pair.first.close()
    assert not is_all_claimed(pair.address)


def test_claims_of_who_leaves_are_free(pair):
    assert pair.first.claim(3)
    pair.first.close()
    assert pair.second.claim(3)


def test_seconds_of_all_are_counted_and_one_seals(pair, values, lab):
    for chunk in range(CHUNKS):
        write((pair.first, pair.second)[chunk % 2], chunk, values)
    with pair.first.in_turn():
        assert pair.first.seconds == 2.0 * CHUNKS
        assert pair.first.commit()
    with pair.second.in_turn():
        assert pair.second.finished
        assert pair.second.commit()
    pair.first.close()
    pair.second.close()
    assert lab.files(pair.address.store) == lab.files(lab.cell(values).store)
    assert [path.name for path in pair.address.store.parent.iterdir()] == ["tiny.r18.zarr"]


def test_one_that_finds_a_large_value_turns_the_cell_to_float32_for_all(pair, values, lab):
    large = values * np.float32(1e6)
    write(pair.first, 0, values)
    assert pair.second.claim(1)
    write(pair.first, 2, large)
    assert pair.first.missing == [c for c in range(CHUNKS) if c != 2]
    pair.second.write(1, large[pair.second.rows_of(1)])  # claimed before, written as float32
    assert pair.second.dtype == "float32"
    for chunk in list(pair.second.missing):
        write(pair.second, chunk, large)
    with pair.second.in_turn():
        assert pair.second.commit()
    assert lab.files(pair.address.store) == lab.files(lab.cell(large).store)


def test_who_has_not_seen_the_turn_to_float32_leaves_no_float16_chunk(pair, values):
    large = values * np.float32(1e6)
    assert pair.second.claim(1)
    pair.second.refresh = lambda: None  # another host's view of the folder is late
    write(pair.first, 2, large)
    pair.second.write(1, values[pair.second.rows_of(1)])
    assert pair.second.dtype == "float16"
    del pair.second.refresh
    pair.first.refresh()
    assert 1 in pair.first.missing


def test_a_lone_writer_is_refused_and_told_who_is_there(pair, lab):
    with pytest.raises(CellLockedError, match="is being written by another process"):
        lab.writer(pair.address, SHAPE)
    pair.first.close()
    with pytest.raises(CellLockedError):
        lab.writer(pair.address, SHAPE)
    pair.second.close()
    lab.writer(pair.address, SHAPE).close()


def test_beside_a_lone_writer_a_shard_is_refused(lab):
    address = lab.address()
    with lab.writer(address, SHAPE), pytest.raises(CellLockedError, match="another process"):
        Pair.join(type("P", (), {"address": address, "lab": lab, "dtype": "float16",
                                 "mutex": mutex_of(address.store.parent)}))  # fmt: skip


@pytest.mark.parametrize("other", [{"key": {"model": "other"}}, {"rows": 2999}])
def test_another_study_in_the_folder_is_refused_by_what_differs(pair, values, other):
    write(pair.first, 0, values)
    with pytest.raises(CellLockedError, match="for another study"):
        pair.join(**other)
    assert not pair.second.claim(0)  # what was committed is there


def test_of_killed_shards_what_is_damaged_is_computed_again(pair, values):
    for chunk in (0, 1):
        write(pair.first, chunk, values)
    pair.first.close()
    pair.second.close()
    path = pair.address.partial / "cell/embedding/c/1/0"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    pair.first = pair.join()  # the first that comes looks for all
    pair.second = pair.join()
    assert 1 in pair.first.missing
    assert 1 in pair.second.missing
    assert 0 not in pair.second.missing


def test_a_cell_that_another_study_has_made_whole_is_let_alone_by_who_builds_anew(
    pair, lab, values
):
    """Shards of two studies: whose cell is there already leaves, and empties nothing."""
    pair.first.close()
    pair.second.close()
    lab.cell(values, pair.address)
    pair.first = pair.join(key={"model": "new"})
    write(pair.first, 0, values)
    former = pair.join()
    assert former.finished
    former.close()
    pair.first.refresh()
    assert 0 not in pair.first.missing


def test_locks_that_hold_for_one_host_only_are_said(pair, values, monkeypatch):
    assert pair.first.claim(0)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", lambda *_: None)  # as another host, whose locks are its own
        assert pair.second.claim(0)
    with pytest.raises(ProbelineError, match="locks hold for one host only") as caught:
        pair.first.write(0, values[pair.first.rows_of(0)])
    assert "run all shards on one host" in caught.value.remedy


def test_a_mutex_that_two_hosts_hold_is_said(tmp_path, monkeypatch):
    mutex = Mutex(tmp_path / "m", "here")

    def both():
        with mutex.held(), mutex.held(), monkeypatch.context() as patch:  # twice is no fault
            patch.setattr(fcntl, "flock", lambda *_: None)
            Lock(tmp_path / "m", "here")

    with pytest.raises(ProbelineError, match="locks hold for one host only"):
        both()


def test_what_a_killed_process_left_of_the_mutex_is_removed(tmp_path):
    (tmp_path / MUTEX).write_text("")
    clear_mutex(tmp_path)
    assert not list(tmp_path.iterdir())
    with mutex_of(tmp_path).held():
        clear_mutex(tmp_path)
        assert (tmp_path / MUTEX).exists()


def test_a_folder_that_somebody_deletes_is_named(pair):
    shutil.rmtree(pair.address.partial)
    with pytest.raises(ProbelineError, match="its folder is gone"):
        pair.first.refresh()


def test_a_whole_cell_is_found_by_who_comes_late(pair, values, lab):
    for chunk in range(CHUNKS):
        write(pair.first, chunk, values)
    with pair.first.in_turn():
        pair.first.commit()
    late = pair.join()
    assert late.finished
    assert late.missing == []
    late.close()
    assert Cell.open(pair.address).manifest.rows == SHAPE[0]
