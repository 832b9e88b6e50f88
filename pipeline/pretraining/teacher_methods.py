"""Methods with a teacher, a moving average of the student; losses and heads are lightly's.

Sources: MoCo v2, Chen et al. 2020, arXiv 2003.04297. BYOL, Grill et al. 2020, arXiv 2006.07733.
DINO, Caron et al. 2021, arXiv 2104.14294. All heads have BatchNorms, as those of MoCo v3 (Chen et
al. 2021, arXiv 2104.02057), in DINO's in the hidden layers alone.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from lightly.loss import DINOLoss, NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules.heads import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    DINOProjectionHead,
    MoCoProjectionHead,
)
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from pipeline.pretraining.encoder import Encoder, Method, Setting
from pipeline.pretraining.pair_methods import HIDDEN, OUT, below

MOMENTUM = 0.97
"""At the start, rising to 1. Papers' 0.99 to 0.999 had 10^5 steps; here are hundreds."""


class Taught(Method):
    """A student, and a teacher that sees no gradient."""

    def __init__(self, encoder: Encoder, setting: Setting, head: Callable[[], nn.Module]) -> None:
        super().__init__(encoder, setting)
        self.student = nn.Sequential(encoder, head())
        # Its head is built anew: a weight-normalised layer can't be copied.
        self.teacher = nn.Sequential(copy.deepcopy(encoder), head())
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)

    @torch.no_grad()
    def taught(self, images: torch.Tensor) -> torch.Tensor:
        """The teacher's outputs, of shape (n_images, n_outputs)."""
        outputs: torch.Tensor = self.teacher(images)
        return outputs

    def after_step(self, progress: float) -> None:
        """The teacher follows the student, ever more slowly."""
        steps = 1_000_000
        update_momentum(
            self.student, self.teacher, cosine_schedule(int(progress * steps), steps, MOMENTUM, 1.0)
        )


class MoCo(Taught):
    """As SimCLR, with the teacher's view of earlier batches as what repels."""

    remembers = True

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(
            encoder,
            setting,
            lambda: MoCoProjectionHead(encoder.width, HIDDEN, OUT, batch_norm=True),
        )
        self.criterion = NTXentLoss(0.2, memory_bank_size=(setting.entry.queue, OUT))

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Method.loss`; the labels are not used."""
        query, key = self.two_views(images)
        loss: torch.Tensor = self.criterion(self.student(query), self.taught(key))
        return loss


class BYOL(Taught):
    """A predictor maps the student's projection of one view to the teacher's of the other."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting, lambda: BYOLProjectionHead(encoder.width, HIDDEN, OUT))
        self.predictor = BYOLPredictionHead(OUT, HIDDEN, OUT)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Method.loss`; the labels are not used."""
        first, second = self.two_views(images)
        predicted = self.predictor(self.student(torch.cat([first, second])))
        taught = self.taught(torch.cat([second, first]))
        loss: torch.Tensor = self.criterion(predicted, taught)
        return loss


class DINO(Taught):
    """The student's distribution over prototypes follows the teacher's, centred and sharpened."""

    remembers = True

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        prototypes = setting.entry.prototypes
        super().__init__(encoder, setting, lambda: _dino_head(encoder.width, prototypes))
        self.criterion = DINOLoss(prototypes)

    @property
    def kept(self) -> Encoder:
        """The teacher's encoder, which the paper evaluates."""
        kept = self.teacher[0]
        assert isinstance(kept, Encoder)
        return kept

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Method.loss`; the labels are not used."""
        both = torch.cat(self.two_views(images))
        teacher, student = self.taught(both).chunk(2), self.student(both).chunk(2)
        loss: torch.Tensor = self.criterion(list(teacher), list(student))
        return loss


def _dino_head(width: int, prototypes: int) -> DINOProjectionHead:
    with warnings.catch_warnings():
        # lightly uses PyTorch's former weight_norm.
        warnings.simplefilter("ignore", FutureWarning)
        head = DINOProjectionHead(width, HIDDEN, below(prototypes), prototypes, batch_norm=True)
    # For the same reason as in SwAV the prototypes stay as they were drawn.
    head.last_layer.requires_grad_(False)
    return head
