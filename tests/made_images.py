"""What models say of single images, made up: predictions, embeddings, neighbours and groups."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from made_cubes import make_cube, make_evidence

from pipeline.neighbors.votes import Voting
from pipeline.statistics.evidence import Hits, ValSplit
from pipeline.statistics.single_images import NO_IMAGES, Nearest, Said, SingleImages

VARIANT = "linear/ridge_none"
TARGET = "d1"


class MadeImages(SingleImages):
    """Of one data set, `TARGET`; whatever is not given is not there."""

    def __init__(
        self, models, labels, predicted, confidence=None, classes=None, features=None,
        train=None, groups=None, voting=None, variant=VARIANT, left_out=None,
    ):  # fmt: skip
        self.models = tuple(models)
        self.val = np.asarray(labels, np.int64)
        self.predicted = np.asarray(predicted, np.int32)
        nothing = np.full(self.predicted.shape, np.nan)
        self.confidence = np.asarray(nothing if confidence is None else confidence, np.float32)
        self.names = classes or tuple(f"class{i}" for i in range(int(self.val.max()) + 1))
        self.features = features
        self.train = train  # labels, and embeddings by model
        self.of_groups = groups or {}
        self.voting = voting or Voting(5, "uniform")
        self.variant, self.recorded = variant, left_out

    def said(self, variant, dataset):
        if dataset != TARGET or variant.full_name != self.variant:
            return super().said(variant, dataset)
        return Said(self.models, self.predicted, self.confidence)

    def classes(self, dataset):
        return self.names

    def digests(self, dataset):
        rng = np.random.default_rng(1)
        return [f"{d:08x}" for d in rng.permutation(len(self.val))]

    def labels(self, dataset, split):
        if dataset != TARGET:
            return super().labels(dataset, split)
        return self.val if split == "val" else self.train[0]

    def groups(self, dataset, split):
        size = len(self.labels(dataset, split))
        return np.asarray(self.of_groups.get(split, [""] * size), np.str_)

    def embeddings(self, dataset, model, rows):
        return NO_IMAGES if self.features is None else self.features[model][rows]

    def nearest(self, dataset, model, split, most):
        if self.train is None or model not in self.train[1]:
            return "no neighbours are stored"
        bank = self.train[1][model]
        queries = bank if split == "train" else self.features[model]
        distances = np.sqrt(((queries[:, None] - bank[None]) ** 2).sum(axis=2))
        if split == "train":
            np.fill_diagonal(distances, np.inf)
        order = np.argsort(distances, axis=1, kind="stable")[:, : min(most, len(bank) - 1)]
        found = np.take_along_axis(distances, order, axis=1)
        return Nearest(np.arange(len(queries), dtype=np.int32), order.astype(np.int32), found)

    def left_out(self, dataset, model):
        return self.recorded if self.recorded is not None else f"nobody left out {dataset}"


def evidence_of(images, *, variants=(VARIANT,), words=None):
    """Evidence of `MadeImages`, with a cube of two data sets; the second is the target."""
    made = _evidence(images.models, tuple(variants), tuple((words or {}).items()))
    split = ValSplit(
        tuple(f"{i}.png" for i in range(len(images.val))), images.val, 10, len(images.names), ()
    )
    no_hits = Hits((), np.zeros((0, len(images.val)), np.float32))  # tests of pairs take long
    return replace(made, images=images, tests={TARGET: split}, read_hits=lambda *_: no_hits)


@cache
def _evidence(models, variants, words):
    accuracy = np.full((len(models), 2, len(variants)), 0.5)
    return make_evidence(
        make_cube(accuracy, list(variants), **dict(words)).assign_coords(model=list(models))
    )


def rows_of(table):
    """A statistic as a list of rows."""
    return table.to_dataframe().to_dict("records")
