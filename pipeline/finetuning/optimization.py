"""What a step is made of: the optimiser, mixed images, averaged weights, random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.data import Mixup
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim import Optimizer

from pipeline.finetuning.classifier import Classifier, drawn_from
from pipeline.finetuning.layer_decay import parameter_groups
from pipeline.finetuning.recipes import Recipe

_MOMENTUM = 0.9
_BETAS = (0.9, 0.999)


def optimizer_of(classifier: Classifier, recipe: Recipe) -> Optimizer:
    """SGD with momentum, or AdamW, over `parameter_groups`."""
    groups = parameter_groups(classifier.backbone, classifier.head, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, fused=True)
    return torch.optim.AdamW(groups, betas=_BETAS, fused=True)


def mixup_of(recipe: Recipe, classes: int) -> Mixup | None:
    """Timm's mixup and CutMix, with label smoothing; None where the recipe has neither."""
    if not recipe.mixup and not recipe.cutmix:
        return None
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        label_smoothing=recipe.label_smoothing,
        num_classes=classes,
    )


def average_of(classifier: Classifier, recipe: Recipe) -> ModelEmaV3 | None:
    """Timm's exponential mean of the weights, which warms up; None where the recipe has none."""
    return ModelEmaV3(classifier, recipe.ema, use_warmup=True) if recipe.ema else None


def prepared(classifier: Classifier, fabric: Fabric) -> Classifier:
    """The network as several processes need it; one process needs nothing.

    On GPUs, BatchNorms take their statistics over all processes; PyTorch has none such for the
    CPU, where each process takes its own, and the running ones are the first process's. What no
    gradient reaches is frozen: DistributedDataParallel would wait for its gradient.
    """
    if fabric.world_size == 1:
        return classifier
    size = classifier.image_size
    classifier.eval()
    scores = classifier(torch.zeros(1, 3, size, size))
    trained = [p for p in classifier.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(scores.sum(), trained, allow_unused=True)
    for parameter, gradient in zip(trained, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    if fabric.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(classifier)  # type: ignore[no-untyped-call]
    return classifier


@contextlib.contextmanager
def drawing(device: torch.device, *what: int) -> Iterator[None]:
    """Random numbers of `what` alone, so that a run can be continued; timm's mixup uses numpy's."""
    seed = drawn_from("training", *what)
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
