"""What a model sees: resize of the short side, centre crop, normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Geometry:
    """The part of a transform that is done on the CPU, once for all models that share it.

    Attributes
    ----------
    size : int
        Side of the square that the model sees, pixels.
    crop : float
        Share of the resized short side that the crop keeps.
    interpolation : str
    """

    size: int
    crop: float
    interpolation: str

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Ndarray of shape (size, size, 3): short side resized to size/crop, centre cropped.

        The same pixels as timm's evaluation transform (torchvision's Resize and CenterCrop).
        """
        short = math.floor(self.size / self.crop)
        width, height = image.size
        if width <= height:
            target = (short, int(short * height / width))
        else:
            target = (int(short * width / height), short)
        resized = image.resize(target, _FILTERS[self.interpolation])
        left = round((target[0] - self.size) / 2.0)
        top = round((target[1] - self.size) / 2.0)
        return np.asarray(resized.crop((left, top, left + self.size, top + self.size)))


@dataclass(frozen=True)
class Transform:
    """Everything between a decoded image and a model's input.

    Attributes
    ----------
    geometry : Geometry
    mean, std : tuple of float
        Per channel, for pixels scaled to [0, 1].
    """

    geometry: Geometry
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for keys and cards."""
        return {**asdict(self.geometry), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform:
        """The inverse of `to_dict`."""
        geometry = Geometry(values["size"], values["crop"], values["interpolation"])
        return cls(geometry, tuple(values["mean"]), tuple(values["std"]))
