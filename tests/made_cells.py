"""Cells of the cache with values that a test makes up, and tasks on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from projects import study_of

from cache.cell import Cell
from cache.writer import CellWriter
from pipeline.probes.task import Task
from pipeline.project.paths import cell_address
from pipeline.study.schema import Study


def make_cell(split, values, labels, *, model="made") -> Cell:
    """A whole cell of data set ``clouds`` below the current folder, stored in float32."""
    address = cell_address("clouds", model, split)
    with CellWriter(
        address,
        key={"split": split, "made": float(values.sum()), "labels": labels.tolist()},
        ids=[f"{row:05d}" for row in range(len(values))],
        labels=labels,
        columns=values.shape[1],
        dtype="float32",
    ) as writer:
        for chunk in writer.missing:
            writer.write(chunk, values[writer.rows_of(chunk)], seconds=1.0)
        assert writer.commit()
    return Cell.open(address)


def make_task(train, train_labels, val, val_labels, *, model="made") -> Task:
    """A task of both splits; classes are those of train."""
    classes = tuple(str(label) for label in range(int(train_labels.max()) + 1))
    return Task(
        "clouds",
        model,
        make_cell("train", train, train_labels, model=model),
        make_cell("val", val, val_labels, model=model),
        classes,
    )


def make_study(neighbors, knn) -> Study:
    """A study that asks for these neighbours and votes."""
    return Study.model_validate(
        study_of(
            datasets={"clouds": {"source": "folder", "path": "none", "role": "in_domain"}},
            models={"made": {"architecture": "none", "weights": "random(0)"}},
            neighbors=neighbors,
            knn=knn,
        )
    )


def clouds(seed, n=90, d=12, classes=4, shift=0.0):
    """Noisy clouds of points, float32, and their labels; the same centres for every seed."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    centres = np.random.default_rng(99).normal(0, 0.7, (classes, d))
    features = centres[labels] + rng.normal(0, 1, (n, d)) + shift
    return features.astype(np.float32), labels.astype(np.int64)


def left_overs(folder: Path) -> list[Path]:
    """Half-written files."""
    return sorted(folder.rglob("*.partial"))
