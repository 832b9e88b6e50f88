"""Results that several statistics of the same evidence ask for, computed once."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

from pipeline.statistics.evidence import Evidence

Result = TypeVar("Result")


def remembered(function: Callable[[Evidence], Result]) -> Callable[[Evidence], Result]:
    """Remember a function's result for the evidence that it was last asked about.

    By identity, not equality: comparing two cubes would cost more than some results.
    """
    last: list[tuple[weakref.ref[Evidence], Result]] = []

    @functools.wraps(function)
    def ask(evidence: Evidence) -> Result:
        if not (last and last[0][0]() is evidence):
            last[:] = [(weakref.ref(evidence), function(evidence))]
        return last[0][1]

    return ask


def remembered_of_headlines(function: Callable[[Evidence], Result]) -> Callable[[Evidence], Result]:
    """The same of a function that looks at headlines and cheap predictors alone.

    Asked about an evidence with all variants, it answers for the one that most statistics are made
    of, and computes nothing twice.
    """
    of_headlines = remembered(function)

    @functools.wraps(function)
    def ask(evidence: Evidence) -> Result:
        return of_headlines(evidence if evidence.headlines is None else evidence.headlines)

    return ask
