"""The backend is what was asked for, or a refusal; never something else."""

from __future__ import annotations

import importlib.util

import pytest

from cache.errors import ProbelineError
from pipeline.machine.backends import choose_backend, require_cuml_size


@pytest.fixture
def ask(monkeypatch):
    return lambda name: monkeypatch.setenv("PROBELINE_BACKEND", name)


@pytest.mark.parametrize("name", ["auto", "", "  "])
def test_auto_is_the_protocols_own(ask, name):
    ask(name)
    assert choose_backend(["numpy", "sklearn"]) == "numpy"
    assert choose_backend(["torch"]) == "torch"


def test_a_library_by_name(ask):
    ask("sklearn")
    assert choose_backend(["numpy", "sklearn"]) == "sklearn"


@pytest.mark.parametrize("name", ["numpy", "Sklearn", "faiss"])
def test_unknown_names_are_refused(ask, name):
    ask(name)
    with pytest.raises(ProbelineError, match="auto, sklearn, torch, cuml"):
        choose_backend(["numpy", "sklearn", "torch", "cuml"])


def test_what_a_protocol_lacks_is_refused(ask):
    ask("torch")
    with pytest.raises(ProbelineError, match="does not compute with torch") as refusal:
        choose_backend(["numpy", "sklearn"])
    assert refusal.value.expected == "auto, sklearn"


def test_cuml_that_is_not_there_is_refused(ask, monkeypatch):
    ask("cuml")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProbelineError, match="not installed"):
        choose_backend(["numpy", "cuml"])


def test_cuml_counts_in_32_bits():
    require_cuml_size("x", 2**31 - 1, 1)
    with pytest.raises(ProbelineError, match=r"2,147,483,648"):
        require_cuml_size("x", 2**20, 2**11)
