"""The network that is trained: a backbone with a fresh head, and which of it learns."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from timm.layers import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cache.errors import ProbelineError
from cache.fingerprint import fingerprint
from pipeline.finetuning.adapters import add_adapters
from pipeline.finetuning.layer_decay import layer_ids
from pipeline.models.features import compute_features
from pipeline.models.networks import LoadedModel
from pipeline.models.running import of_channels
from pipeline.study.finetune import Run

_HEAD_SPREAD = 0.01
"""Standard deviation of the head's initial weights, as in the published study; its bias is 0."""


class Classifier(nn.Module):
    """A backbone, perhaps a BatchNorm, and a linear head.

    Parameters
    ----------
    model : LoadedModel
        Its feature is the head's input; its backbone is trained in place.
    classes : int
    run : Run
        Says which parameters learn; the others, and norms and drop path among them, stay as in
        evaluation.
    seed : int
        Of the head's and the adapters' initial weights.
    place : str
        For errors.

    Attributes
    ----------
    backbone : Module
    head : Module
    image_size : int
        Side of the images, pixels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: LoadedModel, classes: int, run: Run, seed: int, place: str) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.image_size = model.transform.geometry.size
        self._feature = model.feature
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(drawn_from(seed, "head"))
            self.head = _new_head(model.columns, classes, run.batch_norm)
            choose_trained(self.backbone, run, place)
        for name in ("mean", "std"):
            scaled = of_channels(getattr(model.transform, name), torch.device("cpu"))
            self.register_buffer(name, scaled, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores of the classes, of shape (n_images, n_classes).

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, size, size)
            See `normalised`.
        """
        features = compute_features(self.backbone, images, [self._feature])[self._feature]
        scores: torch.Tensor = self.head(features)
        return scores

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """What `forward` takes, of uint8 pixels of shape (n_images, size, size, 3)."""
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def train(self, mode: bool = True) -> Classifier:
        """Training mode for what learns; the rest stays in evaluation mode.

        Else the running statistics of frozen norms would drift to the new data.
        """
        super().train(mode)
        if mode:
            for module in self.backbone.modules():
                own = list(module.parameters())
                if own and not any(parameter.requires_grad for parameter in own):
                    module.eval()
        return self


def _new_head(width: int, classes: int, batch_norm: bool) -> nn.Sequential:
    linear = nn.Linear(width, classes)
    nn.init.normal_(linear.weight, std=_HEAD_SPREAD)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(*([nn.BatchNorm1d(width)] if batch_norm else []), linear)


def choose_trained(backbone: nn.Module, run: Run, place: str) -> None:
    """Set which parameters of a backbone learn.

    Raises
    ------
    ProbelineError
        When adapters are asked for and can't be had.
    """
    backbone.requires_grad_(run.train == "all")
    if run.train == "lora":
        add_adapters(backbone, run.lora_rank, place)
    if run.train == "second_half":
        ids = layer_ids(backbone)
        frozen = max(ids.values()) // 2
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(ids[name] > frozen)


def is_transformer(backbone: nn.Module) -> bool:
    """Whether it is a vision transformer of one resolution: patches, then blocks."""
    return hasattr(backbone, "patch_embed") and hasattr(backbone, "blocks")


def has_batch_norm(module: nn.Module) -> bool:
    """Whether some BatchNorm takes statistics of the batches."""
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())


def takes_one_image(classifier: Classifier) -> bool:
    """Whether a step can be taken on one image: not where it is one value to a BatchNorm."""
    network, size = deepcopy(classifier).train(), classifier.image_size
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, size, size))
    except ValueError:  # PyTorch's, of more than one value per channel
        return False
    return True


def check_drop_path(backbone: Any, rate: float, place: str) -> None:
    """See that every block but the first is passed by with its probability, rising to `rate`.

    Raises
    ------
    ProbelineError
        When the architecture took the setting and did not heed it.
    """
    blocks = list(getattr(backbone, "blocks", []))
    for number, block in enumerate(blocks):
        expected = rate * number / max(1, len(blocks) - 1)
        found = {m.drop_prob for m in block.modules() if isinstance(m, DropPath)} or {0.0}
        if any(abs(probability - expected) > 1e-6 for probability in found):
            raise ProbelineError(
                f"{place}.drop_path",
                f"drop path does not reach block {number} of {type(backbone).__name__}",
                expected=f"{expected:g}",
                found=", ".join(f"{probability:g}" for probability in sorted(found)),
                remedy="set `drop_path: 0.0` in this run",
            )


def drawn_from(*what: int | str) -> int:
    """A seed that only these values determine, below 2^60."""
    return int(fingerprint(list(what))[:15], 16)
