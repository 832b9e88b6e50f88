"""Names that become paths: one rule, for params.yaml, the command line and every file."""

from __future__ import annotations

import re

from cache.errors import ProbelineError

NAME = r"[A-Za-z0-9_]{1,100}"
"""No separator, dot or quote: a name can leave no folder and mean nothing to a shell."""

NAME_PATTERN = re.compile(NAME, re.ASCII)

EXPECTED = "letters, digits and `_`, at most 100"


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
