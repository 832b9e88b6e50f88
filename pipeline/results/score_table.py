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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from cache.errors import ProbelineError
from pipeline.study.seen import Seen


@dataclass(frozen=True)
class ScoreColumn:
    """A column of scores.csv.

    Attributes
    ----------
    name : str
    of : str
        What it tells of: a ``score``, the ``model`` (``model size``: in numbers), the ``dataset``,
        the ``cell`` of embeddings, the model's ``training`` and the data set, the ``variant``.
    meaning : str
    unit : str
        Or the values that it may have.
    kind : str
        ``text``, ``number``, or ``whole`` (a whole number, or nothing).
    """

    name: str
    of: Literal["score", "model", "model size", "dataset", "cell", "training", "variant"]
    meaning: str
    unit: str = ""
    kind: Literal["text", "number", "whole"] = "text"


SCORE_TABLE = (
    ScoreColumn("model", "score", "name in params.yaml, or in an imported file"),
    ScoreColumn("dataset", "score", "data set that the score is on: its val split"),
    ScoreColumn("protocol", "score", "which evaluation"),
    ScoreColumn("variant", "score", "which way of running it, as records call it; see `label`"),
    ScoreColumn("metric", "score", "what is measured"),
    ScoreColumn("value", "score", "the score", "the metric's; accuracies from 0 to 1", "number"),
    ScoreColumn(
        "ci_low", "score", "lower limit of its 95% interval over test images", "as value", "number"
    ),
    ScoreColumn("ci_high", "score", "upper limit of the same", "as value", "number"),
    ScoreColumn("n_train", "score", "images (few-shot: of a draw) learned from", "images", "whole"),
    ScoreColumn("n_test", "score", "test images", "images", "whole"),
    ScoreColumn("seed", "score", "of a draw or training; empty where there is one", "", "whole"),
    ScoreColumn("seconds", "score", "time that the probe took, embeddings given", "s", "number"),
    ScoreColumn("backend", "score", "library that computed it"),
    ScoreColumn("details", "score", "what was tuned or found on the way", "JSON"),
    ScoreColumn("family", "model", "models that share training data or code"),
    ScoreColumn("backbone", "model", "kind of network"),
    ScoreColumn("method", "model", "how it was pre-trained"),
    ScoreColumn("supervision", "model", "what it learned from"),
    ScoreColumn("objective", "model", "what pre-training learns: discriminative or generative"),
    ScoreColumn("parameters", "model size", "weights of the backbone", "weights", "number"),
    ScoreColumn("dimension", "model size", "features per image", "features", "number"),
    ScoreColumn("gmacs", "model size", "multiply-adds of one image", "billions", "number"),
    ScoreColumn(
        "imagenet_top1", "model size", "top-1 on ImageNet, as others published it", "", "number"
    ),
    ScoreColumn("role", "dataset", "of the data set in the study", "in_domain, out_of_domain"),
    ScoreColumn("cluster", "dataset", "data sets that count as one"),
    ScoreColumn("shift", "dataset", "how it differs from the models' training data"),
    ScoreColumn("images", "cell", "forward passes behind the embeddings, views too", "", "number"),
    ScoreColumn("extraction_seconds", "cell", "their time", "s", "number"),
    ScoreColumn(
        "seen",
        "training",
        "what the model saw of the data set when it was trained, if known",
        ", ".join(Seen),
    ),
    ScoreColumn("label", "variant", "what the variant is, in words"),
)
"""The columns of scores.csv, in order. All but the first group repeat what is known of model, data
set and cell, so that the file can be read, or imported elsewhere, on its own."""


def _names(**wanted: str) -> tuple[str, ...]:
    (field, value), *_ = wanted.items()
    return tuple(column.name for column in SCORE_TABLE if getattr(column, field) == value)


COLUMNS = tuple(column.name for column in SCORE_TABLE)
MODEL_WORDS = _names(of="model")
MODEL_SIZES = _names(of="model size")
DATASET_WORDS = _names(of="dataset")
CELL_COSTS = _names(of="cell")
NUMBERS = _names(kind="number")
WHOLE_NUMBERS = _names(kind="whole")

RENAMED = {"kind": "objective"}
"""Columns that have better names now."""

CELL = ("model", "dataset", "protocol", "variant", "metric")
"""What a score is of; rows of the same differ in their seed."""

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
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    return typed(pd.DataFrame({name: _read(name, cells) for name, cells in columns.items()}))


def _read(name: str, cells: Sequence[str]) -> list[float] | list[int | None] | list[str]:
    """A column's values; most texts stand there many times."""
    if name in NUMBERS:
        return [float(cell or "nan") for cell in cells]
    if name in WHOLE_NUMBERS:
        return [int(cell) if cell else None for cell in cells]
    known = {cell: plain(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Every column of `COLUMNS` in its own type: text, float64, or whole numbers with gaps."""
    table = table.reindex(columns=list(COLUMNS))
    kinds = dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(WHOLE_NUMBERS, "Int64")
    return table.astype(kinds)
