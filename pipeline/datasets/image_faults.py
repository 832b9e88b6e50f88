"""What is wrong with an image that can't be decoded, in words of who has the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from cache.errors import ProbelineError
from pipeline.datasets.image_kinds import FORMATS, NEEDS_HEIF, heif_parser, is_heif

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"BM": "BMP",
}
"""First bytes of kinds that are read: what starts so and is not, is of an odd form or damaged."""

_BAD_FILE = "replace or delete the file, then index the data set again"
_ODD_FILE = "save it as PNG or JPEG; or leave out such files with `on_bad_image: skip`"


class BadImageError(ProbelineError, ValueError):
    """A file that can't be decoded as an image."""


@contextmanager
def explain_decoding(data: bytes | None, place: str) -> Iterator[None]:
    """Whatever Pillow or one of its plugins raises becomes an error that names the matter.

    `data` are the file's bytes; None of an image that Pillow has opened already.
    """
    if data == b"":
        raise bad_image(place, "the file is empty", "0 bytes")
    try:
        yield
    except BadImageError:
        raise
    except UnidentifiedImageError:
        assert data is not None  # else it would not have been opened
        if is_heif(data) and not heif_parser():
            raise BadImageError(
                place,
                "this HEIC image needs the package `pillow-heif`",
                found=f"bytes that start with {data[:12]!r}",
                remedy=NEEDS_HEIF,
            ) from None
        kind = next((kind for start, kind in _STARTS.items() if data.startswith(start)), "")
        raise BadImageError(
            place,
            f"this {kind} image can't be opened: it is of a form that is not read, or damaged"
            if kind
            else "is not an image of a kind that is read",
            expected=", ".join(FORMATS),
            found=f"bytes that start with {data[:12]!r}",
            remedy=_ODD_FILE if kind else _BAD_FILE,
        ) from None
    except Exception as error:  # noqa: BLE001 - decoders raise RuntimeError, struct.error, …
        raise _decoder_fault(error, data, place) from None


_DAMAGE = (
    "truncated", "broken", "corrupt", "damaged", "checksum", "unrecognized data", "unexpected end",
    "premature", "cannot read", "not enough", "cut short", "crc",
)  # fmt: skip
"""Words of Pillow and its libraries for bytes that are missing or wrong."""


_METADATA = ("text_chunk", "text_memory", "decompressed data too large")
"""Words of Pillow for texts and colour profiles beyond its limits."""


def _decoder_fault(error: Exception, data: bytes | None, place: str) -> BadImageError:
    """What an exception of a decoder means for who has the file."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    words, size = said.lower(), "" if data is None else f" ({len(data)} bytes)"
    if isinstance(error, Image.DecompressionBombError):
        return bad_image(place, "the image is too large", said)
    if isinstance(error, MemoryError):
        return bad_image(place, "the image needs more memory than there is", said)
    if any(w in words for w in _METADATA):
        return BadImageError(
            place,
            "the metadata (a text or a colour profile) is too large; the picture may be sound",
            found=said,
            remedy=f"save it without metadata, e.g. with exiftool -all= {place.split('/')[-1]}",
        )
    if "conversion from" in words:
        return BadImageError(
            place, "the image's colour space is not read", found=said, remedy=_ODD_FILE
        )
    if isinstance(error, EOFError | struct.error | IndexError) or any(w in words for w in _DAMAGE):
        return bad_image(place, "the image is damaged", f"{said}{size}")
    return BadImageError(
        place,
        "the image can't be decoded: it is of a form that is not read, or damaged",
        found=f"{said}{size}",
        remedy=_ODD_FILE,
    )


def bad_image(place: str, problem: str, found: str) -> BadImageError:
    """Of a file that is no image, or whose bytes are wrong."""
    return BadImageError(place, problem, found=found, remedy=_BAD_FILE)
