"""Pictures on a sheet are found where their position says, each once."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.report.picture_sheet import PAPER, SIDE, Sheet, squared


def cut(style: str, position: str) -> np.ndarray:
    """The picture that a browser shows at a position."""
    data = re.search(r"url\(data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)\)", style)[1]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    left, top = (-int(part.removesuffix("px")) for part in position.split())
    return sheet[top : top + SIDE, left : left + SIDE].astype(int)


@pytest.mark.parametrize("count", [1, 16, 17, 50])
def test_every_picture_lies_where_its_position_says(count):
    rng = np.random.default_rng(count)
    colors = rng.integers(0, 256, (count, 3), np.uint8)
    sheet = Sheet()
    positions = [
        sheet.position(str(i), lambda c=c: np.full((SIDE, SIDE, 3), c, np.uint8))
        for i, c in enumerate(colors)
    ]
    style = sheet.style("thumb")
    assert style.startswith(".thumb {")
    for position, color in zip(positions, colors, strict=True):
        assert np.abs(cut(style, position) - color).max() <= 6  # JPEG


def test_a_picture_is_made_once():
    sheet, made = Sheet(), []

    def picture():
        made.append(1)
        return np.zeros((SIDE, SIDE, 3), np.uint8)

    assert sheet.position("a", picture) == sheet.position("a", picture)
    assert len(made) == 1


def test_a_picture_that_fails_leaves_no_place():
    sheet = Sheet()
    with pytest.raises(ZeroDivisionError):
        sheet.position("a", lambda: 1 / 0)
    first = sheet.position("b", lambda: np.zeros((SIDE, SIDE, 3), np.uint8))
    assert first == "0px 0px"


def test_grey_pictures_are_stored_grey():
    sheet = Sheet()
    ramp = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    sheet.position("a", lambda: np.repeat(ramp[..., np.newaxis], 3, axis=-1))
    _, data = sheet.encoded()
    # The sheet has paper beside one picture, and paper is grey.
    assert Image.open(io.BytesIO(data)).mode == "L"


@pytest.mark.parametrize(("size", "paper"), [((96, 48), [0, SIDE - 1]), ((48, 48), [])])
def test_a_thumbnail_cuts_nothing_off(size, paper):
    found = squared(Image.new("RGB", size, (255, 0, 0)))
    assert found.shape == (SIDE, SIDE, 3)
    assert (found[SIDE // 2] == (255, 0, 0)).all()
    for row in paper:
        assert (found[row] == PAPER).all()
