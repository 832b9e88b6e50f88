"""Files from elsewhere: whatever a library raises while it reads one is a fault of the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cache.errors import ProbelineError

_SHOWN = 300
"""Characters of a library's own words that a message repeats."""


@contextlib.contextmanager
def explain_reading(place: str, problem: str, remedy: str) -> Iterator[None]:
    """Turn any exception into an error that names the file; a list of kinds is never complete.

    Parameters
    ----------
    place, problem, remedy : str
        See `ProbelineError`. A file that is not there, or may not be read, is said to be that.
    """
    try:
        yield
    except (ProbelineError, MemoryError):
        raise
    except FileNotFoundError:
        raise ProbelineError(
            place, "is not there", found="no such file", remedy="put it back, or correct its path"
        ) from None
    except PermissionError as error:
        raise ProbelineError(
            place, "may not be read", found=str(error.strerror), remedy="make it readable"
        ) from None
    except Exception as error:  # noqa: BLE001 - see above
        raise ProbelineError(place, problem, found=words_of(error), remedy=remedy) from None


def words_of(error: BaseException) -> str:
    """The first words of an exception, or its kind where it has none."""
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
