"""From an image to what the network sees: everything of it that a taken classifier's file says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.errors import ProbelineError
from pipeline.datasets.image_faults import BadImageError
from pipeline.datasets.images import DECODER, decode, decode_opened
from pipeline.models.transforms import Geometry, Pad, squared

_LARGEST_INPUT = 4096

Picture = str | os.PathLike[str] | bytes | Image.Image
"""What can be predicted: a path, a file's content, or an image that Pillow has opened."""

Pixel = NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    """From a file to a feature: everything of it that head.json says.

    Attributes
    ----------
    geometry : Geometry
    mean, std : tuple of float
    pad : bool or "crop"
    white : float or None
        See `pipeline.datasets.images.decode`.
    feature, precision : str
    stored_as : str
        What features were rounded to in the cache, ``float16`` or ``float32``: so are these.
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: Pad
    white: float | None
    feature: str
    precision: str
    stored_as: str

    @classmethod
    def of(cls, facts: Mapping[str, Any], place: str) -> Recipe:
        """Read it from head.json.

        Raises
        ------
        ProbelineError
            When something is missing or not what a transform may have.
        """
        try:
            said = facts["transform"]
            geometry = Geometry(
                int(said["size"]), float(said["crop"]), said["interpolation"], said["mode"]
            )
            recipe = cls(
                geometry,
                tuple(float(value) for value in said["mean"]),
                tuple(float(value) for value in said["std"]),
                said["pad"],
                None if said["white"] is None else float(said["white"]),
                facts["feature"],
                facts["precision"],
                facts["stored_as"],
            )
            if said["decoder"] != DECODER:
                raise ValueError(f"images decoded by rules {said['decoder']}, these are {DECODER}")
            known = (
                0 < geometry.size <= _LARGEST_INPUT
                and 0 < geometry.crop <= 1
                and len(recipe.mean) == len(recipe.std) == 3
                and recipe.pad in (False, True, "crop")
                and recipe.precision in ("float32", "tf32", "bfloat16", "float16")
                and recipe.stored_as in ("float16", "float32")
            )
            if not known:
                raise ValueError("a transform that no study has")
            geometry.apply(Image.new("RGB", (2, 2)))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise not_as_written(place, f"{type(error).__name__}: {str(error)[:200]}") from None
        return recipe

    def pixels(self, picture: Picture, name: str) -> Pixel:
        """What the network sees of an image: ndarray of shape (size, size, 3).

        Raises
        ------
        BadImageError
            When it can't be read or decoded; names it.
        """
        if isinstance(picture, Image.Image):
            image = decode_opened(picture, name, self.white)
        else:
            data = picture if isinstance(picture, bytes) else _content(Path(picture), name)
            image = decode(data, name, self.white)
        return self.geometry.apply(squared(image, self.pad))


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(
            name,
            "there is no such image" if not path.exists() else "can't be read",
            found=error.strerror or str(error),
        ) from None


def not_as_written(place: str, found: str) -> ProbelineError:
    """The error of a file that another program has written, or altered."""
    return ProbelineError(
        place,
        "is not what `probeline take` writes",
        found=found,
        remedy="take the classifier again",
    )
