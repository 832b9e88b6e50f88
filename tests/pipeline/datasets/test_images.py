"""Decoding: every kind of image file gives the right pixels, every broken one a clear refusal."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import draw

from pipeline.datasets import image_kinds, images
from pipeline.datasets.grey import Deep
from pipeline.datasets.image_faults import BadImageError
from pipeline.datasets.images import decode, examine


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


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RuntimeError("Failed to decode image"), "can't be decoded"), (KeyError(7), "can't be dec"),
        (struct.error("unpack requires 4 bytes"), "damaged"), (EOFError("no more"), "damaged"),
        (IndexError("out of range"), "damaged"), (AttributeError("x"), "can't be decoded"),
        (ZeroDivisionError("y"), "can't be decoded"), (AssertionError(), "can't be decoded"),
        (OverflowError("z"), "can't be decoded"), (NotImplementedError("codec"), "can't be dec"),
        (zlib.error("Error -3 while decompressing"), "can't be decoded"),
        (MemoryError(), "more memory"), (Image.DecompressionBombError("big"), "too large"),
        (OSError("image file is truncated (3 bytes not processed)"), "damaged"),
        (OSError("decoder zstd not available"), "can't be decoded"),
        (SyntaxError("broken PNG file"), "damaged"), (SyntaxError("odd"), "can't be decoded"),
        (ValueError("Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK"), "metadata"),
        (ValueError("Too much memory used in text chunks: 9>MAX_TEXT_MEMORY"), "metadata"),
        (ValueError("conversion from LAB to RGB not supported"), "colour space"),
        (RecursionError(), "can't be decoded"), (UnicodeDecodeError("utf-8", b"", 0, 1, "bad"), ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["open", "load", "convert"])
def test_whatever_a_decoder_raises_is_an_error_of_ours(monkeypatch, error, problem, where):
    data = encoded(draw(1).convert("CMYK"), "JPEG")

    def fail(*_, **__):
        raise error

    if where == "open":
        monkeypatch.setattr(Image, "open", fail)
    else:
        from PIL import ImageFile

        monkeypatch.setattr(ImageFile.ImageFile if where == "load" else Image.Image, where, fail)
    assert problem in refusal(data).problem
    with pytest.raises(BadImageError):
        examine(data, "train/cat/7.jpg")


def test_a_text_in_a_picture_does_not_make_it_a_damaged_one():
    from PIL import PngImagePlugin

    picture, text = draw(0), PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3_000_000, zip=True)
    np.testing.assert_array_equal(pixels(encoded(picture, "PNG", pnginfo=text)), picture)
    profile = encoded(picture, "PNG", icc_profile=bytes(2_000_000))
    np.testing.assert_array_equal(pixels(profile), picture)
    text.add_text("bomb", "x" * 40_000_000, zip=True)
    error = refusal(encoded(picture, "PNG", pnginfo=text))
    assert "metadata" in error.problem
    assert "damaged" not in str(error)


@pytest.mark.parametrize("kind", ["DDS", "EPS", "PCX", "TGA", "ICO", "JPEG2000", "SGI"])
def test_parsers_of_other_kinds_never_see_a_file(monkeypatch, kind):
    Image.init()
    data = encoded(draw(0, (32, 32)), kind)

    def parse(*_):
        raise AssertionError("this parser was asked")

    _, accept = Image.OPEN[kind]
    monkeypatch.setitem(Image.OPEN, kind, (parse, accept))
    assert "not an image of a kind that is read" in refusal(data).problem


def test_what_starts_like_a_kind_that_is_read_is_not_called_anything_else():
    header = encoded(draw(0), "TIFF")[:8]  # the rest is of a form that Pillow does not know
    problem = refusal(header + bytes(40)).problem
    assert "TIFF" in problem
    assert "a form that is not read" in problem


def test_a_telephone_s_picture_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_kinds.heif_parser.cache_clear()
    error = refusal(b"\0\0\0\x18ftypheic" + bytes(60))  # whatever the file is called
    image_kinds.heif_parser.cache_clear()
    assert "pillow-heif" in error.problem
    assert ".[heif]" in error.remedy


def test_a_telephone_s_picture_is_read():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    smooth = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 48, 3)))
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(smooth, "HEIF", quality=-1, exif=exif.tobytes())
    assert data[4:8] == b"ftyp"
    found = pixels(data)
    expected = np.asarray(smooth.transpose(Image.Transpose.ROTATE_270))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 3
    with pytest.raises(BadImageError):
        decode(data[: len(data) // 2], "cut.heic")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_calls_so(kind, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(draw(7, (24, 16)), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(pixels(data), expected)


def test_only_deep_grey_images_have_a_brightness_to_tell():
    ramp = np.linspace(0, 900, 64).astype(np.uint16).reshape(8, 8)
    for dtype, is_float in (("u2", False), ("f4", True)):
        data = encoded(Image.fromarray(ramp.astype(dtype)), "TIFF")
        assert examine(data, "x").deep == Deep(is_float, 900.0)
    for picture in (draw(0), draw(0).convert("L"), draw(0).convert("RGBA"), draw(0).convert("1")):
        assert examine(encoded(picture, "PNG"), "x").deep is None


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_several_pictures_the_first_is_read_and_that_there_are_more_is_told(kind):
    first, *others = [Image.new("RGB", (20, 16), color) for color in ("red", "green", "blue")]
    data = encoded(first, kind, save_all=True, append_images=others, duration=100)
    assert examine(data, "x").has_more
    assert not examine(encoded(first, kind), "x").has_more
    red, green, blue = pixels(data)[4, 4]
    assert red > 200 > 60 > max(green, blue)


def test_what_is_damaged_behind_the_first_picture_loses_no_image():
    first, second = draw(1).convert("P"), draw(2).convert("P")
    whole = encoded(first, "GIF", save_all=True, append_images=[second], duration=100)
    alone = encoded(first, "GIF")
    for cut in range(len(alone) + 20, len(whole), 7):
        assert isinstance(examine(whole[:cut], "x").has_more, bool)


def test_a_smaller_copy_in_a_tiff_is_no_picture_of_its_own():
    from PIL import TiffImagePlugin

    picture, copy = draw(1, (32, 32)), draw(1, (16, 16))
    kind = TiffImagePlugin.ImageFileDirectory_v2()
    kind[254] = 1
    copy.encoderinfo = {"tiffinfo": kind}
    data = encoded(picture, "TIFF", save_all=True, append_images=[copy])
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        assert image.tag_v2[254] == 1
    assert not examine(data, "x").has_more


@pytest.mark.parametrize(("kind", "reader"), [("GIF", "GifImageFile"), ("TIFF", "TiffImageFile")])
def test_a_file_that_promises_many_pictures_is_not_gone_through(monkeypatch, kind, reader):
    from PIL import GifImagePlugin, TiffImagePlugin

    reader = getattr(GifImagePlugin if kind == "GIF" else TiffImagePlugin, reader)
    seek, looked = reader._seek, []

    def seeking(self, to, *more):
        looked.append(to)
        return seek(self, to, *more)

    frames = [draw(n, (8, 8)) for n in range(40)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(reader, "_seek", seeking)
    assert examine(data, "x").has_more
    assert max(looked) == 1


def test_a_preview_in_a_camera_s_jpeg_is_no_picture_of_its_own():
    data = encoded(draw(1), "MPO", save_all=True, append_images=[draw(2)])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert not examine(data, "x").has_more


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_white_is_what_the_data_set_says(dtype):
    ramp = np.linspace(0, 4095, 64).astype(dtype).reshape(8, 8)
    data = encoded(Image.fromarray(ramp), "TIFF")
    grey = np.asarray(decode(data, "x", 4095.0))[..., 0]
    np.testing.assert_allclose(grey, ramp * 255.0 / 4095, atol=0.51)
    with pytest.raises(BadImageError, match="white") as caught:
        decode(data, "x", 1023.0)
    assert "`white: 4095` or more" in caught.value.remedy


def test_eight_bits_are_as_they_are_whatever_is_white():
    for picture in (draw(0), draw(0).convert("L")):
        data = encoded(picture, "PNG")
        np.testing.assert_array_equal(np.asarray(decode(data, "x", 4095.0)), pixels(data))
