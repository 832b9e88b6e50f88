"""Augmentation of whole batches on the device: every image gets random numbers of its own.

Per-image augmentation through Pillow took nearly all of the time of training small networks; here
a batch is one affine resampling and a few arithmetic operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed; each number bounds a uniform draw per image.

    Attributes
    ----------
    rotation : float
        Degrees, either way.
    shear : float
        Tangent of the angle, either way.
    zoom : tuple of float
        Share of the image's side that the crop keeps. The crop lies anywhere inside the image.
    stretch : float
        The crop's aspect ratio lies between 1 / (1 + stretch) and 1 + stretch.
    contrast, brightness : float
        Contrast is scaled by 1 ± `contrast` about the image's mean, then ± `brightness` added.
    saturation : float
        Share of the colour that may be taken away; grey images have none.
    noise : float
        Largest standard deviation of Gaussian noise.
    blur : float
        Largest weight of the 3 x 3 mean that an image is blended with.
    erase : float
        Largest side of a rectangle filled with the image's mean, as a share of the image's side.
    flip : bool
        Mirror every other image. Not for images that mean something else when mirrored.
    """

    rotation: float = 15.0
    shear: float = 0.2
    zoom: tuple[float, float] = (0.7, 1.0)
    stretch: float = 0.2
    contrast: float = 0.4
    brightness: float = 0.2
    saturation: float = 0.8
    noise: float = 0.1
    blur: float = 1.0
    erase: float = 0.35
    flip: bool = False

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A random view of each image.

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, height, width), in [0, 1]

        Returns
        -------
        Tensor of the same shape, in [0, 1]

        Notes
        -----
        Draws from PyTorch's global generator.
        """
        seen = self._erased(self._coloured(self._moved(images)))
        return seen.clamp(0, 1)

    def _moved(self, images: torch.Tensor) -> torch.Tensor:
        grid = functional.affine_grid(
            self.matrices(len(images), images), list(images.shape), align_corners=False
        )
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def matrices(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """Random maps from the view's coordinates to the image's, both in [-1, 1].

        Returns
        -------
        Tensor of shape (count, 2, 3)
        """
        angle = math.radians(self.rotation) * _either_way(count, like)
        shear = self.shear * _either_way(count, like)
        ratio = ((math.log1p(self.stretch) / 2) * _either_way(count, like)).exp()
        low, high = self.zoom
        side = low + (high - low) * _uniform(count, like)
        wide, tall = side * ratio, side / ratio
        mirror = torch.ones_like(side)
        if self.flip:
            mirror = torch.where(_uniform(count, like) < 0.5, -mirror, mirror)
        cos, sin = angle.cos(), angle.sin()
        left = torch.stack([mirror * wide * cos, tall * (shear * cos - sin)], dim=1)
        right = torch.stack([mirror * wide * sin, tall * (shear * sin + cos)], dim=1)
        room = (1 - torch.stack([wide, tall], dim=1)).clamp_min(0)
        shift = room * torch.stack([_either_way(count, like), _either_way(count, like)], dim=1)
        return torch.cat([torch.stack([left, right], dim=1), shift[:, :, None]], dim=2)

    def _coloured(self, images: torch.Tensor) -> torch.Tensor:
        count = len(images)
        grey = images.mean(dim=1, keepdim=True)
        images = torch.lerp(images, grey, _each(self.saturation * _uniform(count, images)))
        soft = functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        images = torch.lerp(images, soft, _each(self.blur * _uniform(count, images)))
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        gain = _each(1 + self.contrast * _either_way(count, images))
        offset = _each(self.brightness * _either_way(count, images))
        deviation = _each(self.noise * _uniform(count, images))
        # One draw for all channels: grey images stay grey.
        noise = torch.randn_like(images[:, :1])
        return (images - mean) * gain + mean + offset + deviation * noise

    def _erased(self, images: torch.Tensor) -> torch.Tensor:
        count, _, height, width = images.shape
        inside = [
            _within(self.erase, count, length, images).view(
                (count, 1, length, 1) if axis == 0 else (count, 1, 1, length)
            )
            for axis, length in enumerate((height, width))
        ]
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return torch.where(inside[0] & inside[1], mean, images)


def _within(largest: float, count: int, length: int, like: torch.Tensor) -> torch.Tensor:
    """Bool of shape (count, length): a random interval of each row, up to that share of it."""
    half = largest / 2 * _uniform(count, like)
    centre = _uniform(count, like)
    place = (torch.arange(length, device=like.device) + 0.5) / length
    return (place - centre[:, None]).abs() < half[:, None]


def _uniform(count: int, like: torch.Tensor) -> torch.Tensor:
    return torch.rand(count, device=like.device)


def _either_way(count: int, like: torch.Tensor) -> torch.Tensor:
    """Uniform in [-1, 1)."""
    return 2 * _uniform(count, like) - 1


def _each(values: torch.Tensor) -> torch.Tensor:
    """One number for each image, ready to multiply images with."""
    return values.view(-1, 1, 1, 1)
