"""Which images are train, val or within a limit: each by its own digest and the seed.

An image's place follows from a hash of the seed and of what it is (its group, else its bytes), not
from a stream of random numbers over all images. So an image that is added moves no other, but where
a class would be left without train or val images. Counts are approximate for it: of n images that
stand alone, fraction * n go to val, give or take sqrt(n * fraction * (1 - fraction)).

An index that was made before, by a stream, keeps the split of the images that it knows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.datasets.index import Index
from pipeline.datasets.ledger import LIMITED, Ledger, PassedOver
from pipeline.datasets.samples import missing_groups, stratified_split
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source_list import source_of

RULE = "digest-1"
"""Names the rule below, in the index."""

KEPT = "kept"
"""The rule of an index that goes on with a split of the former kind."""


@dataclass(frozen=True)
class Divided:
    """Samples with their splits.

    Attributes
    ----------
    samples : DataFrame
        With every split given, and without what the limit leaves out.
    splitting : dict
        The rule, the column that tells images apart, and the settings; for the index.
    counts : mapping of str to int
        Images of each split before the limit.
    beyond : tuple of PassedOver
        What the limit leaves out.
    """

    samples: pd.DataFrame
    splitting: dict[str, Any]
    counts: Mapping[str, int]
    beyond: tuple[PassedOver, ...] = ()


def with_splits(samples: pd.DataFrame, dataset: Dataset, former: Index | None = None) -> Divided:
    """Split what the source does not split itself, and apply the limit.

    Parameters
    ----------
    samples : DataFrame
        Columns path, sha256, class, split (all null where the source names none) and group.
    dataset : Dataset
    former : Index, optional
        Of the same data set. If a stream of random numbers made it, with the same settings, the
        images that it knows stay where they are.
    """
    settings = {
        "seed": dataset.seed,
        "val_fraction": dataset.val_fraction,
        "limit": dataset.limit_per_class,
    }
    kept = former is not None and _is_kept(former, settings)
    known = _known_splits(samples, former) if kept and former is not None else None
    by = source_of(dataset).split_by
    what = samples[by]
    if samples["split"].isna().all():
        samples = samples.assign(
            split="val"
            if dataset.test_only
            else stable_split(
                samples["class"],
                split_units(what, samples["group"]),
                dataset.val_fraction,
                dataset.seed,
                _with_left_out(samples, known, former, dataset.limit_per_class),
            )
        )
    counts = Counter(samples["split"])
    beyond = Ledger()
    if dataset.limit_per_class is not None:
        first = None if known is None else known.notna()
        lowest = lowest_hashes(samples, what, dataset.limit_per_class, dataset.seed, first)
        beyond.add_paths(LIMITED, samples["path"][~lowest])
        samples = samples[lowest].reset_index(drop=True)
    splitting = {"rule": KEPT if kept else RULE, "by": by, **settings}
    return Divided(samples, splitting, counts, beyond.passed_over())


def split_units(what: pd.Series, groups: pd.Series) -> pd.Series:
    """What goes to a split as one: a group, or an image that stands alone; the same bytes always.

    Parameters
    ----------
    what : Series of shape (n_samples,)
        What tells images apart: digests.
    groups : Series of shape (n_samples,)
        Null or "" where an image stands alone.

    Returns
    -------
    Series of shape (n_samples,) of str
        Groups that share an image are one unit, named by the first of their names.
    """
    alone = missing_groups(groups)
    images = "image " + what.astype(str)
    if alone.all():
        return images
    units, names = pd.factorize(images.where(alone, "group " + groups.astype(object).astype(str)))
    nodes = len(names) + pd.factorize(what)[0]
    links = coo_array((np.ones(len(units), np.int8), (units, nodes)), shape=(nodes.max() + 1,) * 2)
    joined = connected_components(links, directed=False)[1][: len(names)]
    first = pd.Series(np.asarray(names, dtype=object)).groupby(joined).min()  # a group's before
    return pd.Series(first.to_numpy()[joined[units]], index=what.index)


def hashes(what: Sequence[str] | pd.Series, seed: int, purpose: str) -> NDArray[np.float64]:
    """For each text a number in [0, 1) that the seed, the purpose and the text alone determine."""
    start = f"{purpose}\0{seed}\0".encode()
    numbers, texts = pd.factorize(pd.Series(what))
    found = [
        hashlib.sha256(start + str(t).encode("utf-8", "surrogatepass")).digest() for t in texts
    ]
    top = np.frombuffer(b"".join(d[:8] for d in found), ">u8").astype(np.uint64)
    values: NDArray[np.float64] = (top >> np.uint64(11)).astype(np.float64) / 2.0**53
    return values[numbers]


def stable_split(
    classes: pd.Series,
    units: pd.Series,
    val_fraction: float,
    seed: int,
    known: pd.Series | None = None,
) -> NDArray[np.object_]:
    """Val is what hashes below the fraction.

    A class without a train image gets back its unit of the highest hash; one without a val image
    gives its unit of the lowest hash that leaves every class a train image. A class of one unit is
    train.

    Parameters
    ----------
    classes, units : Series of shape (n_samples,)
    val_fraction : float
    seed : int
    known : Series of shape (n_samples,), optional
        The split of images that stay where they are; null for all others, which join those of
        their unit.
    """
    if known is not None and known.notna().any():
        joins = known.fillna(units.map(known.groupby(units).first()))
        # A former split may have divided a unit: its parts stay apart.
        units = units.astype(str) + "\0" + joins.fillna("").astype(str)
    else:
        joins = None
    codes, names = pd.factorize(units)
    bare = [str(name).partition("\0")[0] for name in names]
    value = hashes(bare, seed, "split")
    in_val = value < val_fraction
    fixed = np.zeros(len(names), bool)
    if joins is not None:
        of_unit = joins.groupby(codes).first()
        fixed = of_unit.notna().to_numpy()
        in_val = np.where(fixed, (of_unit == "val").to_numpy(), in_val)
    labels = pd.factorize(classes, sort=True)[0]
    _give_every_class_both(codes, labels, in_val, value, fixed)
    return np.where(in_val[codes], "val", "train").astype(object)


def _give_every_class_both(
    codes: NDArray[np.intp],
    labels: NDArray[np.intp],
    in_val: NDArray[np.bool_],
    value: NDArray[np.float64],
    fixed: NDArray[np.bool_],
) -> None:
    """Move units, in place, so that every class has train images and, if it can, val images."""
    pairs = pd.DataFrame({"unit": codes, "label": labels}).drop_duplicates()
    by_label = _Members(pairs["label"].to_numpy(), pairs["unit"].to_numpy())
    by_unit = _Members(pairs["unit"].to_numpy(), pairs["label"].to_numpy())
    n_classes, of_pair = int(labels.max()) + 1, in_val[pairs["unit"].to_numpy()]
    n_val = np.bincount(pairs["label"][of_pair], minlength=n_classes)
    n_train = np.bincount(pairs["label"][~of_pair], minlength=n_classes)
    for label in np.flatnonzero(n_train == 0).tolist():
        if not n_train[label]:  # else by a unit of several classes, moved for another
            units = by_label[label]
            unit = units[np.lexsort((-value[units], fixed[units]))[0]]
            in_val[unit] = False
            n_train[by_unit[unit]] += 1
            n_val[by_unit[unit]] -= 1
    for label in np.flatnonzero(n_val == 0).tolist():
        units = by_label[label] if not n_val[label] else np.empty(0, np.intp)
        for unit in units[np.lexsort((value[units], fixed[units]))]:
            if (n_train[by_unit[unit]] > 1).all():
                in_val[unit] = True
                n_train[by_unit[unit]] -= 1
                n_val[by_unit[unit]] += 1
                break


class _Members:
    """What belongs to a number, among pairs of numbers: sorted arrays, for millions of them."""

    def __init__(self, of: NDArray[np.intp], members: NDArray[np.intp]) -> None:
        order = np.argsort(of, kind="stable")
        self._of, self._members = of[order], members[order]

    def __getitem__(self, number: int) -> NDArray[np.intp]:
        start, stop = np.searchsorted(self._of, [number, number + 1])
        found: NDArray[np.intp] = self._members[start:stop]
        return found


def lowest_hashes(
    samples: pd.DataFrame,
    what: pd.Series,
    limit: int,
    seed: int,
    first: pd.Series | None = None,
) -> NDArray[np.bool_]:
    """At most `limit` images of each class in each split: those of the lowest hashes.

    Parameters
    ----------
    samples : DataFrame
    what : Series of shape (n_samples,)
    limit : int
    seed : int
    first : Series of shape (n_samples,) of bool, optional
        Images that are taken before all others.
    """
    ranked = pd.DataFrame(
        {
            "split": samples["split"],
            "class": samples["class"],
            "later": False if first is None else ~first.to_numpy(),
            "value": hashes(what, seed, "limit"),
            "path": samples["path"],
        }
    ).sort_values(["later", "value", "path"], kind="stable")
    place = ranked.groupby(["split", "class"]).cumcount().sort_index()
    keep: NDArray[np.bool_] = (place < limit).to_numpy()
    return keep


def _is_kept(former: Index, settings: Mapping[str, Any]) -> bool:
    """Whether the images that a former index knows stay in its split."""
    if former.splitting:
        recorded = {name: former.splitting.get(name) for name in settings}
        return former.splitting.get("rule") == KEPT and recorded == dict(settings)
    if settings["limit"] is not None or former.skipped:
        return True  # it does not say by which settings; what it left out can't be asked
    rows = former.table
    as_it_was = stratified_split(
        rows["class"], settings["val_fraction"], settings["seed"], rows["group"]
    )
    # Where these settings give another split, the source named it, or they have changed.
    return bool((rows["split"] == as_it_was).all())


def _with_left_out(
    samples: pd.DataFrame, known: pd.Series | None, former: Index | None, limit: int | None
) -> pd.Series | None:
    """What a former index knows, and what its limit may have left out.

    That can't be told from new images. It was train where train is full: the rule, which would
    take some of it for val, would enlarge a val split that was complete.
    """
    if known is None or former is None or limit is None:
        return known
    rows = former.table
    in_train = rows[rows["split"] == "train"].groupby("class").size()
    still = (known == "train").groupby(samples["class"]).sum()
    full = {*in_train.index[in_train >= limit], *still.index[still >= limit]}
    return known.mask(known.isna() & samples["class"].isin(full), "train")


def _known_splits(samples: pd.DataFrame, former: Index) -> pd.Series:
    """The split of each image that a former index knows: by path and bytes, else by its bytes."""
    rows = former.table
    by_bytes = rows.drop_duplicates("sha256").set_index("sha256")["split"]
    by_both = rows.set_index(["path", "sha256"])["split"]
    places = pd.MultiIndex.from_frame(samples[["path", "sha256"]])
    found = pd.Series(by_both.reindex(places).to_numpy(), index=samples.index, dtype=object)
    return found.fillna(samples["sha256"].map(by_bytes))
