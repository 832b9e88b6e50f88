import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cache.precision import MAX_STEP, Moments, columns_drowned_in_float16, overflows_float16

some_rows = arrays.arrays(
    np.float32,
    st.tuples(st.integers(2, 40), st.integers(1, 4)),
    elements=st.floats(-1e4, 1e4, width=32),
)


def drowned(*columns):
    return columns_drowned_in_float16(Moments.of(np.stack(columns, axis=1).astype(np.float32)))


def noise(mean, deviation, rows=4000):
    values = np.random.default_rng(0).normal(size=rows)
    return mean + deviation * (values - values.mean()) / values.std()


@given(some_rows, st.data())
def test_moments_merged_from_parts_are_those_of_the_whole(values, data):
    cut = data.draw(st.integers(1, len(values) - 1))
    merged = Moments.of(values[:cut]).merge(Moments.of(values[cut:]))
    wide = values.astype(np.float64)
    assert merged.count == len(values)
    np.testing.assert_allclose(merged.mean, wide.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(merged.m2, wide.var(axis=0) * len(wide), rtol=1e-9, atol=1e-6)


@given(some_rows)
def test_moments_survive_the_journal_bit_for_bit(values):
    moments = Moments.of(values)
    again = Moments.decode(moments.count, moments.encode())
    assert again.count == moments.count
    assert again.mean.tobytes() == moments.mean.tobytes()
    assert again.m2.tobytes() == moments.m2.tobytes()


@pytest.mark.parametrize(
    ("value", "overflows"),
    [(65504.0, False), (-65504.0, False), (65520.0, True), (-65520.0, True), (3e38, True)],
)
def test_overflow(value, overflows):
    assert overflows_float16(np.array([[0.0, value]], np.float32)) is overflows
    with np.errstate(over="ignore"):
        assert bool(np.isinf(np.float32(value).astype(np.float16))) is overflows


def test_nothing_overflows_in_nothing():
    assert overflows_float16(np.empty((0, 3), np.float32)) is False


@pytest.mark.parametrize(
    ("mean", "deviation"), [(0, 1), (10, 1), (0, 1e-3), (0, 2e4), (-3e4, 1e4), (1e3, 100)]
)
def test_usual_columns_are_fine(mean, deviation):
    assert drowned(noise(mean, deviation)) == 0


@pytest.mark.parametrize(
    ("mean", "deviation"), [(1000, 1), (-1000, 1), (6e4, 50), (1, 1e-3), (0, 1e-7), (1e-6, 1e-8)]
)
def test_a_huge_mean_or_a_tiny_spread_drowns(mean, deviation):
    assert drowned(noise(mean, deviation)) == 1
    assert drowned(noise(0, 1), noise(mean, deviation), noise(1, 1)) == 1


@pytest.mark.parametrize("value", [0.0, 1.0, -1000.0, 0.1, 65504.0, 1e-8])
def test_constant_columns_have_nothing_to_lose(value):
    assert drowned(np.full(1000, value, np.float32)) == 0


def test_constant_up_to_float32_rounding_is_constant():
    column = np.float32(1000.1) + np.spacing(np.float32(1000)) * (np.arange(1000) % 2)
    assert drowned(column) == 0


def test_the_ends_of_the_range_neither_warn_nor_drown():
    """The step at 65,504 can't be asked for without an overflow."""
    assert drowned(np.tile([65504.0, -65504.0], 500)) == 0


@pytest.mark.parametrize(("mean", "deviation"), [(100, 0.4), (100, 0.2), (3, 0.02), (3, 0.005)])
def test_the_limit_is_on_the_rounding_error_that_really_occurs(mean, deviation):
    column = noise(mean, deviation, 100_000)
    error = (column.astype(np.float16).astype(np.float64) - column).std() / deviation
    assert (drowned(column) == 1) == (error > MAX_STEP)
