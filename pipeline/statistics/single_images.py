"""What is known of single images: what models said of them, and where their embeddings lie.

Read when a statistic asks, and only what it asks for: one variant's outcomes, some rows of a cell,
a few neighbours. Nothing of it needs torch, and what is not there is a reason in words: a clone
may have results without embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.fingerprint import differences
from cache.records import Record, read_record
from pipeline.datasets.index import Index
from pipeline.datasets.settings import Split
from pipeline.embeddings.cells import open_all_cells, open_cells
from pipeline.neighbors.neighbors import Space, matrix_of, neighbors_key, spaces
from pipeline.neighbors.votes import Voting
from pipeline.probes.knn_variants import space_of, voting_of
from pipeline.probes.reading import read_rows
from pipeline.project.paths import neighbors_path
from pipeline.results.current import Current
from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.study.protocol_list import find_protocol
from pipeline.study.schema import Study
from pipeline.study.transfer import TRANSFER, held_out, transferred_knn
from pipeline.study.variant import Variant

NO_IMAGES = "there are no outcomes of single images"


@dataclass(frozen=True)
class Said:
    """What one variant says of each test image, by model.

    Attributes
    ----------
    models : tuple of str
        Those that have outcomes.
    predicted : ndarray of shape (n_models, n_test), int32
        Label; -1 of an image that was not judged.
    confidence : ndarray of shape (n_models, n_test), float32
        Probability of that label; NaN where the variant gives none.
    """

    models: tuple[str, ...]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]


@dataclass(frozen=True)
class Nearest:
    """The nearest train images of some images of one split.

    Attributes
    ----------
    samples : ndarray of shape (n_queries,)
        Rows of the queries in their split. Train images are never their own neighbours.
    indices : ndarray of shape (n_queries, k)
        Rows of train, nearest first.
    distances : ndarray of shape (n_queries, k), float64
    """

    samples: NDArray[np.int32]
    indices: NDArray[np.int32]
    distances: Floats

    def thinned(self, wanted: Mask, most: int) -> Nearest:
        """At most so many of the wanted queries, evenly over them."""
        rows = np.flatnonzero(wanted)
        if len(rows) > most:
            rows = rows[(np.arange(most) * len(rows)) // most]
        return Nearest(self.samples[rows], self.indices[rows], self.distances[rows])


@dataclass(frozen=True)
class LeftOut:
    """A kNN variant's answers on train images whose whole group was left out of the neighbours.

    Attributes
    ----------
    samples : ndarray of shape (n_judged,)
        Rows of train.
    right : ndarray of shape (n_judged,), bool
    """

    samples: NDArray[np.int32]
    right: Mask


class SingleImages:
    """Of a study that has none: what evidence made in memory starts from."""

    voting: Voting | None = None
    """How the neighbours vote whose groups are left out in turn; None where a study has no kNN."""

    def said(self, variant: Variant, dataset: str) -> Said:
        """What a variant says of the test images; without models where nothing is stored."""
        return Said((), np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32))

    def classes(self, dataset: str) -> tuple[str, ...]:
        """Names of the classes; a label is a position in it."""
        return ()

    def digests(self, dataset: str) -> list[str]:
        """SHA-256 of each test image; "" of samples without an image."""
        return []

    def labels(self, dataset: str, split: Split) -> NDArray[np.int64]:
        """Label of each image of a split."""
        return np.zeros(0, np.int64)

    def groups(self, dataset: str, split: Split) -> Words:
        """Group of each image of a split; "" of those without one."""
        return np.zeros(0, np.str_)

    def embeddings(
        self, dataset: str, model: str, rows: NDArray[np.int64]
    ) -> NDArray[np.float32] | str:
        """Embeddings of some test images, rows ascending; or why they are not there."""
        return NO_IMAGES

    def nearest(self, dataset: str, model: str, split: Split, most: int) -> Nearest | str:
        """The `most` nearest train images of a split's images; or why they are not there."""
        return NO_IMAGES

    def left_out(self, dataset: str, model: str) -> LeftOut | str:
        """What the transfer protocol stored of groups left out in turn; or why there is nothing."""
        return NO_IMAGES


