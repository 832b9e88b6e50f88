"""Which columns of a Parquet file are features: those that are declared, or beyond doubt.

A label's number, a fold or a row's number among the features decides an evaluation, and nobody
sees it. So features are one column of lists, or one series of numbered columns, or columns with a
decimal point that are all of one type; whatever is left over and could be meant is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.project.foreign_files import explain_reading

ROLES = ("id", "class", "label", "group")
"""Columns that say what a row is."""

_ROW_NUMBERS = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name."""

_NO_FEATURES = {
    *("label", "labels", "class", "classes", "target", "y", "fold", "split", "index", "idx", "id"),
    *("group", "unnamed", "labelid", "classid"),
}
"""Words of names that features do not have."""

_SHOWN = 8


@dataclass(frozen=True)
class FeatureColumns:
    """The columns that hold the features.

    Attributes
    ----------
    names : tuple of str
        One of lists, or one for each feature, in order.
    unused : tuple of str
        Columns that mean nothing here.
    """

    names: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """The columns in a few words."""
        if len(self.names) == 1:
            return f"column {self.names[0]}"
        if len(self.names) <= _SHOWN:
            return f"columns {', '.join(self.names)}"
        return f"columns {', '.join(self.names[:3])} … {self.names[-1]}"


def choose_features(schema: pa.Schema, declared: Sequence[str], place: str) -> FeatureColumns:
    """The feature columns of a file.

    Parameters
    ----------
    schema : Schema
    declared : sequence of str
        Names, or patterns like ``f*``; none where the file must speak for itself.
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        When it is not clear which columns are features.
    """
    named = [n for n in schema.names if n not in ROLES and not _ROW_NUMBERS.fullmatch(n)]
    lists = [n for n in named if _is_list(schema.field(n).type)]
    scalars = [n for n in named if _is_number(schema.field(n).type)]
    if declared:
        chosen = _declared(schema, declared, [n for n in named if n in {*lists, *scalars}], place)
    else:
        chosen = _evident(schema, lists, scalars, place)
    unused = (n for n in schema.names if n not in chosen and n not in ROLES)
    return FeatureColumns(tuple(chosen), tuple(unused))


def _declared(
    schema: pa.Schema, patterns: Sequence[str], numeric: Sequence[str], place: str
) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in numeric):
            raise ProbelineError(
                place,
                f"--features {pattern} matches no column of numbers",
                expected=f"one of {_some(numeric)}" if numeric else "",
                found=f"columns {_some(schema.names)}",
                remedy="correct the pattern",
            )
    chosen = [name for name in numeric if any(fnmatchcase(name, p) for p in patterns)]
    if len(chosen) > 1 and any(_is_list(schema.field(name).type) for name in chosen):
        raise ProbelineError(
            place,
            "--features matches a column of lists and another column",
            found=_some(chosen),
            remedy="name the one column of lists",
        )
    return chosen


def _evident(schema: pa.Schema, lists: list[str], scalars: list[str], place: str) -> list[str]:
    series = _series(scalars)
    if len(lists) == 1 and not series:
        return lists
    if lists:
        raise _unclear(place, f"{_some([*lists, *(s[0] for s in series)])}, each of which could be")
    doubtful = _doubtful(scalars)
    if len(series) == 1 and not _doubtful(series[0]):
        if left := [name for name in scalars if name not in series[0]]:
            raise _unclear(place, f"{series[0][0]} … {series[0][-1]}, and also {_some(left)}")
        return series[0]
    kinds = {schema.field(name).type for name in scalars}
    if not series and not doubtful and len(kinds) == 1 and pa.types.is_floating(*kinds):
        return scalars
    if not scalars:
        raise ProbelineError(
            place,
            "has no column of numbers",
            expected="one column for each feature, or one column of lists",
            found=f"columns {_some(schema.names)}",
            remedy="see `probeline cache import --help`",
        )
    raise _unclear(place, f"{_some(doubtful or scalars)} among {len(scalars)} columns of numbers")


def _unclear(place: str, found: str) -> ProbelineError:
    return ProbelineError(
        place,
        "it is not clear which columns are features",
        expected="one column of lists, or columns numbered f0, f1 … and no further numbers",
        found=found,
        remedy="say which, e.g. --features 'f*'; or take the other columns out",
    )


def _series(names: Sequence[str]) -> list[list[str]]:
    """Columns numbered without gaps from 0 or 1, by their stem, in the order of the numbers."""
    stems: dict[str, dict[int, str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?)(\d+)", name):
            stems.setdefault(match[1], {})[int(match[2])] = name
    return [
        [of[number] for number in sorted(of)]
        for of in stems.values()
        if len(of) > 1 and max(of) - min(of) + 1 == len(of) and min(of) in (0, 1)
    ]


def _doubtful(names: Sequence[str]) -> list[str]:
    return [n for n in names if _NO_FEATURES & set(re.split(r"[^a-z]+", n.lower()))]


def read_features(file: pq.ParquetFile, chosen: FeatureColumns, place: str) -> NDArray[np.generic]:
    """The features of a file, in their own type (float64 where types differ).

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        NaN where a value is missing.

    Raises
    ------
    ProbelineError
        When lists differ in length, or the file is damaged.
    """
    blocks = []
    with explain_reading(place, "its features can't be read", "copy it again, or save it anew"):
        row = 0
        for batch in file.iter_batches(columns=list(chosen.names)):
            table = pa.Table.from_batches([batch])
            if _is_list(table.schema.field(0).type):
                blocks.append(_of_lists(table.column(0), place, row))
            else:
                columns = [table.column(name).to_numpy() for name in chosen.names]
                blocks.append(np.stack(columns, axis=1))
            row += batch.num_rows
    widths = {block.shape[1] for block in blocks}
    if len(widths) > 1:
        raise _other_lengths(place, sorted(widths))
    return np.concatenate(blocks) if blocks else np.empty((0, len(chosen.names)), np.float32)


def _of_lists(column: pa.ChunkedArray, place: str, first: int) -> NDArray[np.generic]:
    lists = column.combine_chunks()
    if isinstance(lists, pa.ExtensionArray):
        lists = lists.storage
    if lists.null_count:
        row = first + lists.is_valid().to_pylist().index(False)
        raise ProbelineError(
            place,
            "a row has no features",
            found=f"row {row + 1}",
            remedy="export that row again, or leave it out",
        )
    lengths = set(lists.value_lengths().to_pylist())
    if len(lengths) > 1:
        raise _other_lengths(place, sorted(lengths))
    values: NDArray[np.generic] = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), -1)


def _other_lengths(place: str, lengths: Sequence[int]) -> ProbelineError:
    return ProbelineError(
        place,
        "rows have different numbers of features",
        found=", ".join(map(str, lengths[:5])),
        remedy="export all rows with the same model",
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_list(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    listed = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in listed) and _is_number(kind.value_type)


def _some(names: Sequence[str]) -> str:
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: _SHOWN - 1])} … {names[-1]} ({len(names)} in all)"
