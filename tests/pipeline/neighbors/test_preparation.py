"""How stored features become points."""

from __future__ import annotations

import numpy as np

from pipeline.neighbors.preparation import widen


def test_every_float16_is_widened_as_numpy_does():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(widen(finite), finite.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(widen(finite)), np.signbit(finite))
    for wrong in (np.inf, -np.inf, np.nan):
        row = np.array([1.5, wrong], np.float16)
        np.testing.assert_array_equal(widen(row), row.astype(np.float32))
