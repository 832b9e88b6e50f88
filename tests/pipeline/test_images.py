"""Decoding: every kind of image file gives the right pixels, every broken one a clear refusal."""

from __future__ import annotations

import contextlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import draw

from pipeline.datasets import images
from pipeline.datasets.images import BadImageError, decode


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode(data, "image")
    assert image.mode == "RGB"
    return np.asarray(image)


def test_plain_images_are_unchanged():
    picture = draw(0)
    np.testing.assert_array_equal(pixels(encoded(picture, "PNG")), picture)


def test_palettes_are_resolved():
    palette = draw(1).quantize(16)
    np.testing.assert_array_equal(pixels(encoded(palette, "PNG")), palette.convert("RGB"))
    np.testing.assert_array_equal(pixels(encoded(palette, "GIF")), palette.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_over_white(mode):
    if mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 200, 0, 0])
        image.putpixel((1, 0), 1)
        data = encoded(image, "PNG", transparency=0)
        opaque = (200, 0, 0)
    else:
        image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))  # black hides under the transparency
        image.putpixel((1, 0), (90, 90, 90, 255))
        data = encoded(image.convert(mode), "PNG")
        opaque = (90, 90, 90)
    np.testing.assert_array_equal(pixels(data), [[(255, 255, 255), opaque]])


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    np.testing.assert_allclose(pixels(encoded(image, "PNG")), 127, atol=1)


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    grey = pixels(encoded(Image.fromarray(ramp), "PNG"))
    np.testing.assert_allclose(grey[..., 0], ramp / 257, atol=0.51)
    assert (grey[..., 0] == grey[..., 2]).all()


def test_dark_sixteen_bit_images_are_not_stretched():
    dark = np.full((4, 4), 200, np.uint16)  # of 65,535: all but black
    assert pixels(encoded(Image.fromarray(dark), "PNG")).max() == 1


@pytest.mark.parametrize("full", [1, 255, 65_535])
def test_floating_point_grey_has_its_own_scale(full):
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    grey = pixels(encoded(Image.fromarray(ramp * full), "TIFF"))
    np.testing.assert_allclose(grey[..., 1], ramp * 255, atol=0.51)


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf])
def test_floating_point_images_that_are_no_pictures_are_refused(value):
    values = np.full((4, 4), 0.5, np.float32)
    values[2, 1] = value
    with pytest.raises(BadImageError, match="brightness"):
        decode(encoded(Image.fromarray(values), "TIFF"), "scan.tif")


def test_cmyk_is_converted():
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    found = pixels(encoded(red, "JPEG", quality=100)).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(found, (250, 10, 10), atol=6)


def test_one_bit_is_black_and_white():
    checks = np.indices((6, 6)).sum(0) % 2 == 0
    for kind in ("PNG", "TIFF", "PPM"):
        found = pixels(encoded(Image.fromarray(checks), kind))
        np.testing.assert_array_equal(found[..., 1], checks * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_makes_upright(orientation):
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste((255, 0, 0), (0, 0, 8, 8))  # red in the top left corner
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    found = pixels(encoded(stored, "JPEG", exif=exif, quality=100, subsampling=0))
    assert found.shape == (16, 32, 3)
    np.testing.assert_allclose(found[3, 3], (255, 0, 0), atol=12)
    np.testing.assert_allclose(found[12, 28], (255, 255, 255), atol=12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"])
def test_common_kinds(kind):
    if kind == "AVIF" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    assert pixels(encoded(draw(2), kind)).shape == (16, 20, 3)


def test_the_first_frame_of_an_animation_is_taken():
    first, second = draw(3).quantize(8), draw(4).quantize(8)
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(pixels(data), first.convert("RGB"))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_tiny_and_extreme_sizes(size):
    assert decode(encoded(draw(0).resize(size), "PNG"), "image").size == size


def refusal(data: bytes) -> BadImageError:
    with pytest.raises(BadImageError) as caught:
        decode(data, "train/cat/7.jpg")
    assert caught.value.place == "train/cat/7.jpg"
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_cut_images_are_refused(kind, share):
    data = encoded(draw(5, (64, 64)), kind)
    refusal(data[: int(share * len(data))])


def test_what_is_no_image_is_refused():
    assert "empty" in refusal(b"").problem
    assert "not an image" in refusal(b"hello, I am a text").problem
    assert "not an image" in refusal(b"<html>404</html>").problem


def test_decompression_bombs_are_refused_before_they_are_decoded(monkeypatch):
    small_limit = encoded(Image.new("1", (400, 400)), "PNG")
    monkeypatch.setattr(images, "MAX_PIXELS", 400 * 400 - 1)
    assert "too large" in refusal(small_limit).problem
    monkeypatch.undo()
    # The header alone promises 10^10 pixels; nothing of that size may be allocated.
    data = bytearray(encoded(Image.new("1", (1, 1)), "PPM"))
    bomb = bytes(data).replace(b"1 1", b"100000 100000", 1)
    assert "too large" in refusal(bomb).problem


def test_decoding_in_threads_leaves_the_processs_warnings_as_they_were():
    data = encoded(draw(0, (120, 120)), "PNG")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode(data, "image"), range(600)))
    assert list(warnings.filters) == before


SOUND = {
    kind: encoded(draw(6, (24, 24)), kind, **options)
    for kind, options in {
        "JPEG": {"exif": Image.Exif()}, "PNG": {}, "TIFF": {"compression": "tiff_lzw"},
        "GIF": {}, "WEBP": {}, "BMP": {}, "PPM": {},
    }.items()
}  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(sorted(SOUND)),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_bytes_are_decoded_or_refused_but_never_crash(kind, damage):
    data = bytearray(SOUND[kind])
    for place, value in damage:
        data[place % min(len(data), 400)] = value
    with contextlib.suppress(BadImageError):
        assert decode(bytes(data), "image").mode == "RGB"
