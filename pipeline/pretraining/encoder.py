"""What all pre-training methods share: an encoder of pixels, and the interface of a method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.models.networks import LoadedModel
from pipeline.pretraining.views import Augmentation
from pipeline.study.pretraining import Pretrain


class Encoder(nn.Module):
    """A backbone that takes pixels as they are in the data, and does its own normalisation.

    Attributes
    ----------
    backbone : Module
        A timm model without classifier.
    width : int
        Features per image.
    size : int
        Side of the images, pixels.
    mean, std : Tensor of shape (3, 1, 1)
        Of the model's evaluation transform, for pixels in [0, 1].
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.width = model.columns
        self.size = model.transform.geometry.size
        for name, values in (("mean", model.transform.mean), ("std", model.transform.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """The backbone's input for images of shape (n_images, 3, size, size) in [0, 1]."""
        return (images - self.mean) / self.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of shape (n_images, width): what the classifier head would get."""
        features: torch.Tensor = self.backbone(self.normalised(images))
        return features


@dataclass(frozen=True)
class Setting:
    """What a method is built from, beside its encoder.

    Attributes
    ----------
    entry : Pretrain
    classes : int
        Of the data set, for the one method that may see labels.
    views : Augmentation
    place : str
        Of the entry, for errors.
    """

    entry: Pretrain
    classes: int
    views: Augmentation
    place: str


class Method(nn.Module):
    """A way of pre-training: a loss on a batch, and what is done after each step.

    Everything that training changes is a parameter or a buffer, so that a run can be continued.

    Attributes
    ----------
    encoder : Encoder
        Is trained.
    views : Augmentation
    remembers : bool
        Whether a loss depends on earlier batches.
    separable : bool
        Whether a loss is a mean over images that know nothing of each other: then it is `loss_of`
        what is `drawn`, and parts of a batch give the same.
    """

    remembers = False
    separable = False

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = setting.views

    @property
    def kept(self) -> Encoder:
        """The encoder whose backbone becomes the checkpoint."""
        return self.encoder

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch.

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, size, size), in [0, 1]
        labels : Tensor of shape (n_images,)
            Of the data set's classes; only the supervised method looks at them.

        Returns
        -------
        Tensor of shape ()
        """
        return self.loss_of(*self.drawn(images, labels))

    def drawn(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All that chance makes of a batch: tensors of n_images entries each, for `loss_of`."""
        raise NotImplementedError

    def loss_of(self, *drawn: torch.Tensor) -> torch.Tensor:
        """The mean loss of some images of a batch, by what was drawn for them."""
        raise NotImplementedError

    def chance(self, images: torch.Tensor) -> float | None:
        """The loss of knowing nothing of the image, where only the images tell; None elsewhere.

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, size, size), in [0, 1]
        """
        return None

    def two_views(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two independent augmentations of the same images, each of the images' shape."""
        return self.views(images), self.views(images)

    def after_step(self, progress: float) -> None:
        """Whatever follows a step of the optimiser; `progress` in (0, 1] of the training."""
