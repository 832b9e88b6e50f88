"""SGD heads that see the same input, as one stack: a GEMM for all, and a clip for each.

One GEMM of (batch, d) with (d, heads x classes) replaces a narrow GEMM a head. BatchNorm's
statistics do not depend on the head, so the batch is normalised once; each head's own scale γ and
shift β are folded into its first layer, W·diag(γ) and b + W·β. Gradients are clipped head by head,
and a head that diverges spoils no other: every sum runs within one head.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

MOMENTUM = 0.9
CLIP = 0.5
"""Largest norm of one head's gradient, over all its parameters."""
BN_EPSILON = 1e-5
BN_MOMENTUM = 0.1
SMALLEST_LOG_PROBABILITY = -69.0
"""In gradients: 1e-30 is nothing beside the true class's, but a GEMM on the subnormal numbers of
confident heads takes four times as long (measured on an AVX-512 CPU)."""


@dataclass
class Stack:
    """Heads that see the same input; every parameter has the heads as its first axis.

    Attributes
    ----------
    places : list of int
        Where these heads stand among all.
    rates : Tensor of shape (n_heads,)
        Base learning rates.
    weights : list of Tensor of shape (n_heads, n_out, n_in)
        A layer each; ReLU between layers.
    biases : list of Tensor of shape (n_heads, n_out)
    scale, shift : Tensor of shape (n_heads, n_features), or None
        BatchNorm's γ and β.
    """

    places: list[int]
    rates: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    scale: Tensor | None = None
    shift: Tensor | None = None
    _momenta: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        for parameter in self.parameters():
            parameter.requires_grad_()
        self._momenta = [torch.zeros_like(p) for p in self.parameters()]

    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        affine = [p for p in (self.scale, self.shift) if p is not None]
        return [*self.weights, *self.biases, *affine]

    def logits(self, inputs: Tensor) -> Tensor:
        """Class scores of shape (n_rows, n_heads, n_classes); BatchNorm's are normalised rows."""
        weight, bias = self.weights[0], self.biases[0]
        if self.scale is not None and self.shift is not None:
            bias = bias + torch.matmul(weight, self.shift.unsqueeze(2)).squeeze(2)
            weight = weight * self.scale.unsqueeze(1)
        flat = torch.addmm(bias.flatten(), inputs, weight.flatten(0, 1).t())
        scores = flat.view(len(inputs), len(self.places), -1)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            hidden = functional.relu(scores).transpose(0, 1)
            scores = torch.baddbmm(bias.unsqueeze(1), hidden, weight.mT).transpose(0, 1)
        return scores

    def step(self, inputs: Tensor, labels: Tensor, rate: float) -> Tensor:
        """One step of every head at `rate` x its base; its losses before, shape (n_heads,)."""
        parameters = self.parameters()
        scores = self.logits(inputs)
        losses, slopes = cross_entropy(scores.detach(), labels)
        gradients = torch.autograd.grad(scores, parameters, slopes)
        with torch.no_grad():
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            shrink = (CLIP / (norms + 1e-6)).clamp(max=1.0)  # torch.nn.utils.clip_grad_norm_'s
            for parameter, momentum, gradient in zip(
                parameters, self._momenta, gradients, strict=True
            ):
                column = (-1, *[1] * (parameter.ndim - 1))
                momentum.mul_(MOMENTUM).addcmul_(gradient, shrink.view(column))
                parameter.addcmul_(momentum, self.rates.view(column), value=-rate)
        return losses

    def finite(self) -> Tensor:
        """Whether all of a head's parameters are finite numbers, shape (n_heads,)."""
        with torch.no_grad():
            parts = [p.flatten(1).isfinite().all(dim=1) for p in self.parameters()]
            return torch.stack(parts).all(dim=0)


@dataclass
class Moments:
    """BatchNorm's running statistics: of the input alone, so one set for all heads.

    Attributes
    ----------
    mean, variance : Tensor of shape (n_features,)
        They start at 0 and 1; the variance is the unbiased one.
    """

    mean: Tensor
    variance: Tensor

    def learn(self, inputs: Tensor) -> Tensor:
        """A training batch normalised by its own statistics, which are remembered."""
        return functional.batch_norm(
            inputs, self.mean, self.variance, training=True, momentum=BN_MOMENTUM, eps=BN_EPSILON
        )

    def normalize(self, inputs: Tensor) -> Tensor:
        """Rows normalised by what was remembered."""
        return functional.batch_norm(inputs, self.mean, self.variance, eps=BN_EPSILON)


def cross_entropy(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss of every head, and its derivative with respect to the scores.

    Written out, as autograd's takes twice the passes over an array of rows x heads x classes.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_heads, n_classes)
    labels : Tensor of shape (n_rows,)

    Returns
    -------
    losses : Tensor of shape (n_heads,)
    slopes : Tensor of shape (n_rows, n_heads, n_classes)
        (softmax - one-hot) / n_rows.
    """
    n_rows, n_heads, _ = scores.shape
    truth = labels.view(-1, 1, 1).expand(n_rows, n_heads, 1)
    slopes = functional.log_softmax(scores, dim=2)
    losses = -slopes.gather(2, truth).squeeze(2).mean(dim=0)
    slopes.clamp_(min=SMALLEST_LOG_PROBABILITY).exp_()
    slopes.scatter_add_(2, truth, slopes.new_full((), -1.0).expand(truth.shape))
    return losses, slopes.div_(n_rows)
