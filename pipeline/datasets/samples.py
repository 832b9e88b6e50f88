"""Tables of samples: made of files, split, limited, and turned back into files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.datasets.roots import Entry


@dataclass(frozen=True)
class Found:
    """What a source finds in its root.

    Attributes
    ----------
    table : DataFrame
        See `sample_table`.
    filtered : sequence of sequence of str
        Of each row that a filter leaves out, how its path below the root may be spelled.
    lists : collection of str
        Files of the root that say what is in it.
    other_splits : mapping of str to int
        Images of splits that are neither train nor val.
    """

    table: pd.DataFrame
    filtered: Sequence[Sequence[str]] = ()
    lists: Collection[str] = ()
    other_splits: Mapping[str, int] = field(default_factory=dict)


def sample_table(
    entries: Sequence[Entry],
    classes: Sequence[str],
    splits: Sequence[str | None],
    groups: Sequence[str | None] | None = None,
) -> pd.DataFrame:
    """A row per file: columns path, offset, bytes, class, split and group (None: not given)."""
    return pd.DataFrame(
        {
            "path": [e.path for e in entries],
            "offset": [e.offset for e in entries],
            "bytes": [e.size for e in entries],
            "class": classes,
            "split": pd.Series(list(splits), dtype=object),
            "group": np.array(groups or [None] * len(entries), dtype=object),
        }
    )


def entries_of(samples: pd.DataFrame) -> list[Entry]:
    """The files that an index's rows name."""
    columns = (samples["path"], samples["offset"], samples["bytes"])
    return [Entry(p, int(o), int(b)) for p, o, b in zip(*columns, strict=True)]


def stratified_split(
    classes: pd.Series, val_fraction: float, seed: int, groups: pd.Series | None = None
) -> NDArray[np.object_]:
    """A seeded split of every class: round(fraction * n) to val, at least one and not all.

    A class of one image goes to train. Where images have groups (site, camera, patient), all
    images of a group go to the same split, and the counts are as near to that as groups allow.

    Parameters
    ----------
    classes : Series of shape (n_samples,)
    val_fraction : float
    seed : int
    groups : Series of shape (n_samples,), optional
        An image whose group is null or "" is a group of its own.
    """
    rng = np.random.default_rng(seed)
    if groups is not None and not missing_groups(groups).all():
        return _split_of_groups(classes, val_fraction, rng, groups)
    split = np.full(len(classes), "train", dtype=object)
    for _, rows in sorted(classes.groupby(classes).indices.items()):
        count = min(max(round(val_fraction * len(rows)), 1), len(rows) - 1)
        split[rng.permutation(rows)[:count]] = "val"
    return split


def _split_of_groups(
    classes: pd.Series, val_fraction: float, rng: np.random.Generator, groups: pd.Series
) -> NDArray[np.object_]:
    """Groups in random order go to val while that brings the classes' shares nearer.

    Near is the sum over classes of (share of the class in val - fraction)^2. A group that does not
    bring them nearer never will, as val only grows; so none is left that could. A group that holds
    the last train images of a class stays in train.
    """
    names, labels = pd.factorize(classes)[0], pd.factorize(groups.where(~missing_groups(groups)))[0]
    alone = labels < 0
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    total = np.bincount(names)
    rows_of = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    split = np.full(len(classes), "train", dtype=object)
    taken = np.zeros(len(total), np.int64)
    nearest_miss: tuple[float, NDArray[np.intp]] = (np.inf, np.empty(0, np.intp))
    for group in rng.permutation(len(rows_of)):
        rows = rows_of[group]
        own, counts = np.unique(names[rows], return_counts=True)
        if (taken[own] + counts == total[own]).any():
            continue
        share = counts / total[own]
        change = float((share * (share + 2 * (taken[own] / total[own] - val_fraction))).sum())
        if change < 0:
            split[rows] = "val"
            taken[own] += counts
        elif change < nearest_miss[0]:
            nearest_miss = change, rows
    if not taken.any():  # all groups are large: rather a val split too large than none
        split[nearest_miss[1]] = "val"
    return split


def missing_groups(groups: pd.Series) -> pd.Series:
    """Which images have no group; in a CSV file, an empty field."""
    return groups.isna() | (groups == "")
