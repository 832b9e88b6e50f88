"""Methods that classify: by the data set's labels, or by what was done to the image.

Sources: RotNet, Gidaris et al. 2018, arXiv 1803.07728. Jigsaw, Noroozi and Favaro 2016, arXiv
1603.09246; here, as for transformers, the tiles stay one image and all their orders are told apart.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import nn
from torch.nn import functional

from pipeline.pretraining.encoder import Encoder, Method, Setting

TURNS = 4
"""Quarter turns that RotNet tells apart."""

ORDERS = tuple(permutations(range(4)))
"""All orders of two by two tiles."""


class Random(Method):
    """The control: the backbone as its seed initialised it. It is never trained."""


class Classifying(Method):
    """Cross-entropy of what a linear head says of an image, against what is known of it."""

    separable = True
    head: nn.Linear

    def loss_of(self, *drawn: torch.Tensor) -> torch.Tensor:
        """See `Method.loss_of`."""
        seen, known = drawn
        return functional.cross_entropy(self.head(self.encoder(seen)), known)


class Supervised(Classifying):
    """Tells the labels."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = nn.Linear(encoder.width, setting.classes)

    def drawn(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A view of each image, and its label."""
        return self.views(images), labels


class RotNet(Classifying):
    """Tells which of four quarter turns the image was given."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = nn.Linear(encoder.width, TURNS)

    def drawn(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A turned view of each image, and its turn; the labels are not used."""
        turns = torch.randint(TURNS, (len(images),), device=images.device)
        return quarter_turned(self.views(images), turns), turns


class Jigsaw(Classifying):
    """Tells in which of 24 orders the image's four tiles were laid out."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = nn.Linear(encoder.width, len(ORDERS))

    def drawn(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A view of each image in some order, and that order; the labels are not used."""
        orders = torch.randint(len(ORDERS), (len(images),), device=images.device)
        return shuffled(self.views(images), orders), orders


def quarter_turned(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Each image turned counter-clockwise by so many quarters of a circle.

    Parameters
    ----------
    images : Tensor of shape (n_images, channels, size, size)
    turns : Tensor of shape (n_images,)
    """
    every = torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(images), device=images.device)]


def shuffled(images: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Each image's two by two tiles in one of `ORDERS`; an odd last row or column is cut off.

    Parameters
    ----------
    images : Tensor of shape (n_images, channels, size, size)
    orders : Tensor of shape (n_images,)
        Positions in `ORDERS`; the tile at place p of the result was at place ``order[p]``.
    """
    count, channels, height, width = images.shape
    h, w = height // 2, width // 2
    tiles = images[:, :, : 2 * h, : 2 * w].reshape(count, channels, 2, h, 2, w)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).reshape(count, 4, channels, h, w)
    places = torch.tensor(ORDERS, device=images.device)[orders]
    moved = tiles[torch.arange(count, device=images.device)[:, None], places]
    moved = moved.reshape(count, 2, 2, channels, h, w).permute(0, 3, 1, 4, 2, 5)
    return moved.reshape(count, channels, 2 * h, 2 * w)
