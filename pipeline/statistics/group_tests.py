"""Tests on groups of images (sites, cameras, patients): with the class, and among neighbours.

Arrays in, numbers out. Labels and groups are codes from 0; neighbours are rows of the same arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats

Codes = NDArray[np.int64]
Rows = NDArray[np.int32]

PERMUTATIONS = 999
MOST_CELLS = 2_000_000
"""Of all random tables together: with very many classes and groups there are fewer of them."""

LEAST_TABLES = 199


@dataclass(frozen=True)
class Association:
    """How far groups tell classes.

    Attributes
    ----------
    value : float
        Cramér's V with Bergsma's correction, 0 to 1; NaN where either does not vary.
    plain : float
        Without the correction; 1 where one of the two follows from the other.
    p : float
        Of a V as large as this by chance.
    """

    value: float
    plain: float
    p: float


def association(table: NDArray[np.int64], rng: np.random.Generator) -> Association:
    """Cramér's V between class and group, tested against random tables with the same margins.

    Parameters
    ----------
    table : ndarray of shape (n_classes, n_groups)
        Images of each; rows and columns without any do not matter.
    rng : Generator

    References
    ----------
    Bergsma 2013, "A bias-correction for Cramér's V and Tschuprow's T"; Phipson & Smyth 2010 for p.
    """
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return Association(np.nan, np.nan, np.nan)
    margins = table.sum(axis=1), table.sum(axis=0)
    observed = _phi2(table[np.newaxis], *margins)[0]
    n = table.sum()
    plain = float(np.sqrt(observed / (min(rows, columns) - 1)))
    corrected = max(0.0, observed - (rows - 1) * (columns - 1) / (n - 1))
    sizes = rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)
    room = min(sizes) - 1
    value = float(min(1.0, np.sqrt(corrected / room))) if room > 0 else np.nan
    draws = int(np.clip(MOST_CELLS // table.size, LEAST_TABLES, PERMUTATIONS))
    random = scipy.stats.random_table(*margins).rvs(draws, random_state=rng)
    above = np.count_nonzero(_phi2(random, *margins) >= observed * (1 - 1e-12))
    return Association(value, plain, (above + 1) / (draws + 1))


def crossed(labels: Codes, groups: Codes) -> NDArray[np.int64]:
    """How many images there are of each class (rows) and group (columns)."""
    shape = labels.max() + 1, groups.max() + 1
    counts: NDArray[np.int64] = np.bincount(
        labels * shape[1] + groups, minlength=shape[0] * shape[1]
    ).reshape(shape)
    return counts


def _phi2(tables: NDArray[np.number], rows: Codes, columns: Codes) -> Floats:
    """Chi-squared over the number of images, of tables of shape (n_tables, rows, columns)."""
    n = rows.sum()
    expected = np.outer(rows, columns) / n
    found: Floats = (np.square(tables - expected) / expected).sum(axis=(1, 2)) / n
    return found


@dataclass(frozen=True)
class Agreement:
    """How far the group of an image is that of its nearest images of the same class.

    Attributes
    ----------
    value : float
        Mean over images of the share of such neighbours with the same group.
    chance : float
        Its mean where groups are dealt out anew within each class.
    p : float
        Of a value as large as this by chance.
    images : int
        That have such neighbours.
    """

    value: float
    chance: float
    p: float
    images: int

    @property
    def strength(self) -> float:
        """What the value is above chance, of what it could be: 0 by chance, 1 for groups apart."""
        return (self.value - self.chance) / (1 - self.chance) if self.chance < 1 else np.nan


def agreements(
    labels: Codes,
    groups: Codes,
    found: Sequence[tuple[Rows, Rows]],
    rng: np.random.Generator,
    most: int,
    permutations: int = PERMUTATIONS,
) -> list[Agreement]:
    """Whether groups can be read from neighbours within a class, for several models at once.

    Groups are permuted within each class, over all images alike: neighbours stay who they are, so
    classes, sizes of groups and the shape of the embeddings are those of the null, too.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    groups : ndarray of shape (n,)
        -1 for an image without one, which is nobody's neighbour here.
    found : sequence of (ndarray of shape (n_queries,), ndarray of shape (n_queries, k))
        By model: rows of the queries and of their neighbours, nearest first.
    rng : Generator
        The same permutations serve all models.
    most : int
        Neighbours of the same class that count.
    permutations : int
    """
    graphs = [_within(labels, groups, *of, most) for of in found]
    observed = np.array([_agreement(groups, *graph) for graph in graphs])
    known = np.flatnonzero(groups >= 0)
    place = known[np.argsort(labels[known], kind="stable")]  # classes end to end
    of_class = labels[place]
    above, total = np.zeros(len(graphs)), np.zeros(len(graphs))
    dealt = groups.copy()
    for _ in range(permutations):
        order = np.argsort(of_class + rng.random(len(place)))  # within each class, by lot
        dealt[place] = groups[place[order]]
        drawn = np.array([_agreement(dealt, *graph) for graph in graphs])
        above += drawn >= observed - 1e-12
        total += drawn
    return [
        Agreement(
            float(observed[at]),
            float(total[at] / permutations),
            float((above[at] + 1) / (permutations + 1)),
            len(graph[0]),
        )
        if len(graph[0])
        else Agreement(np.nan, np.nan, np.nan, 0)
        for at, graph in enumerate(graphs)
    ]


Graph = tuple[Rows, Rows, Floats]
"""Queries, their neighbours of shape (n_queries, most), and what each neighbour counts; 0: none."""


def _within(labels: Codes, groups: Codes, queries: Rows, nearest: Rows, most: int) -> Graph:
    """Each query's first neighbours of its own class that have a group."""
    counted = labels[nearest] == labels[queries][:, np.newaxis]
    counted &= (groups[nearest] >= 0) & (groups[queries] >= 0)[:, np.newaxis]
    counted &= np.cumsum(counted, axis=1) <= most
    kept = counted.any(axis=1)
    queries, nearest, counted = queries[kept], nearest[kept], counted[kept]
    first = np.argsort(~counted, axis=1, kind="stable")[:, :most]
    nearest = np.take_along_axis(nearest, first, axis=1)
    chosen = np.take_along_axis(counted, first, axis=1)
    return queries, nearest, chosen / chosen.sum(axis=1, keepdims=True)


