import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.cell import Cell, CellAddress
from cache.chunking import CHUNK_BYTES, MAX_CHUNK_ROWS, MIN_CHUNK_ROWS, chunk_rows_for
from cache.errors import CellLockedError, NonFiniteError
from cache.verify import verify
from cache.writer import CellWriter

EXTREMES = [65504, -65504, 6e-8, -6e-8, 6.1e-5, 1e-8, -0.0, 0.0, 1.0009765, 2049, 0.1]


@given(st.integers(1, 2_000_000), st.integers(1, 20_000))
def test_chunk_rows(rows, columns):
    size = chunk_rows_for(rows, columns)
    assert size & (size - 1) == 0, "not a power of two"
    assert MIN_CHUNK_ROWS <= size <= MAX_CHUNK_ROWS
    assert size * columns * 2 <= CHUNK_BYTES or size == MIN_CHUNK_ROWS
    assert rows >= 16 * size or size == MIN_CHUNK_ROWS
    larger = 2 * size
    assert larger > MAX_CHUNK_ROWS or larger * columns * 2 > CHUNK_BYTES or rows < 16 * larger


def check_round_trip(lab, values, dtype="float16"):
    address = lab.cell(values, dtype=dtype)
    cell = Cell.open(address)
    np.testing.assert_array_equal(cell.read(), values.astype(cell.dtype))
    assert verify(address) == []
    assert not address.partial.exists()
    return cell


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 257, 511, 512, 513, 1000])
@pytest.mark.parametrize("columns", [1, 7])
def test_odd_sizes(lab, rows, columns):
    check_round_trip(lab, lab.values_of(rows, columns))


@settings(max_examples=15)
@given(st.integers(1, 700), st.integers(1, 9), st.sampled_from(["float16", "float32"]), st.data())
def test_whatever_the_size_it_reads_as_written(lab, rows, columns, dtype, data):
    values = lab.values_of(rows, columns, seed=rows)
    places = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    for place in data.draw(st.lists(places, max_size=5)):
        values[place] = data.draw(st.sampled_from(EXTREMES))
    check_round_trip(lab, values, dtype)


def test_chunks_larger_than_the_smallest(lab):
    values = lab.values_of(9000, 2)
    cell = check_round_trip(lab, values)
    assert (cell.manifest.chunk_rows, cell.manifest.chunks) == (512, 18)


def test_equal_cells_are_equal_files_in_any_order_of_chunks(lab):
    values = lab.values_of(900, 3)
    one = lab.cell(values)
    other = lab.address()
    with lab.writer(other, values.shape) as writer:
        for chunk in reversed(writer.missing):
            writer.write(chunk, values[writer.rows_of(chunk)])
        assert writer.missing == []
        writer.commit()
    assert lab.files(one.store) == lab.files(other.store)


@pytest.mark.parametrize("layout", ["transposed", "strided", "float16", "float64"])
def test_any_layout_of_the_array_will_do(lab, layout):
    values = lab.values_of(300, 4).astype(np.float16).astype(np.float32)
    given_ = {
        "transposed": np.asfortranarray(values),
        "strided": np.repeat(values, 2, axis=1)[:, ::2],
        "float16": values.astype(np.float16),
        "float64": values.astype(np.float64),
    }[layout]
    assert lab.files(lab.cell(given_).store) == lab.files(lab.cell(values).store)


def test_overflow_starts_again_in_float32_and_says_so(lab):
    values = lab.values_of(600, 3)
    values[550, 1] = 70_000
    address = lab.address()
    with lab.writer(address, values.shape) as writer:
        for chunk in range(3):
            writer.write(chunk, values[writer.rows_of(chunk)])
        assert writer.missing == [0, 1], "chunks stored in float16 must be computed again"
        lab.fill(writer, values)
        assert writer.commit()
        assert writer.remarks == ("stored in float32: a value exceeds float16's range of 65,504",)
    cell = Cell.open(address)
    assert cell.manifest.dtype == "float32"
    assert cell.manifest.remarks == writer.remarks
    np.testing.assert_array_equal(cell.read(), values)


