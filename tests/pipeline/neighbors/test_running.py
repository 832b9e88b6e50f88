"""The k smallest values of rows that come block by block."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.neighbors.running import Running


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_running_smallest_are_the_smallest_whatever_the_order_of_blocks(data):
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    rows, columns, k = (data.draw(st.integers(1, most)) for most in (5, 80, 12))
    numbers = st.sampled_from([-2.5, -1.0, 0.0, 1e-40, 0.1, 0.2, 7.0, np.inf, np.nan])
    values = data.draw(arrays(dtype, (rows, columns), elements=numbers))
    width = data.draw(st.integers(1, columns))
    starts = data.draw(st.permutations(range(0, columns, width)))
    rank = data.draw(st.none() | st.integers(1, 2 * k))
    running = Running(rows, k, dtype)
    names = np.arange(columns, dtype=np.int32) * 1000
    for start in starts:
        part = slice(start, start + width)
        block = np.ascontiguousarray(values[:, part])
        running.offer(slice(0, rows), block, names[part], rank if start == starts[0] else None)
    found, where, beyond = running.smallest(slice(0, rows))
    expected = np.where(np.isnan(values), np.inf, values)
    expected = np.pad(expected, ((0, 0), (0, k + 1)), constant_values=np.inf)
    order = np.argsort(expected, axis=1, kind="stable")[:, : k + 1]
    expected = np.take_along_axis(expected, order, axis=1)
    there = np.isfinite(found)
    missing = np.take_along_axis(expected, there.sum(axis=1, keepdims=True), axis=1)[:, 0]
    assert (beyond <= missing).all()
    if rank is None:
        np.testing.assert_array_equal(beyond, expected[:, k - 1])
    expected, order = expected[:, :k], order[:, :k]
    np.testing.assert_array_equal(found[there], expected[there])
    assert rank is not None or (there == np.isfinite(expected)).all()
    assert (where[~there] == -1).all()
    for columns_of_row, kept in zip(where, there, strict=True):
        assert len(set(columns_of_row[kept])) == kept.sum()
    own = np.take_along_axis(values, np.maximum(where, 0) // 1000, axis=1)
    np.testing.assert_array_equal(own[there], found[there])
    if dtype == np.float64:  # of equal values, the earlier
        np.testing.assert_array_equal(where[there], order[there] * 1000)
