"""The table of scores that people read: its columns, and how its text is written to CSV and read.

Spreadsheets take a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return for
a formula, and run it. Names come from strangers' files, so such text gets an apostrophe in front,
which spreadsheets take for "this is text" (OWASP, "CSV Injection"). `plain` takes it away again:
the pair is a bijection, so that a table that was written and read is the same table. Numbers,
negative ones too, stay as they are.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd

from cache.errors import ProbelineError

SCORE_COLUMNS = (
    "model", "dataset", "protocol", "variant", "metric", "value", "ci_low", "ci_high",
    "n_train", "n_test", "seed", "seconds", "backend", "details",
)  # fmt: skip
"""What a protocol says of one score."""

MODEL_WORDS = ("family", "backbone", "method", "supervision", "kind")
DATASET_WORDS = ("role", "cluster", "shift")
MODEL_SIZES = ("parameters", "dimension")
"""Number of weights, and of features per image."""

CELL_COSTS = ("images", "extraction_seconds")
"""Forward passes behind a model's embeddings of a data set (views included), and their seconds."""

CELL = ("model", "dataset", "protocol", "variant", "metric")
"""What a score is of; rows of the same differ in their seed."""

COLUMNS = (*SCORE_COLUMNS, *MODEL_WORDS, *MODEL_SIZES, *DATASET_WORDS, *CELL_COSTS, "label")
"""Of scores.csv, in order. The last ones repeat what is known of the model, the data set and the
cell, and what the variant is in words, so that the file can be read, or imported elsewhere, on its
own."""

NUMBERS = ("value", "ci_low", "ci_high", "seconds", *MODEL_SIZES, *CELL_COSTS)
WHOLE_NUMBERS = ("n_train", "n_test", "seed")

_RISKY = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if _RISKY.match(text) else text


def plain(text: str) -> str:
    """What `harmless` was given."""
    return text[1:] if _ESCAPED.match(text) else text


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV whose texts are `harmless`."""
    safe = {
        str(name): column.map(lambda cell: harmless(cell) if isinstance(cell, str) else cell)
        for name, column in table.items()
        if not pd.api.types.is_numeric_dtype(column)
    }
    return str(table.assign(**safe).to_csv(index=False, lineterminator="\n"))


def read_scores(path: Path) -> pd.DataFrame:
    """Read scores.csv as it was before it was written.

    Raises
    ------
    ProbelineError
        When it is absent or has other columns.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    except (FileNotFoundError, ValueError):
        raise ProbelineError(
            str(path), "there are no scores yet", remedy="run `dvc repro`, which makes them"
        ) from None
    if tuple(header) != COLUMNS:
        raise ProbelineError(
            str(path),
            "was written by another version",
            expected=f"columns {', '.join(COLUMNS)}",
            found=f"columns {', '.join(header)}",
            remedy="run `dvc repro` (or the stage `collect`)",
        )
    table = pd.DataFrame(rows, columns=header)
    for name in table.columns:
        if name in NUMBERS:
            table[name] = [float(cell or "nan") for cell in table[name]]
        elif name in WHOLE_NUMBERS:
            table[name] = [int(cell) if cell else None for cell in table[name]]
        else:
            table[name] = table[name].map(plain)
    return typed(table)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Every column of `COLUMNS` in its own type: text, float64, or whole numbers with gaps."""
    table = table.reindex(columns=list(COLUMNS))
    kinds = dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(WHOLE_NUMBERS, "Int64")
    return table.astype(kinds)
