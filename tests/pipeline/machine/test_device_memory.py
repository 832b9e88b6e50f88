"""What does not fit goes in smaller pieces, or is computed in another way; nothing is lost."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.machine import device_memory
from pipeline.machine.device_memory import Pieces, first_that_fits, is_out_of_memory


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words")


@given(
    total=st.integers(0, 200),
    size=st.integers(1, 300),
    rooms=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_every_item_goes_through_once_and_in_order(total, size, rooms):
    """Whatever room there is, also where it changes."""
    done, tried = [], []

    def run(rows: slice) -> int:
        tried.append(rows)
        room = rooms[min(len(tried), len(rooms)) - 1]
        if rows.stop - rows.start > room:
            raise full()
        done.extend(range(rows.start, rows.stop))
        return rows.stop

    pieces = Pieces(size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_memory, "release", lambda: None)  # a search of all objects
        found = pieces.through(total, run)
    assert done == list(range(total))
    assert found == sorted(found)
    assert pieces.size <= size
    assert all(rows.stop - rows.start <= size for rows in tried)


def test_what_has_shrunk_stays_small():
    pieces = Pieces(64)
    sizes: list[int] = []

    def run(rows: slice) -> None:
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 10:
            raise full()

    pieces.through(20, run)
    assert sizes == [20, 10, 10]
    pieces.through(20, run)
    assert sizes[3:] == [10, 10]


def test_a_single_item_that_does_not_fit_is_explained():
    def run(rows: slice) -> None:
        raise full()

    with pytest.raises(ProbelineError, match="does not hold") as caught:
        Pieces(8, "model m").through(8, run)
    assert (caught.value.place, "PROBELINE_DEVICE=cpu" in caught.value.remedy) == ("model m", True)


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("CUDA error: launch failure")])
def test_other_errors_are_not_taken_for_a_lack_of_memory(error):
    def fails(*_: object) -> None:
        raise error

    with pytest.raises(type(error)):
        Pieces(8).through(8, fails)
    with pytest.raises(type(error)):
        first_that_fits([fails, fails], "x", lambda number: None)


def test_the_next_way_is_taken_and_told():
    told: list[int] = []

    def does_not_fit() -> str:
        raise full()

    assert first_that_fits([does_not_fit, does_not_fit, lambda: "slow"], "x", told.append) == "slow"
    assert told == [1, 2]
    with pytest.raises(ProbelineError, match="Tried to allocate") as caught:
        first_that_fits([does_not_fit], "linear of m on d", told.append)
    assert caught.value.place == "linear of m on d"
    assert "More words" not in caught.value.found


def test_rapids_says_it_in_another_way(monkeypatch):
    error = MemoryError("std::bad_alloc: out_of_memory: CUDA error")
    monkeypatch.delitem(sys.modules, "cuml", raising=False)
    assert not is_out_of_memory(error)  # of the host: not ours to mend
    monkeypatch.setitem(sys.modules, "cuml", types.ModuleType("cuml"))
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("std::bad_alloc"))


def test_what_a_failed_attempt_held_is_given_back_before_the_next(monkeypatch):
    """Its traceback holds its arrays: the memory is asked for after that is gone."""
    import weakref

    class Array:
        pass

    alive: list[object] = []
    held: list[weakref.ref[Array]] = []
    monkeypatch.setattr(
        device_memory, "release", lambda: alive.extend(r for r in held if r() is not None)
    )

    def run(rows: slice) -> None:
        array = Array()
        held.append(weakref.ref(array))
        if rows.stop - rows.start > 1:
            raise full()

    Pieces(4).through(4, run)
    assert not alive
