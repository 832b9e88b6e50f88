"""What several sections of the report say is found once, and kept with what it was found in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from pipeline.report.inputs import Inputs

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[Concatenate[Inputs, P], R]) -> Callable[Concatenate[Inputs, P], R]:
    """Keep what a function finds in `Inputs`, by its other arguments, as long as they are kept.

    For functions that change nothing and whose results nobody changes.
    """

    @functools.wraps(function)
    def found(inputs: Inputs, /, *args: P.args, **kwargs: P.kwargs) -> R:
        kept: dict[object, R] = inputs.__dict__.setdefault("_once", {})
        asked = (function, args, tuple(sorted(kwargs.items())))
        if asked not in kept:
            kept[asked] = function(inputs, *args, **kwargs)
        return kept[asked]

    return found
