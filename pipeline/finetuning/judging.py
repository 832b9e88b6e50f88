"""Scores of images by a network in evaluation mode, spread over the processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.finetuning.classifier import Classifier
from pipeline.finetuning.images import batches_of
from pipeline.finetuning.job import Labelled


def log_probabilities(
    classifier: Classifier,
    batches: Iterable[NDArray[np.uint8]],
    device: torch.device,
    precision: contextlib.AbstractContextManager[object] | None = None,
) -> torch.Tensor:
    """Natural logarithms, of shape (n_images, n_classes), float32, on the CPU.

    Parameters
    ----------
    classifier : Classifier
        Is left in evaluation mode.
    batches : iterable of ndarray of shape (n_images, size, size, 3)
    device : torch.device
    precision : context manager, optional
        In which the network runs.
    """
    classifier.eval()
    parts = []
    with torch.inference_mode(), precision or contextlib.nullcontext():
        for pixels in batches:
            images = classifier.normalised(torch.from_numpy(pixels).to(device))
            parts.append(functional.log_softmax(classifier(images).float(), dim=1).cpu())
    return torch.cat(parts)


def judge(
    classifier: Classifier, images: Labelled, fabric: Fabric, size: int
) -> tuple[float, float] | tuple[None, None]:
    """Share of hits and mean cross-entropy on a hold-out; None for an empty one.

    Parameters
    ----------
    classifier : Classifier
    images : Labelled
        As the evaluation sees them.
    fabric : Fabric
        Each of its processes takes a part; each image is counted once.
    size : int
        Images run together.
    """
    if not len(images):
        return None, None
    mine = np.arange(len(images))[fabric.global_rank :: fabric.world_size]
    found = torch.zeros(2, device=fabric.device)
    if len(mine):
        parts = np.split(mine, range(size, len(mine), size))
        batches = batches_of(parts, images.pixels.__getitem__, 0)
        scores = log_probabilities(classifier, batches, fabric.device, fabric.autocast())
        labels = torch.from_numpy(images.labels[mine])
        found[0] = (scores.argmax(dim=1) == labels).sum()
        found[1] = functional.nll_loss(scores, labels, reduction="sum")
    hits, loss = fabric.all_reduce(found, reduce_op="sum").tolist()
    return hits / len(images), loss / len(images)
