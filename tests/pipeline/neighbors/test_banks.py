"""Rows taken from a cell: the cell's own, however many they are, and never a damaged chunk's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cells import make_cell

from cache.cell import SKIPPED, chunk_name
from cache.errors import CellCorruptError
from pipeline.neighbors.banks import CellBank

ROWS, COLUMNS = 700, 3


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Three chunks of 256 rows, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("bank"))
        values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
        bank = CellBank(make_cell("train", values, np.zeros(ROWS, np.int64)))
        assert bank.cell.manifest.chunk_rows == 256
        yield bank


@given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=200))
def test_rows_are_those_of_the_whole_cell(bank, rows):
    """A few rows are found one by one, many by reading all; in any order, some twice."""
    np.testing.assert_array_equal(bank.take(np.array(rows)), bank.cell.read()[rows])


@pytest.mark.parametrize("count", [1, ROWS // SKIPPED + 1])
def test_a_chunk_that_is_cut_short_is_named(bank, count):
    path = bank.cell.address.path / chunk_name(1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 1])
    try:
        with pytest.raises(CellCorruptError, match="c/1/0"):
            bank.take(np.arange(511, 511 - count, -1))
    finally:
        path.write_bytes(whole)
