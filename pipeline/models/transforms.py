"""What a model sees: resize and crop, or a random view, then normalisation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


_LARGEST = 1 << 26
"""Pixels of a resized image (200 MB) above which only the part that the crop keeps is made."""


def _margin(side: int, size: int) -> int:
    """Where the crop begins; negative where the image is smaller and is padded with black."""
    return round((side - size) / 2.0) if side >= size else -((size - side) // 2)


def padded(image: Image.Image) -> Image.Image:
    """The image in the middle of a black square as large as its longer side.

    The same pixels as torchvision's CenterCrop of that size.
    """
    side = max(image.size)
    left, top = ((side - length) // 2 for length in image.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(image, (left, top))
    return canvas


Pad = bool | Literal["crop"]
"""How a data set's images become squares first: padded, cut, or not at all."""


def squared(image: Image.Image, pad: Pad) -> Image.Image:
    """The image as a data set's `pad` says.

    ``"crop"`` keeps the middle square as large as its shorter side, as torchvision's CenterCrop.
    """
    if pad != "crop":
        return padded(image) if pad else image
    side = min(image.size)
    left, top = (_margin(length, side) for length in image.size)
    return image.crop((left, top, left + side, top + side))


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
    mode : {"center", "squash"}
        How the aspect ratio is treated: the short side is resized and the centre cropped, or
        both sides are resized alike.
    """

    size: int
    crop: float
    interpolation: str
    mode: str = "center"

    def apply(self, image: Image.Image, seed: int = 0) -> NDArray[np.uint8]:
        """Ndarray of shape (size, size, 3): short side resized to size/crop, centre cropped.

        The same pixels as timm's evaluation transform (torchvision's Resize and CenterCrop).
        """
        target = self._target(image.size)
        left, top = (_margin(side, self.size) for side in target)
        if target[0] * target[1] > _LARGEST:
            return self._apply_to_extreme(image, target, left, top)
        resized = image.resize(target, _FILTERS[self.interpolation])
        return np.asarray(resized.crop((left, top, left + self.size, top + self.size)))

    def resized(self, image: Image.Image) -> Image.Image:
        """The image before the crop; of a long strip, what the crop keeps."""
        target = self._target(image.size)
        if target[0] * target[1] > _LARGEST:
            return Image.fromarray(self.apply(image))
        return image.resize(target, _FILTERS[self.interpolation])

    def _target(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height to which an image of `size` is resized."""
        short = math.floor(self.size / self.crop)
        width, height = size
        if self.mode == "squash":
            return short, short
        if width <= height:
            return short, int(short * height / width)
        return int(short * width / height), short

    def _apply_to_extreme(
        self, image: Image.Image, target: tuple[int, int], left: int, top: int
    ) -> NDArray[np.uint8]:
        """Resize only what the crop keeps: a long strip's whole could take gigabytes.

        Equal to the other way up to one grey level, by the rounding between Pillow's two passes.
        """
        across, down = (old / new for old, new in zip(image.size, target, strict=True))
        kept = (max(left, 0), max(top, 0))
        right, bottom = (min(m + self.size, t) for m, t in zip((left, top), target, strict=True))
        box = (kept[0] * across, kept[1] * down, right * across, bottom * down)
        part = image.resize(
            (right - kept[0], bottom - kept[1]), _FILTERS[self.interpolation], box=box
        )
        canvas = Image.new("RGB", (self.size, self.size))
        canvas.paste(part, (kept[0] - left, kept[1] - top))
        return np.asarray(canvas)


@dataclass(frozen=True)
class Resized:
    """All of an image at the scale of a `Geometry`: what views for training are cut from."""

    geometry: Geometry

    def apply(self, image: Image.Image, seed: int = 0) -> NDArray[np.uint8]:
        """Ndarray of shape (height, width, 3): differs from image to image."""
        return np.asarray(self.geometry.resized(image))


_SCALE, _RATIO, _FLIP = (0.08, 1.0), (3 / 4, 4 / 3), 0.5
VIEW_RULES = {"scale": list(_SCALE), "ratio": list(_RATIO), "flip": _FLIP}
"""Of augmented views, part of their cells' keys: torchvision's RandomResizedCrop and a flip."""


@dataclass(frozen=True)
class View:
    """A seeded random resized crop with a random flip, in place of a `Geometry`.

    Attributes
    ----------
    size : int
        Side of the square that the model sees, pixels.
    interpolation : str
    number : int
        Of the view; with the image's seed (a number of its digest, or its row), it seeds the draw,
        so that a view does not depend on batches, threads or which other models run.
    flip : bool
        Whether every other view is mirrored.
    least : float
        Smallest share of the image's area that is cut out.
    """

    size: int
    interpolation: str
    number: int
    flip: bool = True
    least: float = _SCALE[0]

    def apply(self, image: Image.Image, seed: int = 0) -> NDArray[np.uint8]:
        """Ndarray of shape (size, size, 3): a random part of the image, perhaps mirrored.

        The crop's area and aspect ratio are drawn up to ten times until it fits; else the
        largest centre crop within the allowed ratios is taken.
        """
        rng = np.random.default_rng([self.number, seed])
        view = image.resize(
            (self.size, self.size),
            _FILTERS[self.interpolation],
            box=_draw_box(image.size, rng, self.least),
        )
        if self.flip and rng.random() < _FLIP:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(view)


def _draw_box(
    size: tuple[int, int], rng: np.random.Generator, least: float = _SCALE[0]
) -> tuple[int, int, int, int]:
    width, height = size
    low, high = _RATIO
    for _ in range(10):
        area = width * height * rng.uniform(least, _SCALE[1])
        ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * high)))
    h = min(height, max(1, round(width / low)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


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

    def pixels(self, view: int) -> Geometry | View:
        """What is done to the decoded image: the evaluation crop, or the view of that number."""
        if view == 0:
            return self.geometry
        return View(self.geometry.size, self.geometry.interpolation, view)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for keys and cards."""
        return {**asdict(self.geometry), "mean": list(self.mean), "std": list(self.std)}
