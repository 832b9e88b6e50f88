"""How many multiply-adds this machine does in a second, found in about two seconds.

Two networks of known size run on noise: one of convolutions, one of matrix products. Others are
reckoned by their multiply-adds: networks of small images or thin layers take longer than that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pipeline.embeddings.forward import Forward
from pipeline.machine.devices import Machine, this_machine
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.models.sizes import NetworkSize, network_size

SECONDS = 2.0
"""For both networks together, after a first image each."""

_CONVOLUTIONS, _PRODUCTS = "resnet18", "vit_small_patch16_224"


@dataclass(frozen=True)
class Speed:
    """Billions of multiply-adds a second, on the first device.

    Attributes
    ----------
    convolutions, products : float
    """

    convolutions: float
    products: float

    def seconds(self, size: NetworkSize) -> float:
        """About how long one image takes a network."""
        return size.gmacs / (self.convolutions if size.is_convolutional else self.products)


def measure_speed(precision: str) -> Speed:
    """Run the two networks; weights change no speed."""
    machine = this_machine()
    return Speed(
        *(_rate(name, precision, machine, SECONDS / 2) for name in (_CONVOLUTIONS, _PRODUCTS))
    )


def _rate(architecture: str, precision: str, machine: Machine, seconds: float) -> float:
    entry = Model.model_validate({"architecture": architecture, "weights": "random(0)"})
    model, size = load_model(architecture, entry), network_size(architecture, entry)
    assert size is not None  # it is timm's
    side = model.transform.geometry.size
    count = max(1, min(machine.batch_size, machine.pixels // side**2))
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    forward = Forward(model, machine, precision)
    forward(images[:1], [model.feature])
    before, done, until = forward.seconds, 0, time.monotonic() + seconds
    while not done or time.monotonic() < until:
        forward(images, [model.feature])
        done += count
    return size.gmacs * done / (forward.seconds - before)
