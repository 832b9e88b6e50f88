"""Several failures are one error that names each, and what helps each."""

from __future__ import annotations

import pytest

from cache.errors import ProbelineError
from pipeline.machine.failures import all_in_one


def failures(*remedies: str) -> list[ProbelineError]:
    return [
        ProbelineError(f"run {i}", f"problem {i}", remedy=remedy)
        for i, remedy in enumerate(remedies)
    ]


def test_one_is_that_one():
    (one,) = failures("lower it")
    assert all_in_one("finetune", [one], 3, "runs") is one


@pytest.mark.parametrize("count", [2, 5, 8])
def test_all_are_named_with_what_helps_each(count):
    remedies = [f"remedy {i}" for i in range(count)]
    error = all_in_one("finetune", failures(*remedies), 9, "runs")
    said = str(error)
    assert f"{count} of 9 runs failed" in said
    for i in range(min(count, 5)):
        assert f"run {i}: problem {i}" in said
        assert f"run {i}: remedy {i}" in said
    assert ("and 3 more" in said) == (count == 8)


def test_what_helps_all_is_said_once():
    error = all_in_one("pretrain", failures("free some space", "free some space"), 2, "trainings")
    assert error.remedy == "free some space"


def test_one_without_a_remedy_has_none():
    error = all_in_one("pretrain", failures("", "lower it"), 2, "trainings")
    assert error.remedy == "run 1: lower it"
