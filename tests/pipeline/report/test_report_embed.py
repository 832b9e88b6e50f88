"""Data inside the page: no browser takes them for markup, and they come out as they went in."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.report.embed import embed, pack

VALUES = st.none() | st.text(max_size=8) | st.integers(-9, 9) | st.booleans()


def unpacked(packed):
    """What the page's script does."""
    if not packed:
        return []
    columns = {
        name: [column["words"][code] for code in column["codes"]]
        if isinstance(column, dict)
        else column
        for name, column in packed.items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def typed(row):
    """1 and True are equal, and not the same."""
    return {name: (type(value), value) for name, value in row.items()}


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=9))
def test_rows_come_out_as_they_went_in(rows):
    found = unpacked(json.loads(json.dumps(pack(rows))))
    assert list(map(typed, found)) == list(map(typed, rows))


@settings(deadline=None)
@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_embedded_data_hold_no_markup_and_read_the_same(data):
    text = str(embed(data))
    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text) == data
