"""Which kinds of image files are read, by their names and by their bytes."""

from __future__ import annotations

import functools
import threading

from PIL import Image, PngImagePlugin

# A sound picture may carry long texts (the workflow that drew it) and colour profiles: Pillow's
# own limits are 1 MB and 64 MB. Still bounded, as a few compressed bytes can promise any length.
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 2**20
PngImagePlugin.MAX_TEXT_MEMORY = 64 * 2**20

HEIF_SUFFIXES = frozenset([".heic", ".heif", ".hif"])

SUFFIXES = HEIF_SUFFIXES | frozenset(
    [".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm",
     ".pbm", ".pnm", ".jfif", ".avif"]
)  # fmt: skip

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "AVIF")
"""Pillow's parsers that may look at a file, whatever it is called: those of `SUFFIXES` alone."""

NEEDS_HEIF = "install it: pip install -e '.[heif]'"

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_plugins = threading.Lock()


def can_read_heif() -> bool:
    """Whether the package for HEIC and HEIF is there."""
    return bool(heif_parser())


def is_heif(data: bytes) -> bool:
    """By its first bytes, which some AVIF files share."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


@functools.cache
def make_ready() -> None:
    """Load Pillow's parsers."""
    with _plugins:  # two threads at once would see half of them
        Image.init()


@functools.cache
def heif_parser() -> tuple[str, ...]:
    """The name of the parser for HEIC and HEIF; nothing where the package is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return ()
    with _plugins:
        Image.init()
        pillow_heif.register_heif_opener()
    return ("HEIF",)
