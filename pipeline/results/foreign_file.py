"""One file of scores from elsewhere: read, and checked line by line.

A row is one score. Columns model, dataset, protocol, metric and value are needed; all others of
`pipeline.results.score_table.COLUMNS` are understood. Nothing is guessed: numbers above 1 are
percentages only where the user says so.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.fingerprint import load_json
from pipeline.datasets.settings import Dataset
from pipeline.models.settings import Model
from pipeline.results.foreign_intervals import ENDS, check_intervals
from pipeline.results.foreign_lines import Lines
from pipeline.results.layout import Layout, arranged
from pipeline.results.score_table import (
    CELL,
    CELL_COSTS,
    COLUMNS,
    DATASET_WORDS,
    MODEL_SIZES,
    MODEL_WORDS,
    NUMBERS,
    WHOLE_NUMBERS,
    typed,
)
from pipeline.study import metrics
from pipeline.study.metric import TRANSFERABILITY, Metric
from pipeline.study.seen import Seen

REQUIRED = ("model", "dataset", "protocol", "metric", "value")

VARIANT = "imported"
"""Of scores that name none."""


@dataclass(frozen=True)
class ForeignFile:
    """A checked file.

    Attributes
    ----------
    scores : DataFrame
        With the columns of `pipeline.results.score_table.COLUMNS`. Words that a file gives on one
        row of a model (data set, variant) stand on all of its rows; words that it gives nowhere
        are "".
    unused : tuple of str
        Columns of the file that mean nothing here.
    notes : tuple of str
        What was left out, or believed.
    """

    scores: pd.DataFrame
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_published(paths: Sequence[Path], layout: Layout) -> ForeignFile:
    """Read and check one or several files of some layout.

    Raises
    ------
    ProbelineError
        Naming the lines.
    """
    if layout.is_ours and len(paths) == 1:
        return read_foreign(paths[0], percent=layout.percent, intervals=layout.intervals)
    lines, notes = arranged(paths, layout)
    found = _checked(lines, percent=layout.percent, intervals=layout.intervals)
    return replace(found, notes=(*notes, *found.notes))


def read_foreign(path: Path, *, percent: bool = False, intervals: bool = True) -> ForeignFile:
    """Read and check a file in the long form.

    Parameters
    ----------
    path : Path
    percent : bool
        Whether its rates (accuracies and the like) are percentages.
    intervals : bool
        Whether its intervals are taken; else they are left out unread.

    Raises
    ------
    ProbelineError
        Naming the lines.
    """
    lines = Lines.read(path, COLUMNS, REQUIRED)
    return _checked(lines, percent=percent, intervals=intervals)


def _checked(lines: Lines, *, percent: bool, intervals: bool) -> ForeignFile:
    _check_names(lines)
    lines.refuse_unknown(
        "metric",
        [*_of_metrics(), *TRANSFERABILITY],
        ": nobody knows whether higher is better, and between which ends it lies",
    )
    for name, entry in (("supervision", Model), ("objective", Model), ("role", Dataset)):
        legal = typing.get_args(entry.model_fields[name].annotation)
        lines.refuse_unknown(name, ("", *legal))
    lines.refuse_unknown("seen", ("", *Seen))
    lines.refuse("details", _is_no_object, "is no JSON object", "correct or empty these cells")
    taken = [name for name in NUMBERS if intervals or name not in ENDS]
    numbers = {name: lines.numbers(name) for name in taken if name in lines.columns}
    wholes = {name: lines.wholes(name) for name in WHOLE_NUMBERS if name in lines.columns}
    notes = _check_rates(lines, numbers["value"], percent=percent)
    _check_ranges(lines, numbers["value"])
    check_intervals(lines, numbers)
    if percent:
        numbers |= _fractions(lines, numbers)
    texts = {n: lines.column(n) for n in COLUMNS if n not in (*NUMBERS, *WHOLE_NUMBERS)}
    texts["variant"] = [cell or VARIANT for cell in texts["variant"]]
    texts["details"] = [cell or "{}" for cell in texts["details"]]
    variants = [f"{p}/{v}" for p, v in zip(texts["protocol"], texts["variant"], strict=True)]
    texts["label"] = _one_each(lines, variants, "label", "variant")
    cells = [f"{m} on {d}" for m, d in zip(texts["model"], texts["dataset"], strict=True)]
    texts["seen"] = _one_each(lines, cells, "seen", "model")
    texts |= _words_of(lines, "model", MODEL_WORDS) | _words_of(lines, "dataset", DATASET_WORDS)
    table = typed(pd.DataFrame({**texts, **numbers, **wholes}))
    _check_sizes(lines, table)
    _check_duplicates(lines, table)
    return ForeignFile(table, lines.unused, notes)


def _check_names(lines: Lines) -> None:
    for name in ("model", "dataset", "protocol", "metric"):
        lines.refuse(name, lambda cell: not cell, "is empty", "complete or delete these rows")
    for name in (*CELL, "family", "backbone", "method", "cluster", "shift", "label"):
        lines.refuse(
            name,
            lambda cell: not cell.isprintable(),
            "holds a character that can't be printed",
            "use names without line breaks and control characters",
        )
    # A column of scores is called protocol/variant@data set.
    lines.refuse("protocol", lambda c: "/" in c or "@" in c, "holds / or @", "rename it")
    lines.refuse("variant", lambda cell: "@" in cell, "holds @", "rename it")


def _words_of(lines: Lines, dimension: str, words: Sequence[str]) -> dict[str, list[str]]:
    """The words of each model (or data set), the same on all of its rows."""
    names = lines.columns[dimension]
    return {word: _one_each(lines, names, word, dimension) for word in words}


def _one_each(lines: Lines, names: list[str], word: str, dimension: str) -> list[str]:
    said: dict[str, int] = {}
    cells = lines.column(word)
    for row, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if not cell:
            continue
        first = said.setdefault(name, row)
        if cells[first] != cell:
            raise lines.fault(
                f"{dimension} {name} has two values of {word}",
                found=f"{cells[first]} and {cell} on {lines.at([first, row])}",
                remedy=f"give it one {word}, or two names",
            )
    return [cells[said[name]] if name in said else "" for name in names]


def _check_sizes(lines: Lines, table: pd.DataFrame) -> None:
    """Sizes belong to a model, costs to a model on a data set: one number each."""
    for names, of in ((MODEL_SIZES, ["model"]), (CELL_COSTS, ["model", "dataset"])):
        for name in names:
            cells = lines.column(name)
            lines.refuse_rows(
                (table[name] < 0).tolist(),
                f"{name} is negative",
                cells.__getitem__,
                remedy="correct or empty these cells",
            )
            lines.refuse_rows(
                (table.groupby(of)[name].transform("nunique") > 1).tolist(),
                f"{name} has several values for one {' and '.join(of)}",
                cells.__getitem__,
                remedy="give one value",
            )


def _check_rates(lines: Lines, value: Sequence[float], *, percent: bool) -> tuple[str, ...]:
    """Rates are all fractions, or all percentages; 0 is both. What is said is believed."""
    values = np.array(value)
    cells = lines.columns["value"]
    rate = _rates(lines)
    lines.refuse_rows(
        (rate & ((values < 0) | (values > 100))).tolist(),
        "a rate is outside 0 to 1 (or 0% to 100%)",
        cells.__getitem__,
        remedy="correct or empty these cells",
    )
    percentages = np.flatnonzero(rate & (values > 1))
    fractions = np.flatnonzero(rate & (values > 0) & (values <= 1))
    if percent and len(fractions) and not len(percentages):
        raise lines.fault(
            "the rates are no percentages",
            found=f"{len(fractions):,} values between 0 and 1, and none above",
            remedy="leave out --percent; if they are percentages below 1%, divide them by 100",
        )
    if percent and len(fractions):
        return (
            f"{len(fractions):,} of {int(rate.sum()):,} rates are up to 1, and taken for "
            f"percentages as --percent says ({cells[fractions[0]]} is {cells[fractions[0]]}%)",
        )
    if len(percentages) and len(fractions) and not percent:
        raise lines.fault(
            "percentages are mixed with fractions",
            expected="rates between 0 and 1, or percentages throughout",
            found=f"{len(percentages):,} values above 1 ({lines.at(percentages)}) and "
            f"{len(fractions):,} up to 1 ({lines.at(fractions)})",
            remedy="if all are percentages, those below 1%, too, say so: --percent; else divide "
            "the percentages by 100",
        )
    if len(percentages) and not percent:
        raise lines.fault(
            "the rates are percentages",
            expected="values between 0 and 1",
            found=f"{len(percentages):,} values above 1, and none between 0 and 1",
            remedy="say so: --percent",
        )
    return ()


def _check_ranges(lines: Lines, value: Sequence[float]) -> None:
    """Scores that are no rates lie where their metric can."""
    known, cells = _of_metrics(), lines.columns["value"]
    for name in dict.fromkeys(lines.columns["metric"]):
        if name not in known or known[name].is_share:
            continue
        low, high = known[name].range
        lines.refuse_rows(
            [
                of == name and not (low <= x <= high or np.isnan(x))
                for of, x in zip(lines.columns["metric"], value, strict=True)
            ],
            f"{name} is outside {low:g} to {high:g}",
            cells.__getitem__,
            remedy="correct or empty these cells",
        )


def _of_metrics() -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics.METRICS}


def _rates(lines: Lines) -> NDArray[np.bool_]:
    """Which lines hold a share, that may be written as a percentage."""
    shares = [name for name, metric in _of_metrics().items() if metric.is_share]
    return np.isin(lines.columns["metric"], shares)


def _fractions(lines: Lines, numbers: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Percentages as fractions: the floats nearest to the decimal numbers that the file has."""
    rate = _rates(lines)
    return {
        name: [
            float(Decimal(cell).scaleb(-2)) if is_rate and not np.isnan(number) else number
            for cell, number, is_rate in zip(lines.columns[name], numbers[name], rate, strict=True)
        ]
        for name in ("value", *ENDS)
        if name in numbers
    }


def _check_duplicates(lines: Lines, table: pd.DataFrame) -> None:
    """One score for each cell and seed; a score without a seed stands alone."""
    several = table.duplicated(list(CELL), keep=False)
    bad = several & (table.duplicated([*CELL, "seed"], keep=False) | table["seed"].isna())
    if not bad.any():
        return
    cell = table.loc[bad, list(CELL)].iloc[0]
    rows = np.flatnonzero((table[list(CELL)] == cell).all(axis=1))
    raise lines.fault(
        f"{int(bad.sum()):,} rows are of the same scores",
        expected=f"one row for each {', '.join(CELL)} and seed",
        found=f"{', '.join(cell)} on {lines.at(rows)}",
        remedy="keep one of them, or tell them apart by `seed` or `variant`",
    )


def _is_no_object(cell: str) -> bool:
    try:
        return bool(cell) and not isinstance(load_json(cell), dict)
    except ValueError:
        return True
