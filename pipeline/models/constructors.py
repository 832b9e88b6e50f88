"""The functions of timm that build networks, by name; nothing else is called."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable

import timm
from torch import nn

from cache.errors import ProbelineError


def constructor_of(architecture: str, place: str) -> Callable[..., nn.Module]:
    """What builds a network with its initial weights.

    Parameters
    ----------
    architecture : str
        Of timm's registry, or ``timm.models.MODULE:FUNCTION`` for others.
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        When there is no such architecture.
    """
    if ":" in architecture:
        return functools.partial(_unregistered(architecture, place), pretrained=False)
    if not timm.is_model(architecture.split(".")[0]):
        raise _unknown(architecture, place)
    return functools.partial(timm.create_model, architecture)


def _unregistered(architecture: str, place: str) -> Callable[..., nn.Module]:
    """A function that one of timm's modules of architectures defines."""
    module, _, function = architecture.partition(":")
    found = None
    if re.fullmatch(r"timm\.models(\.[A-Za-z][A-Za-z0-9_]*)+", module):
        try:
            found = getattr(importlib.import_module(module), function, None)
        except ImportError:
            found = None
    if not inspect.isfunction(found) or found.__module__ != module:
        raise no_constructor(architecture, place)
    return found


def no_constructor(architecture: str, place: str) -> ProbelineError:
    """What to say of a name that builds no network."""
    return ProbelineError(
        f"{place}.architecture",
        "there is no such constructor",
        expected="timm.models.MODULE:FUNCTION, which builds a network and is defined there",
        found=architecture,
        remedy="correct the name",
    )


def _unknown(architecture: str, place: str) -> ProbelineError:
    near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.6)
    return ProbelineError(
        f"{place}.architecture",
        "timm knows no such architecture",
        expected="a name of timm.list_models()",
        found=architecture,
        remedy=f"did you mean {' or '.join(near)}?" if near else "correct the name",
    )
