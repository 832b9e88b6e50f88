"""Which library computes: one explicit choice, which every result row records."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

from cache.errors import ProbelineError

BACKENDS = ("sklearn", "torch", "cuml")
"""Libraries that a user may insist on; ``numpy`` is our own code, the usual choice of ``auto``."""

CUML_ELEMENTS = 2**31 - 1
"""cuML counts the elements of a matrix in 32 bits."""


def choose_backend(offered: Sequence[str]) -> str:
    """What ``PROBELINE_BACKEND`` asks for: auto (default), sklearn, torch, or cuml.

    Parameters
    ----------
    offered : sequence of str
        What the protocol can compute with; the first is what ``auto`` takes.

    Returns
    -------
    str
        One of `offered`.

    Raises
    ------
    ProbelineError
        When the variable names no backend, one that the protocol does not have, or a library
        that is not installed. Nothing is ever replaced silently.
    """
    asked = os.environ.get("PROBELINE_BACKEND", "").strip() or "auto"
    place = "environment variable PROBELINE_BACKEND"
    if asked not in ("auto", *BACKENDS):
        raise ProbelineError(
            place,
            "is not a backend",
            expected=f"auto, {', '.join(BACKENDS)}",
            found=repr(asked),
            remedy="unset it to use each protocol's own",
        )
    if asked == "auto":
        return offered[0]
    if asked not in offered:
        also = [name for name in offered if name in BACKENDS]
        raise ProbelineError(
            place,
            f"this protocol does not compute with {asked}",
            expected=", ".join(("auto", *also)),
            found=asked,
            remedy="unset it to use the protocol's own",
        )
    if asked == "cuml" and importlib.util.find_spec("cuml") is None:
        raise ProbelineError(
            place,
            "cuML is not installed",
            found=asked,
            remedy="with a CUDA GPU: pip install -c constraints-gpu.txt -e '.[gpu]'; or unset it",
        )
    return asked


def require_cuml_size(place: str, rows: int, columns: int) -> None:
    """Refuse a matrix whose elements cuML can't count.

    Raises
    ------
    ProbelineError
    """
    if rows * columns > CUML_ELEMENTS:
        raise ProbelineError(
            place,
            "is too large for cuML, which counts a matrix's elements in 32 bits",
            expected=f"at most {CUML_ELEMENTS:,} elements",
            found=f"{rows:,} x {columns:,} = {rows * columns:,}",
            remedy="unset PROBELINE_BACKEND",
        )
