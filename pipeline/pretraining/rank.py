"""Has a training collapsed? The rank of its features is a proxy of that, without any label.

What a training has learnt at all, its loss tells first: see `pipeline.pretraining.chance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.machine.device_memory import Pieces
from pipeline.pretraining.collapse import has_collapsed
from pipeline.pretraining.encoder import Encoder
from pipeline.probes.predictor_formulas import rankme

BATCH = 256


@dataclass(frozen=True)
class Rank:
    """The rank of a model's features on the images that it was trained on.

    Attributes
    ----------
    rankme : float
        Effective rank; 1 when all images look the same.
    width : int
        Features per image.
    images : int
    """

    rankme: float
    width: int
    images: int

    @property
    def collapsed(self) -> bool:
        """Whether the features use next to nothing of their width."""
        return bool(has_collapsed(self.rankme, min(self.width, self.images)))


@torch.inference_mode()
def rank_of(encoder: Encoder, images: torch.Tensor) -> Rank:
    """RankMe (Garrido et al. 2023, arXiv 2210.02885) of an encoder in evaluation mode.

    Parameters
    ----------
    encoder : Encoder
    images : uint8 Tensor of shape (n_images, 3, size, size)
    """
    was_training = encoder.training
    encoder.eval()
    device = encoder.mean.device
    pieces = Pieces(BATCH, "the rank of a pre-trained model's features")
    features = torch.cat(
        pieces.through(len(images), lambda rows: encoder(images[rows].to(device).float() / 255))
    )
    encoder.train(was_training)
    return Rank(rankme(features.cpu().numpy()), encoder.width, len(images))