def test_huge_mean_and_small_spread_fall_back_at_the_end_even_after_a_resume(lab):
    values = lab.values_of(600, 4)
    values[:, 2] += 2000
    values[:, 3] = 1000  # constant: nothing to lose
    address = lab.address()
    with lab.writer(address, values.shape) as writer:
        lab.fill(writer, values)
    with lab.writer(address, values.shape) as writer:
        assert writer.missing == []
        assert writer.commit() is False
        assert writer.missing == [0, 1, 2]
        writer.write(0, values[:256])
    with lab.writer(address, values.shape) as writer:
        assert writer.missing == [1, 2], "the fallback is remembered"
        lab.fill(writer, values)
        assert writer.commit()
    cell = Cell.open(address)
    assert cell.manifest.remarks == (
        "stored in float32: float16's step drowns the spread of 1 of 4 columns",
    )
    np.testing.assert_array_equal(cell.read(), values)


def test_constant_columns_stay_in_float16(lab):
    values = np.full((300, 3), (0.0, 1000.0, 0.1), np.float32)
    cell = check_round_trip(lab, values)
    assert (cell.manifest.dtype, cell.manifest.remarks) == ("float16", ())


def test_asked_for_float32_there_is_no_remark(lab):
    values = lab.values_of(300, 3) * 1e6
    cell = check_round_trip(lab, values, "float32")
    assert (cell.manifest.dtype, cell.manifest.remarks) == ("float32", ())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_not_finite_names_row_and_column_and_keeps_earlier_chunks(lab, dtype, value):
    values = lab.values_of(600, 3).astype(np.float64)
    address = lab.address()
    with lab.writer(address, values.shape, dtype=dtype) as writer:
        writer.write(0, values[:256])
        bad = values[256:512].copy()
        bad[44, 2] = bad[45, 0] = value
        with pytest.raises(NonFiniteError, match="at row 300, column 2 of 3") as caught:
            writer.write(1, bad)
        assert (caught.value.row, caught.value.column) == (300, 2)
        assert writer.missing == [1, 2]
        lab.fill(writer, values)
        assert writer.commit()
    np.testing.assert_array_equal(Cell.open(address).read(), values.astype(dtype))


def test_wrong_calls_are_refused(lab):
    address = lab.address()
    with pytest.raises(ValueError, match="2 ids but 3 labels"):
        CellWriter(address, key={}, ids=["a", "b"], labels=np.arange(3), columns=1)
    for shape in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="nothing to store"):
            lab.writer(address, shape)
    with lab.writer(address, (300, 2)) as writer:
        for chunk in (-1, 2):
            with pytest.raises(ValueError, match=f"no chunk {chunk}"):
                writer.write(chunk, lab.values_of(256, 2))
        for shape in ((255, 2), (256, 3), (256,)):
            with pytest.raises(ValueError, match="is not"):
                writer.write(0, np.zeros(shape, np.float32))
        with pytest.raises(ValueError, match="are missing"):
            writer.commit()


def test_two_writers_of_one_cell(lab):
    address = lab.address()
    other_split = CellAddress(address.store, "val")
    with lab.writer(address, (300, 2)) as first:
        with pytest.raises(CellLockedError, match="another process"):
            lab.writer(address, (300, 2))
        lab.cell(lab.values_of(20, 2), other_split)
        lab.fill(first, lab.values_of(300, 2))
        assert first.commit()
    assert verify(address, deep=True) == verify(other_split, deep=True) == []


def test_a_writer_that_waits_finds_the_cell_that_the_other_process_finished(lab, tmp_path):
    store, log = tmp_path / "digits" / "tiny.zarr", tmp_path / "log"
    with lab.child("child_writer.py", store, 2000, 4, log, 0.1) as child:
        address = CellAddress(store, "train")
        while not (address.partial / "layout.json").exists():
            assert child.poll() is None
        with CellWriter(
            address,
            key={"rows": 2000, "columns": 4},
            ids=[f"image/{row}" for row in range(2000)],
            labels=np.arange(2000) % 10,
            columns=4,
            wait=60,
        ) as writer:
            assert writer.finished
            assert writer.missing == []
            assert writer.commit()
    assert child.returncode == 0
    assert log.read_text().splitlines()[-1] == "done"
    assert not address.partial.exists()
