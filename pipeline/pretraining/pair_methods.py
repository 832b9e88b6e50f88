"""Methods that compare two views of an image by one encoder; losses and heads are lightly's.

Sources: SimCLR, Chen et al. 2020, arXiv 2002.05709. SimSiam, Chen and He 2020, arXiv 2011.10566.
SwAV, Caron et al. 2020, arXiv 2006.09882. Barlow Twins, Zbontar et al. 2021, arXiv 2103.03230.
VICReg, Bardes et al. 2021, arXiv 2105.04906.
"""

from __future__ import annotations

import torch
from lightly.loss import (
    BarlowTwinsLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    SwaVLoss,
    VICRegLoss,
)
from lightly.models.modules.heads import (
    BarlowTwinsProjectionHead,
    SimCLRProjectionHead,
    SimSiamPredictionHead,
    SimSiamProjectionHead,
    SwaVProjectionHead,
    SwaVPrototypes,
)
from torch import nn
from torch.nn import functional

from pipeline.pretraining.encoder import Encoder, Method, Setting
from pipeline.study.pretraining import PROJECTED

HIDDEN, OUT = 256, PROJECTED
"""Widths of all projection heads: small, as the backbones are."""


class Pair(Method):
    """Projections of two views by a head, and what a criterion says of them."""

    head: nn.Module
    criterion: nn.Module

    def projections(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of two random views, each of shape (n_images, OUT); one pass through the encoder."""
        features = self.encoder(torch.cat(self.two_views(images)))
        first, second = self.head(features).chunk(2)
        return first, second

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Method.loss`; the labels are not used."""
        loss: torch.Tensor = self.criterion(*self.projections(images))
        return loss


class SimCLR(Pair):
    """Views of one image attract each other, all others in the batch repel."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = SimCLRProjectionHead(encoder.width, HIDDEN, OUT)
        self.criterion = NTXentLoss(temperature=0.2)


class BarlowTwins(Pair):
    """The cross-correlation of two views' projections becomes the identity."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = BarlowTwinsProjectionHead(encoder.width, HIDDEN, OUT)
        self.criterion = BarlowTwinsLoss()


class VICReg(Pair):
    """Views agree, while every projected column keeps its variance and its independence."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = BarlowTwinsProjectionHead(encoder.width, HIDDEN, OUT)
        self.criterion = VICRegLoss()


class SimSiam(Pair):
    """A predictor maps one view's projection to the other's, through which nothing flows back."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = SimSiamProjectionHead(encoder.width, HIDDEN, OUT)
        self.predictor = SimSiamPredictionHead(OUT, OUT // 4, OUT)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Method.loss`; the labels are not used."""
        first, second = self.projections(images)
        one, two = self.predictor(first), self.predictor(second)
        loss: torch.Tensor = self.criterion(one, second.detach())
        loss += self.criterion(two, first.detach())
        return loss / 2


class SwAV(Pair):
    """Each view predicts the other's soft assignment to prototypes, all used alike.

    The prototypes stay where they were drawn: trained from the start, they all become one, as that
    serves assignments that can't be predicted yet. (The paper freezes them for an epoch.)
    """

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        width = below(setting.entry.prototypes)
        self.head = SwaVProjectionHead(encoder.width, HIDDEN, width)
        self.prototypes = SwaVPrototypes(width, setting.entry.prototypes)
        self.prototypes.normalize()
        self.prototypes.requires_grad_(False)
        self.criterion = SwaVLoss()

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Method.loss`; the labels are not used."""
        both = functional.normalize(torch.cat(self.projections(images)), dim=1)
        first, second = self.prototypes(both).chunk(2)
        loss: torch.Tensor = self.criterion([first, second], [])
        return loss.squeeze()


def below(prototypes: int) -> int:
    """A projection's width: too narrow to be orthogonal to all prototypes, which learns nothing."""
    return max(2, min(OUT, prototypes // 2))
