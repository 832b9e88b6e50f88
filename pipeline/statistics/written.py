"""How correlations and probabilities are written, wherever a statement holds one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import SupportsFloat

from pipeline.project.words import number_of

MINUS = "−"
NOTHING = "–"

UNKNOWN = "unknown"
"""What a model's family, backbone and so on are called where nobody said them."""


def signed(text: str) -> str:
    """With a minus sign; zero has none."""
    unsigned = text.removeprefix("-")
    return unsigned if not unsigned.strip("0.%") else text.replace("-", MINUS)


def rho(x: float) -> str:
    """0.8123 as 0.81; what is not 1 is not written as 1: .996 as 0.996, .9999 as > 0.999."""
    if not math.isfinite(x):
        return NOTHING
    if 0.995 <= abs(x) < 1:
        if abs(x) < 0.9995:
            return signed(f"{x:.3f}")
        return "> 0.999" if x > 0 else f"< {MINUS}0.999"
    return signed(f"{x:.2f}")


def p_value(x: float) -> str:
    """0.0321 as 0.032."""
    if not math.isfinite(x):
        return NOTHING
    return "< 0.001" if x < 0.001 else f"{x:.3f}"


def p_is(x: float) -> str:
    """``p = 0.032`` or ``p < 0.001``."""
    text = p_value(x)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(low: SupportsFloat, high: SupportsFloat) -> str:
    """0.52 to 0.93; empty where there is none."""
    ends = float(low), float(high)
    return " to ".join(map(rho, ends)) if all(map(math.isfinite, ends)) else ""


def counted(count: float, noun: str, many: str = "") -> str:
    """One noun, one number: ``1 model``, ``2 models``."""
    if not math.isfinite(count):
        return f"{NOTHING} {many or noun + 's'}"
    return number_of(int(count), noun, many)


NOT_GIVEN = "not given: all models count as one family"


def families_given(families: Iterable[object]) -> bool:
    """Whether the family of any model was said: those of which it was not are counted as one."""
    return any(str(family) != UNKNOWN for family in families)


def models_of(models: float, families: float, *, given: bool) -> str:
    """``9 models of 6 families``; where no family was given, their number says nothing."""
    of = f"of {counted(families, 'family', 'families')}" if given else "(families not given)"
    return f"{counted(models, 'model')} {of}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """``a``, ``a and b``, ``a, b and c``, ``a, b, c, d and 3 more``."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def rounded(number: float) -> int:
    """To two digits, upwards: what it is made of is not known better."""
    step = 10 ** max(len(str(math.ceil(number))) - 2, 0)
    return int(math.ceil(number / step) * step)
