"""The shortcut audit: whether the group of an image (site, camera) stands in for its class.

A model can look right and be wrong elsewhere if the group can be read from its embeddings, and the
group says something about the class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Mask, Words
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.group_drop import group_drop
from pipeline.statistics.group_tests import (
    Agreement,
    Association,
    agreements,
    association,
    crossed,
    robustness,
)
from pipeline.statistics.remembered import remembered
from pipeline.statistics.table import listed

NO_GROUPS = (
    "no data set of this study has groups: name the column of a manifest that holds the site, "
    "camera or patient of each image in `datasets.NAME.columns.group`"
)

NEAREST = 10
"""Neighbours that count: of the same class for agreement, any for the robustness index."""

STORED = 200
"""Of each image's neighbours, those that are looked through."""

QUERIES, JUDGED = 2_000, 5_000
"""Train images whose neighbours are looked at, and that kNN judges, at most: evenly over rows."""

FEWEST = 30
"""Images in classes of several groups, below which nothing is said."""

ALPHA = 0.05
STRONG = 0.1
"""From which on an agreement above chance, or a Cramér's V, is more than a trace."""

ONE_TO_ONE, CLASS_TELLS = "one_to_one", "class_tells"
GROUP_TELLS, CROSSED = "group_tells", "crossed"
FEW, APART, UNREAD, READ, SHORTCUT = "too_few", "inseparable", "not_read", "read", "shortcut"

RULE = (
    f"the group counts as readable where p < {ALPHA:g} and the agreement is at least {STRONG:.0%} "
    f"of the way from chance to 1, and as telling the class where p < {ALPHA:g} and V is at least "
    f"{STRONG:g}; both together are a possible shortcut. Nothing is said of fewer than {FEWEST} "
    "images, or where each class has images of one group only"
)


@dataclass(frozen=True)
class Grouped:
    """A data set with groups.

    Attributes
    ----------
    dataset : str
    labels : ndarray of shape (n_train,)
    groups : ndarray of shape (n_train,)
        Codes; -1 of an image without one.
    names : ndarray of str
        What the codes stand for.
    table : ndarray of shape (n_classes, n_groups)
        Images of both splits that have a group.
    """

    dataset: str
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    names: Words
    table: NDArray[np.int64]

    @property
    def relation(self) -> str:
        """Whether one of class and group follows from the other, among the images at hand."""
        there = self.table > 0
        one_group = bool((there.sum(axis=1)[there.any(axis=1)] == 1).all())
        one_class = bool((there.sum(axis=0)[there.any(axis=0)] == 1).all())
        if one_group:
            return ONE_TO_ONE if one_class else CLASS_TELLS
        return GROUP_TELLS if one_class else CROSSED

    @cached_property
    def association(self) -> Association:
        """How far the group tells the class."""
        return association(self.table, np.random.default_rng(0))

    @property
    def asked(self) -> Mask:
        """Train images with a group, of classes with several groups, some of several images."""
        known = self.groups >= 0
        if not known.any():
            return known
        of_train = crossed(self.labels[known], self.groups[known])
        several = np.zeros(len(self.table), np.bool_)
        several[: len(of_train)] = ((of_train > 0).sum(axis=1) > 1) & (of_train > 1).any(axis=1)
        chosen: Mask = known & several[self.labels]
        return chosen


def group_labels(evidence: Evidence) -> xr.Dataset:
    """Whether the group of an image tells its class, on each data set with groups.

    Returns
    -------
    Dataset
        A row for each data set; variables dataset, v (Cramér's V, corrected), v_plain, p, relation,
        images, without_group, classes, groups.
    """
    found = _grouped(evidence)
    if not found:
        return listed([], withheld=NO_GROUPS)
    rows = []
    for of in found:
        told = of.association
        images = int(of.table.sum())
        total = len(of.labels) + len(evidence.tests[of.dataset].labels)
        rows.append(
            {
                "dataset": of.dataset,
                "v": told.value,
                "v_plain": told.plain,
                "p": told.p,
                "relation": of.relation,
                "images": images,
                "without_group": total - images,
                "classes": np.count_nonzero(of.table.any(axis=1)),
                "groups": np.count_nonzero(of.table.any(axis=0)),
            }
        )
    return listed(
        rows,
        definition="Cramér's V between class and group over the images of both splits, corrected "
        "for what chance gives: 0 where the group says nothing of the class, 1 where it says all",
        p="of random tables with the same numbers of images of each class and group",
        source="Bergsma 2013 (correction); Phipson & Smyth 2010 (p)",
    )


