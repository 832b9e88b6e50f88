"""Scores of a probe on some images of a split, and their union as one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.probes.scoring import Outcome, outcome_table
from pipeline.probes.task import Scored


@dataclass(frozen=True)
class Part:
    """One variant on the images that it can be judged on.

    Attributes
    ----------
    rows : list of dict
        See `pipeline.probes.scoring.score_rows`.
    outcome : Outcome
        Of these images alone.
    split : {"train", "val"}
    samples : ndarray of shape (n_judged,)
        Rows of that split.
    """

    rows: list[dict[str, Any]]
    outcome: Outcome
    split: Literal["train", "val"]
    samples: NDArray[np.int64]


def join(parts: Sequence[Part]) -> Scored:
    """All parts as a record; `sample` is a row of the split that column `split` names."""
    table = outcome_table([part.outcome for part in parts])
    if parts:
        samples = np.concatenate([part.samples for part in parts]).astype(np.int32)
        splits = np.repeat(
            [part.split == "val" for part in parts], [len(part.samples) for part in parts]
        )
        names = pa.DictionaryArray.from_arrays(
            pa.array(splits.astype(np.int8)), pa.array(["train", "val"])
        )
        table = table.set_column(table.schema.get_field_index("sample"), "sample", [samples])
        table = table.append_column("split", names)
    return Scored([row for part in parts for row in part.rows], table)
