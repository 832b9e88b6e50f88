"""Data sets of a mean when scores are missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.report.blocks import FEWEST, largest_block

X, o = True, False


@pytest.mark.parametrize(
    ("scored", "expected"),
    [
        ([[X, X, o], [X, X, o]], [0, 1]),  # two models have all: nothing is left out
        ([[X, X, X], [X, o, o], [X, X, X]], [0, 2]),  # a data set of one model
        ([[X, X, o, o], [X, X, o, o], [o, o, X, X]], [0, 1]),  # no model has all
        ([[X, o], [o, X]], [0, 1]),  # nothing to compare anywhere
        ([[X]], [0]),
    ],
)
def test_what_is_left_out(scored, expected):
    assert largest_block(np.array(scored)) == expected


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 8))))
def test_a_choice_that_compares_models_wherever_one_does(scored):
    chosen = largest_block(scored)
    assert chosen == sorted(set(chosen))
    complete = scored[chosen].all(axis=0).sum()
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(len(scored)), k) for k in range(1, len(scored) + 1)
    )
    possible = any(scored[list(s)].all(axis=0).sum() >= FEWEST for s in subsets)
    assert (complete >= FEWEST) == possible
    if scored.all(axis=0).sum() >= FEWEST:
        assert chosen == list(range(len(scored)))
