"""Methods that hide patches and reconstruct their pixels; for vision transformers.

The masked encoder and the decoder are lightly's. Sources: MAE, He et al. 2021, arXiv 2111.06377.
SimMIM, Xie et al. 2021, arXiv 2111.09886.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from lightly.models.modules import (
    MaskedVisionTransformerDecoderTIMM,
    MaskedVisionTransformerTIMM,
)
from lightly.models.utils import get_at_index, patchify, random_token_mask
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from cache.errors import ProbelineError
from pipeline.pretraining.encoder import Encoder, Method, Setting

DECODER_WIDTH, DECODER_DEPTH, DECODER_HEADS = 64, 1, 2
"""Of the MAE's decoder, as small as the encoders here."""

HIDDEN_BY_MAE, HIDDEN_BY_SIMMIM = 0.75, 0.6
"""Shares of the patches, from the papers."""


class Masked(Method):
    """A vision transformer that sees some of an image's patches.

    Attributes
    ----------
    criterion : Module
        Of reconstructed and true pixels.
    best : callable
        From images to the picture that has the smallest loss against all of them.
    share : float
        Of the patches, which are hidden.
    """

    separable = True
    criterion: nn.Module
    best: Callable[[torch.Tensor], torch.Tensor]
    share: float

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        # Only moved, as in the MAE's paper: noise is nothing to reconstruct.
        self.views = replace(
            setting.views, contrast=0, brightness=0, saturation=0, noise=0, blur=0, erase=0
        )
        vit = encoder.backbone
        if not isinstance(vit, VisionTransformer) or vit.num_prefix_tokens > 1:
            raise ProbelineError(
                f"{setting.place}.method",
                f"{setting.entry.method} hides patches, and this architecture has none to hide",
                expected="a vision transformer of timm's without registers, e.g. test_vit",
                found=setting.entry.architecture,
                remedy="choose such an architecture, or another method",
            )
        # Weights and positions stay those that the seed drew.
        self.masked = MaskedVisionTransformerTIMM(
            vit, weight_initialization="skip", pos_embed_initialization="skip"
        )
        nn.init.normal_(self.masked.mask_token, std=0.02)
        self.prefix: int = vit.num_prefix_tokens
        self.patch: int = vit.patch_embed.patch_size[0]

    def drawn(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A view of each image, its tokens kept and those hidden; the labels are not used."""
        seen = self.encoder.normalised(self.views(images))
        return seen, *self.hide(len(seen), self.share)

    def hide(self, count: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Random tokens of each image: those kept and those hidden, each (count, n_tokens)."""
        kept, hidden = random_token_mask(
            (count, self.masked.sequence_length),
            mask_ratio=share,
            mask_class_token=self.prefix == 0,
            device=self.encoder.mean.device,
        )
        return kept, hidden

    def chance(self, images: torch.Tensor) -> float:
        """The loss of the best picture that is the same for all images.

        Each pixel of it is what the criterion likes best: the mean, or the median.
        """
        seen = self.encoder.normalised(self.views(images))
        best = self.best(seen).expand_as(seen)
        return float(self.criterion(best, seen))

    def pixels(self, images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """What is to be reconstructed: of each hidden patch, 3 * patch * patch pixels."""
        pixels: torch.Tensor = get_at_index(patchify(images, self.patch), hidden - self.prefix)
        return pixels


class MAE(Masked):
    """The encoder sees a quarter of the patches; a decoder reconstructs the others."""

    criterion = nn.MSELoss()
    share = HIDDEN_BY_MAE
    best = staticmethod(lambda images: images.mean(dim=0))

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.bridge = nn.Linear(encoder.width, DECODER_WIDTH)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=self.masked.sequence_length - self.prefix,
            embed_dim=DECODER_WIDTH,
            depth=DECODER_DEPTH,
            num_heads=DECODER_HEADS,
            num_prefix_tokens=self.prefix,
        )
        self.head = nn.Linear(DECODER_WIDTH, 3 * self.patch**2)

    def loss_of(self, *drawn: torch.Tensor) -> torch.Tensor:
        """See `Method.loss_of`."""
        seen, kept, hidden = drawn
        tokens = self.bridge(self.masked.encode(seen, idx_keep=kept))
        every = self.decoder.mask_token.repeat(len(seen), self.masked.sequence_length, 1)
        every = every.scatter(1, kept[:, :, None].expand_as(tokens), tokens)
        decoded = self.head(get_at_index(self.decoder(every), hidden))
        loss: torch.Tensor = self.criterion(decoded, self.pixels(seen, hidden))
        return loss


class SimMIM(Masked):
    """The encoder sees a placeholder for hidden patches; a linear layer reconstructs them."""

    criterion = nn.L1Loss()
    share = HIDDEN_BY_SIMMIM
    best = staticmethod(lambda images: images.median(dim=0).values)

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = nn.Linear(encoder.width, 3 * self.patch**2)

    def loss_of(self, *drawn: torch.Tensor) -> torch.Tensor:
        """See `Method.loss_of`."""
        seen, _, hidden = drawn
        tokens = get_at_index(self.masked.encode(seen, idx_mask=hidden), hidden)
        loss: torch.Tensor = self.criterion(self.head(tokens), self.pixels(seen, hidden))
        return loss
