"""What the models find similar: some test images and their nearest train images, as pictures.

The pictures are drawn from the images themselves, so the section is there only where they are. All
of them lie on one sheet, each once, however many models name it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.datasets.index import Index, read_index
from pipeline.datasets.roots import Root
from pipeline.datasets.sources import dataset_root
from pipeline.machine.environment import cpu_count
from pipeline.neighbors.neighbors import Space, spaces
from pipeline.report.inputs import Inputs
from pipeline.report.picture_sheet import Sheet, squared
from pipeline.report.pictures import checked_image
from pipeline.report.remarks import how_drawn
from pipeline.statistics.single_images import nearest_rows
from pipeline.study.schema import Study
from pipeline.study.words import NORMALIZATION_WORDS

QUERIES, NEAREST = 6, 5
"""Test images in all, at most; neighbours of each."""

MOST_PICTURES = 1_000
"""With many models there are fewer test images, at least one: this bounds the page's size."""

MOST_GAPS = 10
"""Reasons that are listed where there are no pictures at all."""

SWITCHED_OFF = "report.thumbnails of params.yaml leaves pictures out"

SHARE = 10
"""Test images are drawn from this part of them (a tenth), on which the models differ most."""


@dataclass(frozen=True)
class Picture:
    """A small picture on the sheet.

    Attributes
    ----------
    position : str
        CSS background-position.
    label : str
        Its class.
    words : str
        For those who do not see it.
    title : str
        The file.
    other : bool
        Whether it is a neighbour of another class than the test image.
    """

    position: str
    label: str
    words: str
    title: str
    other: bool = False


@dataclass(frozen=True)
class Found:
    """What one model finds most similar to a test image, nearest first."""

    model: str
    pictures: tuple[Picture, ...]

    @property
    def same(self) -> int:
        """Neighbours of the test image's class."""
        return sum(not picture.other for picture in self.pictures)


@dataclass(frozen=True)
class Query:
    """A test image."""

    dataset: str
    picture: Picture
    found: tuple[Found, ...]


@dataclass(frozen=True)
class NeighborPictures:
    """What the section says.

    Attributes
    ----------
    queries : tuple of Query
    gaps : tuple of str
        What is not shown, and why.
    space : str
        In which the neighbours are nearest, in words.
    style : str
        CSS with the sheet; empty where there are no pictures.
    how : str
        How the test images were chosen.
    """

    queries: tuple[Query, ...]
    gaps: tuple[str, ...]
    space: str
    style: str
    how: str = ""

    @property
    def withheld(self) -> str:
        """What it would take, and which of it is not there."""
        if self.queries:
            return ""
        more = [f"and {rest} more"] if (rest := len(self.gaps) - MOST_GAPS) > 0 else []
        absent = "; ".join([*self.gaps[:MOST_GAPS], *more])
        return (
            "Nothing to show: it takes the images, the embeddings and the stored neighbours on "
            "this machine." + (f" Not there: {absent}." if absent else "")
            if self.gaps != (SWITCHED_OFF,)
            else f"Nothing to show: {SWITCHED_OFF}."
        )


@dataclass(frozen=True)
class _Images:
    """A data set whose images and neighbours are there.

    Attributes
    ----------
    index : Index
    root : Root
    nearest : dict of str to ndarray of shape (n_val, k)
        Rows of train, by model.
    """

    index: Index
    root: Root
    nearest: dict[str, NDArray[np.int32]]


