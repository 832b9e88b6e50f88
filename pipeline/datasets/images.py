"""Bytes to pixels: every common kind of image file becomes the same kind of RGB image."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cache.errors import ProbelineError

DECODER = "rgb-2"
"""Names the rules below; part of every key, so that changing them changes the key."""

MAX_PIXELS = 178_956_970
"""Larger images are refused before they are decoded (decompression bombs)."""

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".png",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jfif",
        ".avif",
    ]
)


class BadImageError(ProbelineError, ValueError):
    """A file that can't be decoded as an image."""


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


def decode(data: bytes, place: str) -> Image.Image:
    """Decode an image file to RGB, upright, 8 bits a channel.

    EXIF orientation is applied. Palettes are resolved. Transparency is laid over white (a plain
    conversion shows whatever colour hides under transparent pixels, often black on black).
    16-bit grey is scaled, not clipped; floating-point grey is taken as 0 to 1, 0 to 255 or 0 to
    65,535, the narrowest that holds the image. CMYK is converted.

    Parameters
    ----------
    data : bytes
        The file's content.
    place : str
        Names the file in errors.

    Raises
    ------
    BadImageError
        When the file is empty, not an image, cut short, larger than `MAX_PIXELS`, or holds
        negative or undefined brightness.
    """
    if not data:
        raise _bad(place, "the file is empty", "0 bytes")
    try:
        # Pillow warns of sizes below our own limit, and of harmless oddities of metadata.
        with _quiet, Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _bad(
                    place,
                    "the image is too large",
                    f"{image.width} x {image.height} pixels; the limit is {MAX_PIXELS}",
                )
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), place)
    except BadImageError:
        raise
    except UnidentifiedImageError:
        raise _bad(place, "is not an image", f"bytes that start with {data[:12]!r}") from None
    except Image.DecompressionBombError as error:
        raise _bad(place, "the image is too large", str(error)) from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise _bad(place, "the image is damaged", f"{error} ({len(data)} bytes)") from None


def _to_rgb(image: Image.Image, place: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all() or values.min(initial=0) < 0:
            raise _bad(
                place,
                "the image is not grey from black upwards",
                f"brightness from {values.min(initial=0):g} to {values.max(initial=0):g}",
            )
        scales = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
        full = next((s for s in scales if values.max(initial=0) <= s), scales[-1])
        grey = np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def _bad(place: str, problem: str, found: str) -> BadImageError:
    return BadImageError(
        place,
        problem,
        found=found,
        remedy="replace or delete the file, then index the data set again",
    )