class StoredImages(SingleImages):
    """Those of a study, as its stages stored them.

    Parameters
    ----------
    study : Study
    current : Current
    """

    def __init__(self, study: Study, current: Current) -> None:
        self._study, self._current = study, current
        probes = transferred_knn(study)
        self._probe = probes[0] if probes else None
        self.voting = None if self._probe is None else voting_of(self._probe)

    def said(self, variant: Variant, dataset: str) -> Said:
        """See `SingleImages`. Few-shot answers once a draw, so nothing of it is told here."""
        protocol = find_protocol(variant.protocol)
        if protocol is not None and protocol.drawn:  # outcomes of draws have other columns, too
            return SingleImages.said(self, variant, dataset)
        n_test = len(self.labels(dataset, "val"))

        def read(record: Record) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
            return _answers(_of_variant(record, variant, "val"), n_test)

        found = self._current.read_each(variant.protocol, dataset, read)
        shape = (len(found), n_test)
        return Said(
            tuple(found),
            np.array([a for a, _ in found.values()], np.int32).reshape(shape),
            np.array([c for _, c in found.values()], np.float32).reshape(shape),
        )

    def classes(self, dataset: str) -> tuple[str, ...]:
        """See `SingleImages`."""
        return self._current.index(dataset).classes

    def digests(self, dataset: str) -> list[str]:
        """See `SingleImages`."""
        return self._current.index(dataset).digests("val")

    def labels(self, dataset: str, split: Split) -> NDArray[np.int64]:
        """See `SingleImages`."""
        return self._current.index(dataset).labels(split)

    def groups(self, dataset: str, split: Split) -> Words:
        """See `SingleImages`."""
        return self._current.index(dataset).groups(split)

    def embeddings(
        self, dataset: str, model: str, rows: NDArray[np.int64]
    ) -> NDArray[np.float32] | str:
        """See `SingleImages`."""
        try:
            cell = open_all_cells(self._study, self._current.index(dataset), model)["val"]
            return np.asarray(read_rows(cell, rows), np.float32)
        except ProbelineError as error:
            return f"{error.place}: {error.problem}"

    def nearest(self, dataset: str, model: str, split: Split, most: int) -> Nearest | str:
        """See `SingleImages`; in the space of the kNN that is transferred."""
        probe = self._probe
        space = spaces(self._study.neighbors)[0] if probe is None else space_of(probe)
        try:
            return stored_nearest(
                self._study, self._current.index(dataset), model, space, split, most
            )
        except ProbelineError as error:
            return f"{error.place}: {error.problem}"

    def left_out(self, dataset: str, model: str) -> LeftOut | str:
        """See `SingleImages`."""
        if self._probe is None or dataset not in self._study.transfer.sources:
            return f"transfer.sources does not name {dataset}"
        record = self._current.record(TRANSFER.name, dataset, model)
        if record is None:
            return "the stage transfer has no record of it"
        table = _of_variant(record, held_out(self._probe), "train", ("sample", "rank"))
        if not len(table):
            return "its groups can't be left out in turn"
        return LeftOut(table["sample"].to_numpy(), table["rank"].to_numpy() == 1)


def _of_variant(
    record: Record,
    variant: Variant,
    split: Split,
    columns: tuple[str, ...] = ("sample", "predicted", "confidence"),
) -> pa.Table:
    """A variant's outcomes; those of transfer are of images of either split."""
    if variant.protocol != TRANSFER.name:
        return record.outcomes_where("variant", variant.name, columns)
    table = record.outcomes_where("variant", variant.name, (*columns, "split"))
    here = [name == split for name in table["split"].to_pylist()]
    return table.filter(pa.array(here, pa.bool_())).select(list(columns))


def _answers(table: pa.Table, n_test: int) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """Prediction and confidence by image; None where there is none, or one for each of many draws.

    Outcomes of more images than there are were made for others: `read_hits` refuses these first.
    """
    samples = table["sample"].to_numpy()
    if not len(samples) or samples.max() >= n_test or len(np.unique(samples)) != len(samples):
        return None
    predicted = np.full(n_test, -1, np.int32)
    confidence = np.full(n_test, np.nan, np.float32)
    predicted[samples] = table["predicted"].to_numpy()
    confidence[samples] = table["confidence"].to_numpy()
    return predicted, confidence


def stored_nearest(
    study: Study, index: Index, model: str, space: Space, split: Split, most: int
) -> Nearest | str:
    """The nearest train images of a split's images as the stage stored them, or why not.

    Raises
    ------
    ProbelineError
        When the embeddings are not what the study asks for, or the record is damaged.
    """
    table = _neighbors(study, index, model, space, split, most, ("indices", "distances"))
    if isinstance(table, str):
        return table
    return Nearest(
        table["sample"], table["indices"].astype(np.int32), table["distances"].astype(np.float64)
    )


def nearest_rows(
    study: Study, index: Index, model: str, space: Space, split: Split, most: int
) -> NDArray[np.int32] | str:
    """Rows of train that are nearest to each image of a split, in its order; or why not.

    As `stored_nearest`, but distances, which are most of the file, are not read.
    """
    table = _neighbors(study, index, model, space, split, most, ("indices",))
    if isinstance(table, str):
        return table
    return table["indices"].astype(np.int32)[np.argsort(table["sample"])]


def _neighbors(
    study: Study,
    index: Index,
    model: str,
    space: Space,
    split: Split,
    most: int,
    lists: Sequence[str],
) -> dict[str, NDArray[Any]] | str:
    """The samples, and of each list the first `most` values of each sample."""
    train, val = open_cells(study, index, model)
    record = read_record(neighbors_path(index.name, model, *space))
    if record is None:
        return "no neighbours are stored"
    if differences(record.key, neighbors_key(study.neighbors, space, train, val)):
        return "the stored neighbours are of other embeddings or settings"
    table = record.outcomes_where("split", split, ("sample", *lists))
    kept = min(most, next(facts["k"] for facts in record.scores if facts["split"] == split))
    found = {name: matrix_of(table[name])[:, :kept] for name in lists}
    return {"sample": table["sample"].to_numpy(), **found}
