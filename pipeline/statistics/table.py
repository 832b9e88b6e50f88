"""The table that a statistic is: columns over labelled dimensions, or why there is none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pipeline.statistics.arrays import Floats

Labels = Mapping[str, Collection[Any]]
"""The dimensions of a table in their order, each with its labels."""

ROW = "row"
"""The one dimension of tables whose rows are images, classes or pairs of them."""


def blank(labels: Labels, names: Iterable[str]) -> dict[str, Floats]:
    """Columns of numbers of which none is known yet: all NaN."""
    shape = tuple(map(len, labels.values()))
    return {name: np.full(shape, np.nan) for name in names}


def blank_words(labels: Labels, names: Iterable[str]) -> dict[str, NDArray[np.object_]]:
    """Columns of words of which none is said yet: all empty."""
    shape = tuple(map(len, labels.values()))
    return {name: np.full(shape, "", object) for name in names}


def fill(columns: Mapping[str, NDArray[Any]], place: Any, values: Mapping[str, Any]) -> None:
    """Write values into the columns of their names, all at the same place.

    Parameters
    ----------
    columns : mapping of str to ndarray
    place : index
        As NumPy takes it.
    values : mapping of str to number or ndarray
        Of some of the columns; the others stay as they are.
    """
    for name, value in values.items():
        columns[name][place] = value


def tabled(
    labels: Labels,
    columns: Mapping[str, ArrayLike],
    beside: Mapping[str, tuple[str, ArrayLike]] | None = None,
    /,
    **attributes: Any,
) -> xr.Dataset:
    """Columns as the table of a statistic.

    Parameters
    ----------
    labels : mapping of str to collection
        See `Labels`.
    columns : mapping of str to array_like
        Each with all the dimensions.
    beside : mapping of str to (str, array_like), optional
        What else is said of the labels of a dimension: the dimension, and a word for each label.
    **attributes : str or number
        What was done: ``definition``, ``source``, ``interval``, ``withheld`` and what is its own.
    """
    dims = tuple(labels)
    return xr.Dataset(
        {name: (dims, values) for name, values in columns.items()},
        coords={name: list(of) for name, of in labels.items()} | dict(beside or {}),
        attrs=attributes,
    )


def listed(rows: Sequence[Mapping[str, Any]], **attributes: str) -> xr.Dataset:
    """Rows as a table with the one dimension `ROW`; all of them have the same columns, text as is.

    Of no rows, no variables: whoever calls says why in ``withheld``.
    """
    if not rows:
        return xr.Dataset(attrs=attributes)
    values = {name: [row[name] for row in rows] for name in rows[0]}
    columns = {
        name: np.array(of, object if isinstance(of[0], str) else np.float64)
        for name, of in values.items()
    }
    return tabled({ROW: range(len(rows))}, columns, **attributes)


def withheld(definition: str, reason: str) -> xr.Dataset:
    """No variables; what the statistic would be, and why there is none of it here.

    Parameters
    ----------
    definition : str
    reason : str
        Without a subject: the report says "Withheld: REASON."
    """
    return xr.Dataset(attrs={"definition": definition, "withheld": reason})
