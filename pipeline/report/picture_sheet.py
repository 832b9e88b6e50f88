"""Many small pictures as one image inside a page: each once, found by its place on the sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 48
"""Pixels; a multiple of 16, so that JPEG's blocks do not mix neighbouring pictures."""

COLUMNS = 16
PAPER = (128, 128, 128)
"""Colour beside pictures that are not square: calm on light paper and on dark."""

QUALITY = 80


def squared(image: Image.Image) -> NDArray[np.uint8]:
    """An image as a small square, of shape (SIDE, SIDE, 3); nothing is cut off."""
    return np.asarray(ImageOps.pad(image, (SIDE, SIDE), color=PAPER))


class Sheet:
    """A growing sheet of pictures."""

    def __init__(self) -> None:
        self._pictures: list[NDArray[np.uint8]] = []
        self._places: dict[str, int] = {}

    def position(self, name: str, picture: Callable[[], NDArray[np.uint8]]) -> str:
        """Where a picture lies, as CSS background-position; it is made only if it is new."""
        if name not in self._places:
            self._pictures.append(picture())
            self._places[name] = len(self._pictures) - 1
        down, across = divmod(self._places[name], COLUMNS)
        return f"{-SIDE * across}px {-SIDE * down}px"

    def style(self, name: str) -> str:
        """CSS that puts the sheet behind all elements of a class."""
        kind, data = self.encoded()
        text = base64.b64encode(data).decode()
        return f".{name} {{ background-image: url(data:image/{kind};base64,{text}); }}"

    def encoded(self) -> tuple[str, bytes]:
        """The sheet as an image file, PNG or JPEG, whichever is smaller."""
        image = Image.fromarray(self._laid_out())
        if all(_is_grey(picture) for picture in self._pictures):
            image = image.convert("L")
        files = {}
        for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": QUALITY})):
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
            files[kind] = buffer.getvalue()
        return min(files.items(), key=lambda item: len(item[1]))

    def _laid_out(self) -> NDArray[np.uint8]:
        pictures = np.stack(self._pictures)
        rows = -(-len(pictures) // COLUMNS)
        sheet = np.full((rows * COLUMNS, SIDE, SIDE, 3), PAPER, np.uint8)
        sheet[: len(pictures)] = pictures
        grid = sheet.reshape(rows, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
        laid: NDArray[np.uint8] = grid.reshape(rows * SIDE, COLUMNS * SIDE, 3)
        return laid


def _is_grey(picture: NDArray[np.uint8]) -> bool:
    return bool((picture == picture[..., :1]).all())
