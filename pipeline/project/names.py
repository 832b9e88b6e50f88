"""Names that become paths: one rule, for params.yaml, the command line and every file."""

from __future__ import annotations

import re
from typing import Protocol, TypeVar

from cache.errors import ProbelineError

NAME = r"[A-Za-z0-9_]{1,100}"
"""No separator, dot or quote: a name can leave no folder and mean nothing to a shell."""

NAME_PATTERN = re.compile(NAME, re.ASCII)

EXPECTED = "letters, digits and `_`, at most 100"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=_Named)


def distinct(*things: Thing) -> tuple[Thing, ...]:
    """The objects of one list (metrics, protocols, data sources), in its order.

    Raises
    ------
    ValueError
        When two have one name.
    """
    names = [thing.name for thing in things]
    if twice := [name for name in names if names.count(name) > 1]:
        kind = type(things[0]).__name__
        raise ValueError(f"two of the list of {kind} objects are called {twice[0]}: rename one")
    return things


def checked_name(name: str, what: str, how: str = "rename it, e.g. to") -> str:
    """`name`, if it can be the name of a file or folder.

    Parameters
    ----------
    name : str
    what : str
        What it names, for the error: data set, model …
    how : str
        What to do about it, before a name that is usable.

    Raises
    ------
    ProbelineError
        When it is not letters, digits and `_` alone.
    """
    if NAME_PATTERN.fullmatch(name):
        return name
    raise ProbelineError(
        f"{what} {name[:100]!r}",
        "not a usable name",
        expected=EXPECTED,
        found=repr(name[:200]),
        remedy=f"{how} `{usable(name)}`",
    )


def usable(name: str) -> str:
    """The nearest name that the rule allows."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)[:100] or "unnamed"
