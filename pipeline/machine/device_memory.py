"""What happens when a device's memory does not hold what was given to it: less, or elsewhere.

One place knows how PyTorch and RAPIDS say that there is no room, and how to give back what a failed
attempt has left. What goes through a device in pieces takes smaller ones (`Pieces`); what can't be
cut is computed in another way (`first_that_fits`).
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cache.errors import ProbelineError

T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device has no room: PyTorch's error, CuPy's, or RAPIDS' `std::bad_alloc`."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, MemoryError) and "cuml" in sys.modules


def release() -> None:
    """Give back what PyTorch holds for later: of a failed attempt nothing is used any more."""
    gc.collect()  # what a traceback held in a circle
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass
class Pieces:
    """How many items go through a device at once: half as many whenever they do not fit.

    Attributes
    ----------
    size : int
        At first, and what has come of it.
    what : str
        Whose they are, for the error where a single one does not fit.
    """

    size: int
    what: str = "a device"

    def through(self, total: int, run: Callable[[slice], T]) -> list[T]:
        """Run all of `total` items, in order, so many at a time.

        Raises
        ------
        ProbelineError
            When the device's memory does not hold one item.
        """
        found: list[T] = []
        done = 0
        while done < total:
            part = slice(done, min(done + self.size, total))
            try:
                found.append(run(part))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.halve(part.stop - part.start, error)
            else:
                done = part.stop
                continue
            release()  # after the traceback, which holds what was computed so far
        return found

    def halve(self, tried: int, error: BaseException) -> None:
        """From now on half as many as were tried in vain.

        Raises
        ------
        ProbelineError
            When that was one.
        """
        if tried == 1:
            raise _too_small(self.what, "the device does not hold a single one") from error
        self.size = tried // 2


def first_that_fits(
    attempts: Sequence[Callable[[], T]], what: str, moved: Callable[[int], None]
) -> T:
    """What the first attempt gives for which the device has room.

    Parameters
    ----------
    attempts : sequence of callable
        The same computation, from the fastest to the one that takes least of the device.
    what : str
        It is, for the error.
    moved : callable
        Told the number of each attempt that is made because the one before did not fit.

    Raises
    ------
    ProbelineError
        When none fits.
    """
    for number, attempt in enumerate(attempts):
        if number:
            moved(number)
        try:
            return attempt()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            why = str(error).strip().split("\n")[0]
        release()
    raise _too_small(what, why)


def _too_small(what: str, why: str) -> ProbelineError:
    return ProbelineError(
        what,
        "the device's memory does not hold it",
        found=why,
        remedy="free the device's memory, or compute on the CPU: PROBELINE_DEVICE=cpu",
    )