def section(inputs: Inputs) -> NeighborPictures:
    """Choose test images and make the sheet of pictures."""
    study = inputs.study
    space = spaces(study.neighbors)[0]
    words = f"{space[0]} distance, {NORMALIZATION_WORDS[space[1]]} embeddings"
    if not study.models:
        return NeighborPictures((), ("the study has no models of its own",), words, "")
    if not study.report.pictures:
        return NeighborPictures((), (SWITCHED_OFF,), words, "")
    wanted = min(QUERIES, max(1, MOST_PICTURES // (1 + NEAREST * len(study.models))))
    gaps: list[str] = []
    usable: list[_Images] = []
    names = sorted(study.datasets, key=lambda name: study.datasets[name].role != "in_domain")
    for name in names:
        if len(usable) < wanted:
            usable += _images(study, name, space, gaps)
    sheet = Sheet()
    queries: list[Query] = []
    for place, images in enumerate(usable):
        count = wanted // len(usable) + (place < wanted % len(usable))
        try:
            queries += _queries(images, count, sheet)
        except ProbelineError as error:
            gaps.append(_reason(images.index.name, error))
    style = sheet.style("thumb") if queries else ""
    models = max((len(query.found) for query in queries), default=0)
    return NeighborPictures(tuple(queries), tuple(gaps), words, style, how_drawn(models))


def choose(nearest: Sequence[NDArray[np.bool_]], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Test images, drawn from those on which the models' neighbours differ most.

    Parameters
    ----------
    nearest : sequence of ndarray of shape (n_val, k)
        By model: whether each neighbour is of the test image's class.
    count : int
    seed : int

    Returns
    -------
    ndarray of shape (count,)
        Rows of val, ascending; fewer where there are fewer.
    """
    spread = np.std([same.mean(axis=1) for same in nearest], axis=0).round(9)
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(spread)), -spread))  # equal ones by lot
    differing = order[: max(count, len(order) // SHARE)]
    chosen = rng.choice(differing, min(count, len(differing)), replace=False)
    return np.sort(chosen).astype(np.int64)


def _images(study: Study, name: str, space: Space, gaps: list[str]) -> list[_Images]:
    """A data set with its images and neighbours; none where they are absent, and the reason."""
    entry = study.datasets[name]
    if not entry.has_images:
        gaps.append(f"{name}: only embeddings were imported, no images")
        return []
    if entry.test_only:
        gaps.append(f"{name}: test images only, there are no train images to be near to")
        return []
    nearest: dict[str, NDArray[np.int32]] = {}
    try:
        index = read_index(name)
        with ThreadPoolExecutor(cpu_count()) as pool:  # Parquet is decoded without Python's lock
            rows = list(pool.map(lambda model: _nearest(study, index, model, space), study.models))
        for model, found in zip(study.models, rows, strict=True):
            if isinstance(found, str):
                gaps.append(f"{model} on {name}: {found}")
            else:
                nearest[model] = found
        return [_Images(index, dataset_root(name, entry), nearest)] if nearest else []
    except ProbelineError as error:
        gaps.append(_reason(name, error))
        return []


def _nearest(study: Study, index: Index, model: str, space: Space) -> NDArray[np.int32] | str:
    """Rows of train that are nearest to each val image, shape (n_val, k), or why not."""
    try:
        return nearest_rows(study, index, model, space, "val", NEAREST)
    except ProbelineError as error:
        return error.problem


def _reason(name: str, error: ProbelineError) -> str:
    return f"{name}: {error.problem} ({error.place})"


def _queries(images: _Images, count: int, sheet: Sheet) -> list[Query]:
    """Some test images of one data set, with what every model finds similar."""
    index = images.index
    train, val = index.labels("train"), index.labels("val")
    same = [train[rows] == val[:, np.newaxis] for rows in images.nearest.values()]
    queries = []
    for row in choose(same, count):
        name = index.classes[val[row]]
        picture = Picture(
            _drawn(images, "val", sheet, row),
            name,
            f"test image of class {name}",
            _path(index, "val", row),
        )
        found = tuple(
            Found(
                model,
                tuple(
                    _neighbour(images, sheet, near, number + 1, train[near], val[row])
                    for number, near in enumerate(rows[row])
                ),
            )
            for model, rows in images.nearest.items()
        )
        queries.append(Query(index.name, picture, found))
    return queries


def _neighbour(
    images: _Images, sheet: Sheet, row: int, number: int, own: np.int64, label: np.int64
) -> Picture:
    """A train image, `own` its label, beside a test image of class `label`."""
    other = bool(own != label)
    kind = "another class than the test image" if other else "the same class"
    name = images.index.classes[own]
    words = f"neighbour {number}: class {name}, {kind}"
    position = _drawn(images, "train", sheet, row)
    return Picture(position, name, words, _path(images.index, "train", row), other)


def _path(index: Index, split: str, row: int) -> str:
    return str(index.split(split)["path"].iat[row])


def _drawn(images: _Images, split: str, sheet: Sheet, row: int) -> str:
    """Position on the sheet of an image, which is put there if it is new."""
    digest = str(images.index.split(split)["sha256"].iat[row])
    return sheet.position(
        digest, lambda: squared(checked_image(images.index, images.root, split, row))
    )
