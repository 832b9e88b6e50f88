"""Rows found by their digests and copied: lookups, refusals, plans, and kills at every step."""

from __future__ import annotations

import logging
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.cell import ROW_BYTES, Cell, chunk_name
from cache.errors import CellCorruptError
from cache.rows import copy_rows, make_plan, planned, row_digests
from cache.writer import CellWriter

names = st.integers(0, 40)


def digests(numbers) -> np.ndarray:
    """Of made-up images; the first half of the digest has many zeros, the last byte may be one."""
    return row_digests([f"{number * 7919:016x}{number * 65536:016x}{0:032x}" for number in numbers])


def make(lab, numbers, *, dtype="float16", address=None, key="key", columns=6):
    """A cell whose row of image n is n, n + 1, n + 2 …"""
    address = address or lab.address()
    values = np.add.outer(np.array(numbers), np.arange(columns)).astype(np.float32)
    with CellWriter(
        address,
        key={"key": key},
        ids=[str(row) for row in range(len(values))],
        labels=np.zeros(len(values), np.int64),
        columns=columns,
        dtype=dtype,
        digests=digests(numbers),
    ) as writer:
        while writer.missing or not writer.commit():
            lab.fill(writer, values)
    return Cell.open(address)


@given(
    held=st.lists(st.lists(names, min_size=1, max_size=30), min_size=1, max_size=3),
    wanted=st.lists(names, min_size=1, max_size=60),
)
def test_every_row_that_some_cell_holds_is_found_and_is_that_image(lab, held, wanted):
    cells = [make(lab, numbers, dtype="float32") for numbers in held]
    plan = make_plan(digests(wanted), "float32", cells, 6)
    known = {number for numbers in held for number in numbers}
    assert plan.computed.tolist() == [number not in known for number in wanted]
    values = np.full((len(wanted), 6), -1.0, np.float32)
    copied, rounded = plan.copy_into(values, slice(0, len(wanted)))
    assert not rounded
    assert sum(copied.values()) == sum(number in known for number in wanted)
    for number, row in zip(wanted, values, strict=True):
        expected = number + np.arange(6) if number in known else np.full(6, -1.0)
        assert np.array_equal(row, expected)


def test_digests_that_share_their_first_half_are_told_apart(lab):
    one, two = "ab" * 8 + "00" * 24, "ab" * 8 + "01" * 24
    cell = make(lab, [1, 2])
    object.__setattr__(cell, "digests", lambda: row_digests([one, one]))
    assert make_plan(row_digests([two]), "float16", [cell], 6).computed.all()
    assert row_digests([one, two]).shape == (2, ROW_BYTES)


def test_rows_of_float16_are_not_for_a_cell_of_float32_but_the_other_way_round(lab):
    rounded, exact = make(lab, range(9)), make(lab, range(9), dtype="float32")
    assert rounded.manifest.dtype == "float16"
    assert make_plan(digests(range(9)), "float32", [rounded], 6).computed.all()
    assert not make_plan(digests(range(9)), "float16", [exact], 6).computed.any()
    assert make_plan(digests(range(9)), "float16", [exact], 5).computed.all()


def test_a_cell_that_turns_to_float32_takes_no_rounded_row(lab):
    """A new row overflows float16 while others are copied from float16."""
    held = make(lab, range(300))
    numbers = [*range(299), 70_000]
    with CellWriter(
        lab.address(), key={"key": "new"}, ids=[str(n) for n in numbers],
        labels=np.zeros(300, np.int64), columns=6, digests=digests(numbers),
    ) as writer:  # fmt: skip
        plan = planned(writer, [held])
        assert plan.computed.tolist() == [False] * 299 + [True]
        for chunk in writer.missing:
            rows = writer.rows_of(chunk)
            values = np.full((rows.stop - rows.start, 6), 70_000.0, np.float32)
            copied, rounded = plan.copy_into(values, rows)
            writer.write(chunk, values, copied=copied, rounded=rounded)
        assert writer.dtype == "float32"
        assert writer.missing == [0, 1]
        assert planned(writer, [held]).computed.all()


def test_a_damaged_chunk_is_passed_over_and_another_cell_is_asked(lab):
    cell, spare = make(lab, range(700)), make(lab, range(250, 300))
    path = cell.address.path / chunk_name(1)
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    plan = make_plan(digests(range(700)), "float16", [cell, spare], 6)
    assert np.flatnonzero(plan.computed).tolist() == list(range(300, 512))
    values = np.empty((700, 6), np.float32)
    plan.copy_into(values, slice(0, 700))
    assert np.array_equal(values[:300, 0], np.arange(300))


def test_what_is_damaged_after_it_was_planned_is_refused(lab):
    cell = make(lab, range(300))
    plan = make_plan(digests(range(300)), "float16", [cell], 6)
    path = cell.address.path / chunk_name(0)
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    with pytest.raises(CellCorruptError, match="c/0/0"):
        plan.copy_into(np.empty((300, 6), np.float32), slice(0, 300))


def test_damaged_digests_are_none(lab):
    cell = make(lab, range(300))
    path = cell.address.path / "digest/c/0/0"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CellCorruptError, match="digest"):
        cell.digests()
    assert make_plan(digests(range(300)), "float16", [cell], 6).computed.all()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half of a file", b"no plan"])
def test_a_torn_plan_is_made_anew(lab, damage):
    held, address = make(lab, range(300)), lab.address()
    options = {"key": {"key": "new"}, "ids": [str(n) for n in range(300)], "columns": 6,
               "labels": np.zeros(300, np.int64), "digests": digests(range(300))}  # fmt: skip
    with CellWriter(address, **options) as writer:
        planned(writer, [held])
    address.plan.write_bytes(damage)
    with CellWriter(address, **options) as writer:
        plan = planned(writer, [held])
        assert copy_rows(writer, plan)
        assert writer.commit()
        assert writer.copied == {"digits/tiny.r18/train": 300}
    assert np.array_equal(Cell.open(address).read(), held.read())


def test_a_stored_plan_is_followed_as_long_as_its_cells_are_the_same(lab, caplog):
    one, two, address = make(lab, range(300)), make(lab, range(300)), lab.address()
    options = {"key": {"key": "new"}, "ids": [str(n) for n in range(300)], "columns": 6,
               "labels": np.zeros(300, np.int64), "digests": digests(range(300))}  # fmt: skip
    with CellWriter(address, **options) as writer:
        assert planned(writer, [one]).uses(one.address)
    with CellWriter(address, **options) as writer:
        assert planned(writer, [two]).uses(one.address)
    make(lab, range(300, 600), address=one.address, key="another")
    with caplog.at_level(logging.WARNING), CellWriter(address, **options) as writer:
        plan = planned(writer, [Cell.open(one.address), two])
        assert plan.uses(two.address)
        assert not plan.uses(one.address)
        assert not plan.computed.any()
    assert "has gone or changed" in caplog.text


@pytest.mark.parametrize("what", ["copy", "seal"])
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_its_steps_the_old_or_the_new_cell_is_there(lab, tmp_path, what, stride):
    child = lab.child("child_copying.py", tmp_path, stride, what, stdout=subprocess.PIPE)
    output, _ = child.communicate(timeout=300)
    assert child.returncode == 0
    assert int(output) > {"copy": 60, "seal": 8}[what] // stride, "too few steps"