def group_neighbors(evidence: Evidence) -> xr.Dataset:
    """Whether the group can be read from each model's embeddings, and what new groups cost.

    Returns
    -------
    Dataset
        A row for each data set with groups and model; variables dataset, model, agreement, chance,
        strength, p, images; robustness, pairs; accuracy (kNN without as many images by lot),
        held_out (kNN without the image's group), drop, drop_low, drop_high, drop_images,
        drop_groups, drop_over, drop_from; verdict.
    """
    found = _grouped(evidence)
    if not found:
        return listed([], withheld=NO_GROUPS)
    reasons: list[str] = []
    rows = [row for of in found for row in _models(evidence, of, reasons)]
    if not rows:
        return listed([], withheld="; ".join(dict.fromkeys(reasons)))
    level = evidence.settings.confidence
    return listed(
        rows,
        definition="agreement: among the nearest train images of an image's own class (at most "
        f"{NEAREST} of the {STORED} nearest), the share with its group, mean over train images "
        f"(at most {QUERIES:,}, of classes with several groups); chance: the same with groups "
        "dealt out anew within each class; strength: (agreement - chance) / (1 - chance); "
        f"robustness: of the {NEAREST} nearest images that share either the class or the group, "
        "the share that share the class; drop: accuracy of kNN where as many train images of the "
        "same classes are left out by lot, less that where the image's whole group is, on the same "
        f"train images (at most {JUDGED:,})",
        interval=f"of the drop, {level:.0%}: over groups left out one at a time (delete-one-group "
        "jackknife), of fewer than 5 groups over images",
        p="of an agreement as large as this where groups are dealt out within each class, "
        "(b+1)/(B+1)",
        rule=RULE,
        source="Kömen et al. 2025 (arXiv 2507.17845) after de Jong et al. 2025 (arXiv 2501.18055) "
        "for the robustness index; Phipson & Smyth 2010 (p); the agreement is our own",
        **({"withheld": "; ".join(dict.fromkeys(reasons))} if reasons else {}),
    )


def _models(evidence: Evidence, of: Grouped, reasons: list[str]) -> Iterator[dict[str, Any]]:
    if not len(of.labels):
        reasons.append(f"{of.dataset}: test images only, none of train")
        return
    asked = of.asked
    queries: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
    told: list[dict[str, Any]] = []
    for model in evidence.models:
        stored = evidence.images.nearest(of.dataset, model, "train", STORED)
        if isinstance(stored, str):
            reasons.append(f"{model} on {of.dataset}: {stored}")
            continue
        # Of each model only a part is kept: a large data set's neighbours take 100 MB.
        near = stored.thinned(asked[stored.samples], QUERIES)
        queries.append((near.samples, near.indices))
        grouped = of.groups[stored.samples] >= 0
        every = stored.thinned(grouped, QUERIES)
        index = robustness(of.labels, of.groups, every.samples, every.indices[:, :NEAREST])
        judged = stored.thinned(grouped, JUDGED)
        drop = group_drop(evidence, of.dataset, model, judged, of.labels, of.groups)
        told.append(
            {"model": model, "robustness": index.value, "pairs": index.pairs, **drop.columns}
        )
    read = agreements(of.labels, of.groups, queries, np.random.default_rng(0), NEAREST)
    for row, agreement in zip(told, read, strict=True):
        yield {
            "dataset": of.dataset,
            "model": row["model"],
            "agreement": agreement.value,
            "chance": agreement.chance,
            "strength": agreement.strength,
            "p": agreement.p,
            "images": agreement.images,
            **row,
            "verdict": verdict(of.relation, agreement, of.association),
        }


def verdict(relation: str, agreement: Agreement, told: Association) -> str:
    """What the numbers amount to, by `RULE`."""
    if relation in (ONE_TO_ONE, CLASS_TELLS):
        return APART
    if agreement.images < FEWEST:
        return FEW
    if not (agreement.p < ALPHA and agreement.strength >= STRONG):
        return UNREAD
    return SHORTCUT if told.p < ALPHA and told.value >= STRONG else READ


@remembered
def _grouped(evidence: Evidence) -> list[Grouped]:
    """Data sets of which any image has a group."""
    found = []
    for dataset in evidence.datasets():
        if dataset not in evidence.tests:
            continue
        images = evidence.images
        names = [images.groups(dataset, split) for split in ("train", "val")]
        labels = [images.labels(dataset, split) for split in ("train", "val")]
        known, codes = np.unique(np.concatenate(names), return_inverse=True)
        if not known.astype(bool).any():
            continue
        codes = codes.ravel() - (known[0] == "")  # "" comes first: -1
        of_all = np.concatenate(labels)
        has = codes >= 0
        table = crossed(of_all[has], codes[has])
        found.append(
            Grouped(
                dataset,
                labels[0],
                codes[: len(labels[0])].astype(np.int64),
                known[known != ""],
                np.pad(table, ((0, max(0, int(of_all.max()) + 1 - len(table))), (0, 0))),
            )
        )
    return found
