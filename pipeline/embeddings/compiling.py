"""Whether a network is compiled before it runs: where that saves more time than it takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pipeline.machine.environment import compile_choice
from pipeline.models.running import is_convolutional

PAYS_FROM = 4_096 * 224**2
"""Pixels of a data set from which a convolutional network is compiled.

Measured on 2 cores with torch 2.15, at 8 images of 224 px: compiling takes 10 to 20 seconds and
runs MobileNetV2 at 1.85 times the eager rate (78 -> 143 images a second), ResNet-50 at 1.88 (15 ->
29), ConvNeXt-atto at 1.26; DeiT-tiny at 0.89 (64 -> 57). The gain comes from batch norms folded
into convolutions and from weights packed once, so networks of matrix products have none.
"""

OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"freezing": True}
"""Of torch.compile's inductor: weights are constants, which is what lets it fold and pack."""


def should_compile(backbone: nn.Module, device: torch.device, pixels: int) -> bool:
    """Whether to compile, by PROBELINE_COMPILE, or by what was measured to pay.

    The answer depends on the data set, never on what is left of it: a resumed run computes with
    the same program as the run before, and its rows are the same bytes.

    Parameters
    ----------
    backbone : Module
    device : torch.device
    pixels : int
        Of all images of the data set, as the network sees them.
    """
    choice = compile_choice()
    if choice != "auto":
        return choice == "always"
    return (
        device.type == "cpu"
        and pixels >= PAYS_FROM
        and is_convolutional(backbone)
        and shutil.which(os.environ.get("CXX", "g++")) is not None
    )
