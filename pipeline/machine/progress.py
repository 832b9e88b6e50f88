"""Progress: a bar with rate and remaining time on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

LOG_SECONDS = 30.0
"""Between two lines of a log."""


class Progress:
    """Counts towards a total.

    Parameters
    ----------
    name : str
        What is going on.
    total : int
    unit : str
        What is counted, in the plural.
    """

    def __init__(self, name: str, total: int, unit: str) -> None:
        self.name, self._total, self._unit = name, total, unit
        self._done, self._start = 0, time.monotonic()
        self._next_line = self._start + LOG_SECONDS
        self._bar = (
            tqdm(total=total, desc=name, unit=f" {unit}", dynamic_ncols=True, leave=False)
            if sys.stderr.isatty()
            else None
        )

    def advance(self, count: int = 1, words: str = "") -> None:
        """Count `count` more; `words`: how it goes."""
        self._done += count
        if self._bar is not None:
            if words:
                self._bar.set_postfix_str(words, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if now >= self._next_line:
            rate = self._done / (now - self._start)
            left = (self._total - self._done) / rate if rate else float("inf")
            print(
                f"{self.name}: {self._done:,} of {self._total:,} {self._unit}, "
                f"{rate:,.3g} a second, {left:,.0f} s left" + (f"; {words}" if words else ""),
                file=sys.stderr,
                flush=True,
            )
            self._next_line = now + LOG_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
