"""Which of several processes this one is, and what records it may make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import ProbelineError
from cache.lock import Lock
from pipeline.machine import shards
from pipeline.machine.shards import Shard, claimed, is_free, this_shard, until_done


@pytest.mark.parametrize(
    "text", ["9/8", "0/8", "a/b", "", "1", "1/0", "-1/8", "1/8/8", "1.0/8", "²/8", "1/9999999"]
)
def test_what_names_no_shard_is_refused(text):
    with pytest.raises(ProbelineError, match="names no shard") as caught:
        Shard.parse(text)
    assert repr(text) in caught.value.found
    assert "count from 1" in caught.value.remedy


def test_a_shard_is_known_to_what_it_starts_and_to_nobody_afterwards(monkeypatch):
    monkeypatch.delenv("PROBELINE_SHARD", raising=False)
    with Shard.parse(" 3/8 ").announced():
        assert this_shard() == Shard(3, 8)
        with Shard(1, 2).announced():
            assert this_shard() == Shard(1, 2)
        assert this_shard() == Shard(3, 8)
    assert this_shard() is None
    monkeypatch.setenv("PROBELINE_SHARD", "9/8")
    with pytest.raises(ProbelineError, match="environment variable PROBELINE_SHARD"):
        this_shard()


@given(st.integers(1, 40), st.integers(0, 200))
def test_all_look_at_all_parts_each_from_its_own_share_on(of, parts):
    orders = [Shard(number, of).order(parts) for number in range(1, of + 1)]
    assert all(sorted(order) == list(range(parts)) for order in orders)
    starts = [order[0] for order in orders] if parts else []
    assert starts == sorted(starts)
    if parts >= of:
        assert len(set(starts)) == of


def test_alone_everything_is_free_and_nothing_is_locked(tmp_path, monkeypatch):
    monkeypatch.delenv("PROBELINE_SHARD", raising=False)
    path = tmp_path / "results" / "tiny.parquet"
    with claimed(path) as mine, claimed(path) as twice:
        assert mine
        assert twice
        assert is_free(path)
    assert not list(tmp_path.iterdir())


def test_a_record_is_claimed_by_one_and_free_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBELINE_SHARD", "1/2")
    path = tmp_path / "tiny.parquet"
    with claimed(path) as mine:
        with claimed(path) as other:
            assert (mine, other) == (True, False)
        assert not is_free(path)
        assert is_free(tmp_path / "net.parquet")
    assert is_free(path)
    assert not list(tmp_path.iterdir())


def test_a_shard_stays_until_all_records_are_there(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(shards.time, "sleep", waits.append)
    records = [tmp_path / name for name in "abc"]
    other = Lock(tmp_path / ".c.lock.partial", "another shard")

    def run():
        if len(waits) == 2:
            other.release()  # killed
        missing = [path for path in records if not path.exists()]
        for path in missing:
            if is_free(path):
                path.touch()
        return 3 - len(missing), len(missing)

    monkeypatch.setenv("PROBELINE_SHARD", "1/2")
    assert until_done(run) == (0, 3)
    assert waits == [shards.LOOK_SECONDS] * 2  # where others had all that was left
    assert all(path.exists() for path in records)
    monkeypatch.delenv("PROBELINE_SHARD")
    records[0].unlink()
    assert until_done(run) == (2, 1)  # alone, once
