"""What many ask of the same cube, computed once."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

import xarray as xr

Answer = TypeVar("Answer", xr.DataArray, xr.Dataset)


def once_per_cube(
    function: Callable[[xr.Dataset, str], Answer],
) -> Callable[[xr.Dataset, str], Answer]:
    """Remember a function's answers as long as the cube is there; who asks gets a copy of them.

    By identity: comparing two cubes would cost more than most answers. A cube is not changed once
    it has been asked.
    """
    known: dict[tuple[int, str], Answer] = {}

    @functools.wraps(function)
    def ask(cube: xr.Dataset, metric: str) -> Answer:
        key = id(cube), metric
        if key not in known:
            known[key] = function(cube, metric)
            weakref.finalize(cube, known.pop, key, None)
        return known[key].copy(deep=True)

    return ask
