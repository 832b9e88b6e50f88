"""The images of a pre-training, decoded once and held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cache.errors import ProbelineError
from pipeline.datasets.index import Index
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.loading import BatchLoader
from pipeline.machine.memory import memory_budget
from pipeline.models.transforms import Geometry
from pipeline.pretraining.entries import training_samples
from pipeline.project.section import one_of
from pipeline.study.pretraining import Pretrain
from pipeline.study.schema import Study

_BATCH = 256


@dataclass(frozen=True)
class TrainingImages:
    """What a model is pre-trained on.

    Attributes
    ----------
    pixels : uint8 Tensor of shape (n_images, 3, size, size)
    labels : Tensor of shape (n_images,)
    classes : int
        That the entry is trained on.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    classes: int


def training_images(
    study: Study, entry: Pretrain, index: Index, geometry: Geometry, place: str
) -> TrainingImages:
    """Decode the images that an entry is trained on, as the evaluation of the model sees them.

    Raises
    ------
    ProbelineError
        When there are too few for one batch, for the queue or for the prototypes; or too many
        for the memory.
    """
    check_classes(entry, index.classes, place)
    samples = training_samples(entry, index)
    check_enough(entry, len(samples), place)
    needed = len(samples) * 3 * geometry.size**2
    free = memory_budget()
    if needed > free // 2:
        raise ProbelineError(
            place,
            "the decoded images would take most of the memory",
            expected=f"at most {free // 2:,} bytes",
            found=f"{len(samples):,} images of {needed:,} bytes",
            remedy="lower `share` or `input_size`",
        )
    root = dataset_root(index.name, study.datasets[index.name])
    pixels = np.empty((len(samples), geometry.size, geometry.size, 3), np.uint8)
    starts = range(0, len(samples), _BATCH)
    wanted = [slice(start, min(start + _BATCH, len(samples))) for start in starts]
    loader = BatchLoader(root, samples, [geometry], 0, pad=index.pad, white=index.white)
    for rows, batch in loader.batches(wanted):
        pixels[rows] = batch[geometry]
    names = [name for name in index.classes if not entry.classes or name in entry.classes]
    labels = torch.tensor([names.index(name) for name in samples["class"]])
    return TrainingImages(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels, len(names)
    )


def check_classes(entry: Pretrain, there: Sequence[str], place: str) -> None:
    """Refuse names that the data set does not have.

    Raises
    ------
    ProbelineError
        When a class of the entry is none of the data set's.
    """
    for name in entry.classes:
        if name not in there:
            raise ProbelineError(
                f"{place}.classes",
                f"the data set {entry.dataset} has no such class",
                expected=one_of(name, list(there), "some of"),
                found=name,
                remedy="correct it; `classes: []` takes all",
            )


def check_enough(entry: Pretrain, images: int, place: str) -> None:
    """Refuse a data set on which a method means nothing.

    Raises
    ------
    ProbelineError
        When there are fewer images than in a batch, in MoCo's queue, or prototypes.
    """
    needs = {"batch_size": entry.batch_size}
    if entry.method == "moco":
        needs["queue"] = entry.queue
    if entry.method in ("swav", "dino"):
        needs["prototypes"] = entry.prototypes
    for name, least in needs.items():
        if images < least and entry.method != "random":
            raise ProbelineError(
                f"{place}.{name}",
                f"the data set has fewer train images than `{name}`",
                expected=f"at most {images}",
                found=str(least),
                remedy=f"lower `{name}`, or raise `share` (now {entry.share:g})"
                + (", or take more `classes`" if entry.classes else ""),
            )
