"""Errors that a person can act on: the place, what was expected, what was found, what to do."""

from __future__ import annotations

import re
from typing import Self

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, what turns the order of text around, and bytes that are no text."""


_LONGEST = 8_000
"""Characters of a part of a message: a stranger's file may hold a value of any length."""


def printable(text: str) -> str:
    """Text of strangers (names, labels, paths) as a terminal may show it, Escape as its code."""
    return _UNPRINTABLE.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def is_printable(text: str) -> bool:
    """Whether `printable` leaves a text as it is."""
    return not _UNPRINTABLE.search(text)


class ProbelineError(Exception):
    """Anything that went wrong for a reason that the user can mend.

    Stages print it and exit with status 1; a traceback is for faults of the program only.

    Parameters
    ----------
    place : str
        Where: a params.yaml key, a data set, a model, a path.
    problem : str
        What is wrong, in one sentence.
    expected, found : str, optional
        What was expected there and what stands there.
    remedy : str, optional
        What to do about it.
    """

    def __init__(
        self, place: str, problem: str, *, expected: str = "", found: str = "", remedy: str = ""
    ) -> None:
        self.place = place
        self.problem = problem
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [_bounded(f"{self.place}: {self.problem}")]
        for name, text in (
            ("expected", self.expected),
            ("found", self.found),
            ("to mend", self.remedy),
        ):
            if text:
                lines.append(f"  {name:<9} {_bounded(text)}")
        return printable("\n".join(lines))

    def at(self, place: str) -> Self:
        """The same error, whose place is named better."""
        return type(self)(
            place, self.problem, expected=self.expected, found=self.found, remedy=self.remedy
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive a worker process without this.
        return (
            _rebuild,
            (type(self), self.place, self.problem, self.expected, self.found, self.remedy),
            self.__dict__,  # a subclass's own attributes, too
        )


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _rebuild(
    kind: type[ProbelineError], place: str, problem: str, expected: str, found: str, remedy: str
) -> ProbelineError:
    error = kind.__new__(kind)
    ProbelineError.__init__(error, place, problem, expected=expected, found=found, remedy=remedy)
    return error


class DiskFullError(ProbelineError, OSError):
    """No space (or no quota) left while writing."""


class CellMissingError(ProbelineError, FileNotFoundError):
    """The cell asked for is not in the cache, or not whole."""


class CellStaleError(ProbelineError, ValueError):
    """The cell in the cache answers another question than the one asked."""


class CellCorruptError(ProbelineError, ValueError):
    """The cell's bytes are not those that were written."""


class CellLockedError(ProbelineError, BlockingIOError):
    """Another live process is writing the cell."""


class NonFiniteError(ProbelineError, ValueError):
    """NaN or infinity among the values to store.

    Attributes
    ----------
    row, column : int
        Position of the first such value in the cell.
    """

    row: int = -1
    column: int = -1
