"""Reading some rows of a record: the same as reading all and filtering, however they lie."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache import records
from cache.errors import CellCorruptError
from cache.records import read_record, write_record


def table_of(sizes, seed=0, dictionary=True):
    """So many rows of each variant, one variant after the other."""
    rng = np.random.default_rng(seed)
    names = [f"variant {i}" for i in range(len(sizes))]
    variant = pa.array(np.repeat(names, sizes).tolist(), pa.string())
    n = sum(sizes)
    return pa.table(
        {
            "variant": variant.dictionary_encode() if dictionary else variant,
            "sample": pa.array(rng.integers(0, 100, n), pa.int32()),
            "rank": pa.array(rng.integers(1, 5, n), pa.int32()),
            "confidence": pa.array(rng.random(n), pa.float32()),
        }
    )


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    group=st.integers(1, 40),
    dictionary=st.booleans(),
)
def test_the_same_rows_as_by_filtering_the_whole(tmp_path_factory, sizes, group, dictionary):
    path = tmp_path_factory.mktemp("record") / "r.parquet"
    table = table_of(sizes, dictionary=dictionary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MIN_GROUP", 1)
        write_record(path, key={}, scores=[], outcomes=table, group_rows=group)
    assert pq.read_metadata(path).num_row_groups == -(-sum(sizes) // group)
    record = read_record(path)
    assert record.outcomes().equals(table.cast(record.outcomes().schema))
    for name in [*{f"variant {i}" for i in range(len(sizes))}, "none"]:
        expected = table.filter(pc.equal(table["variant"], name)).select(["rank", "sample"])
        found = record.outcomes_where("variant", name, ("rank", "sample"))
        assert found.to_pydict() == expected.to_pydict()


def test_only_large_variants_are_groups_of_their_own(tmp_path):
    for rows, groups in ((100, 1), (records.MIN_GROUP, 3)):
        path = tmp_path / f"{rows}.parquet"
        write_record(path, key={}, scores=[], outcomes=table_of([rows] * 3), group_rows=rows)
        assert pq.read_metadata(path).num_row_groups == groups


def test_damage_in_the_rows_asked_for_is_found(tmp_path):
    path = tmp_path / "r.parquet"
    size = records.MIN_GROUP
    write_record(path, key={}, scores=[], outcomes=table_of([size] * 2), group_rows=size)
    column = pq.read_metadata(path).row_group(1).column(1)
    assert column.path_in_schema == "sample"
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    record = read_record(path)
    assert len(record.outcomes_where("variant", "variant 0", ("sample", "rank"))) == size
    with pytest.raises(CellCorruptError, match=r"r\.parquet"):
        record.outcomes_where("variant", "variant 1", ("sample", "rank"))
    with pytest.raises(CellCorruptError, match=r"r\.parquet"):
        record.outcomes_where("variant", "variant 0", ("no such column",))


def test_a_record_without_outcomes_has_no_rows(tmp_path):
    path = tmp_path / "r.parquet"
    write_record(path, key={}, scores=[], outcomes=pa.table({"variant": pa.array([], pa.string())}))
    assert len(read_record(path).outcomes_where("variant", "v", ("sample", "rank"))) == 0


def test_a_record_without_outcomes_has_no_rows_of_any_column(tmp_path):
    path = tmp_path / "r.parquet"
    write_record(path, key={}, scores=[], outcomes=pa.table({"variant": pa.array([], pa.string())}))
    found = read_record(path).outcomes_where("variant", "variant 0", ("sample", "rank"))
    assert (found.num_rows, found.column_names) == (0, ["sample", "rank"])
