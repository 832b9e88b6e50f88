"""Tables of samples: made of files, split, limited, and turned back into files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.roots import Entry


def sample_table(
    entries: list[Entry],
    classes: list[str],
    splits: list[str | None],
    groups: Sequence[str | None] | None = None,
) -> pd.DataFrame:
    """A row per file: columns path, offset, bytes, class, split and group (None: not given)."""
    return pd.DataFrame(
        {
            "path": [e.path for e in entries],
            "offset": [e.offset for e in entries],
            "bytes": [e.size for e in entries],
            "class": classes,
            "split": pd.Series(splits, dtype=object),
            "group": np.array(groups or [None] * len(entries), dtype=object),
        }
    )


def entries_of(samples: pd.DataFrame) -> list[Entry]:
    """The files that an index's rows name."""
    columns = (samples["path"], samples["offset"], samples["bytes"])
    return [Entry(p, int(o), int(b)) for p, o, b in zip(*columns, strict=True)]


def stratified_split(classes: pd.Series, val_fraction: float, seed: int) -> NDArray[np.object_]:
    """A seeded split of every class: round(fraction * n) to val, at least one and not all.

    A class of one image goes to train.
    """
    rng = np.random.default_rng(seed)
    split = np.full(len(classes), "train", dtype=object)
    for _, rows in sorted(classes.groupby(classes).indices.items()):
        count = min(max(round(val_fraction * len(rows)), 1), len(rows) - 1)
        split[rng.permutation(rows)[:count]] = "val"
    return split


def limited(samples: pd.DataFrame, limit: int, seed: int) -> NDArray[np.bool_]:
    """At most `limit` images of each class in each split, by a seeded draw."""
    rng = np.random.default_rng(seed)
    keep = np.zeros(len(samples), dtype=bool)
    for _, rows in sorted(samples.groupby(["split", "class"]).indices.items()):
        keep[rng.permutation(rows)[:limit]] = True
    return keep
