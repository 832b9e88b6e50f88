"""Bytes to pixels: every common kind of image file becomes the same kind of RGB image."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.datasets.grey import Deep
from pipeline.datasets.image_faults import BadImageError, bad_image, explain_decoding
from pipeline.datasets.image_kinds import FORMATS, heif_parser, is_heif, make_ready

DECODER = "rgb-2"
"""Names the rules below; part of every key, so that changing them changes the key."""

MAX_PIXELS = 178_956_970
"""Larger images are refused before they are decoded (decompression bombs)."""

LARGE = 1 << 25
"""Pixels of an image that threads decode one after the other: a megabyte of PNG may hold 170
million, which take 1.5 GB on their way (docs/reliability.md)."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its orientation in EXIF."""

_ORIENTATION, _SUBFILE = 274, 254
"""Tags of EXIF and TIFF."""

_PART = 2**18
"""Pixels of grey that are scaled at once."""


class _Quiet:
    """No warnings while any thread is inside.

    `warnings.catch_warnings` changes the whole process: threads that enter and leave it in turn
    would leave warnings switched off for good.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_quiet = _Quiet()
_large = threading.Lock()


def decode(data: bytes, place: str, white: float | None = None) -> Image.Image:
    """Decode an image file to RGB, upright, 8 bits a channel.

    EXIF orientation is applied. Palettes are resolved. Transparency is laid over white (a plain
    conversion shows whatever colour hides under transparent pixels, often black on black).
    Grey of more than 8 bits is scaled, not clipped. CMYK is converted.

    Parameters
    ----------
    data : bytes
        The file's content.
    place : str
        Names the file in errors.
    white : float, optional
        The brightness that is white in grey images of more than 8 bits, as the data set's index
        holds it. Without it (indexes made before there was one), 65,535 for whole numbers; for
        floating-point numbers 1, 255 or 65,535, the narrowest that holds the image.

    Raises
    ------
    BadImageError
        When the file is empty, not an image, cut short, larger than `MAX_PIXELS`, brighter than
        `white`, of negative or undefined brightness, or anything else keeps it from being decoded.
    """
    with explain_decoding(data, place), _loaded(data, place) as image:
        found = _to_rgb(image, place, white)
        return found.copy() if found is image else found  # the file is closed behind it


def decode_opened(image: Image.Image, place: str, white: float | None = None) -> Image.Image:
    """What `decode` makes of the file, of an image that Pillow has opened already.

    Raises
    ------
    BadImageError
        As `decode`.
    """
    with explain_decoding(None, place), _quiet, _upright(image, place) as upright:
        found = _to_rgb(upright, place, white)
        return found.copy() if found is image else found


@dataclass(frozen=True, slots=True)
class Examined:
    """What decoding an image tells.

    Attributes
    ----------
    deep : Deep or None
        Of grey images of more than 8 bits.
    has_more : bool
        Whether the file holds more pictures, of which the first is the image: frames of an
        animation, pages of a TIFF.
    """

    deep: Deep | None = None
    has_more: bool = False


def examine(data: bytes, place: str) -> Examined:
    """Decode an image; what else is worth knowing of it.

    Raises
    ------
    BadImageError
        As `decode`.
    """
    with explain_decoding(data, place), _opened(data) as image:
        with _upright(image, place) as upright:
            deep = None
            if _is_deep(upright):
                deep = Deep(upright.mode == "F", _brightest(np.asarray(upright), place))
            else:
                _to_rgb(upright, place, None)
        return Examined(deep, _has_more(image))


@contextmanager
def _loaded(data: bytes, place: str) -> Iterator[Image.Image]:
    """The image as it is stored, decoded and upright; of large ones, one at a time."""
    with _opened(data) as image, _upright(image, place) as turned:
        yield turned


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    formats = (*FORMATS, *heif_parser()) if is_heif(data) else FORMATS
    make_ready()
    # Pillow warns of sizes below our own limit, and of harmless oddities of metadata.
    with _quiet, Image.open(io.BytesIO(data), formats=formats) as image:
        yield image


def _has_more(image: Image.Image) -> bool:
    """Whether an opened file holds a second picture; False where that can't be told.

    They are not counted: a small file may promise millions, each of which is to be looked for.
    """
    if image.format == "MPO":  # a camera's JPEG: the others are previews of the first
        return False
    try:
        if image.format not in ("GIF", "TIFF"):  # all others say it in their header
            return int(getattr(image, "n_frames", 1)) > 1
        image.seek(1)
        # 1: a smaller copy of the first, as microscopes store beside it
        return not int(getattr(image, "tag_v2", {}).get(_SUBFILE, 0)) & 1
    except Exception:  # noqa: BLE001 - what follows the first one may be damaged in any way
        return False


@contextmanager
def _upright(image: Image.Image, place: str) -> Iterator[Image.Image]:
    """An opened image, decoded and turned as EXIF says; of large ones, one at a time."""
    if image.width * image.height > MAX_PIXELS:
        raise bad_image(
            place,
            "the image is too large",
            f"{image.width} x {image.height} pixels; the limit is {MAX_PIXELS}",
        )
    alone = _large if image.width * image.height > LARGE else nullcontext()
    with alone:
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        yield image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """As EXIF gives it; 1 where that can't be read: a camera's odd metadata lose no image."""
    try:
        said = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - parsers of metadata raise whatever they like
        return 1
    return said if isinstance(said, int) else 1


def _is_deep(image: Image.Image) -> bool:
    """Whether it is grey, of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _brightest(values: NDArray[Any], place: str) -> float:
    """The largest brightness, if all are numbers from 0 upwards."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))  # NaN where any is NaN
    if not np.isfinite([low, high]).all() or low < 0:
        raise bad_image(
            place,
            "the image is not grey from black upwards",
            f"brightness from {low:g} to {high:g}",
        )
    return high


def _scaled(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Brightness as 0 to 255; a part at a time, as it takes eight bytes a pixel on its way."""
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _PART // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        part = values[start : start + rows].astype(np.float64)
        part *= 255.0 / white
        np.rint(part, out=part)
        grey[start : start + rows] = np.clip(part, 0, 255, out=part)
    return grey


def _to_rgb(image: Image.Image, place: str, white: float | None) -> Image.Image:
    if image.mode == "RGB":
        return image
    if _is_deep(image):
        values = np.asarray(image)
        peak = _brightest(values, place)
        if white is None:
            scales = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
            white = next((s for s in scales if peak <= s), scales[-1])
        elif peak > white:
            raise BadImageError(
                place,
                "the image is brighter than the data set's white",
                expected=f"brightness of at most {white:g}",
                found=f"{peak:g}",
                remedy="leave the image out, or say what is white in this data set: `white: "
                f"{peak:g}` or more, in its section of params.yaml",
            )
        grey = _scaled(values, white)
        del values
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _over_white(image)
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """A transparent image on white; a strip at a time, as it takes 16 bytes a pixel on its way."""
    result = Image.new("RGB", image.size)
    rows = max(1, _PART // max(1, image.width))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result