def _agreement(groups: Codes, queries: Rows, nearest: Rows, weights: Floats) -> float:
    if not len(queries):
        return np.nan
    same = groups[nearest] == groups[queries][:, np.newaxis]
    return float((same * weights).sum() / len(queries))


@dataclass(frozen=True)
class Robustness:
    """Whether neighbours share the class rather than the group.

    Attributes
    ----------
    value : float
        SO / (SO + OS): of the neighbours that share either the class or the group and not both,
        the share that share the class. 1: the group does not matter, 0: nothing else does. NaN
        where there are none of these.
    pairs : int
        SO + OS.
    """

    value: float
    pairs: int


def robustness(labels: Codes, groups: Codes, queries: Rows, nearest: Rows) -> Robustness:
    """The robustness index over the neighbours given.

    References
    ----------
    Kömen et al. 2025, "Towards robust foundation models for digital pathology" (PathoROB, arXiv
    2507.17845), after de Jong, Marcus & Teuwen 2025 (arXiv 2501.18055). They choose k by its
    accuracy and leave out images of the same slide; here k is fixed.
    """
    same_class = labels[nearest] == labels[queries][:, np.newaxis]
    same_group = groups[nearest] == groups[queries][:, np.newaxis]
    known = (groups[nearest] >= 0) & (groups[queries] >= 0)[:, np.newaxis]
    classes = int(np.count_nonzero(same_class & ~same_group & known))
    of_groups = int(np.count_nonzero(~same_class & same_group & known))
    pairs = classes + of_groups
    return Robustness(classes / pairs if pairs else np.nan, pairs)
