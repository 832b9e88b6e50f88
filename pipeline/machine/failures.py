"""Several jobs that failed, as one error that loses none of them."""

from __future__ import annotations

from collections.abc import Sequence

from cache.errors import ProbelineError

_SHOWN = 5


def all_in_one(
    stage: str, failed: Sequence[ProbelineError], jobs: int, what: str
) -> ProbelineError:
    """One error of all that failed, while the other jobs were done.

    Parameters
    ----------
    stage : str
    failed : sequence of ProbelineError
        At least one.
    jobs : int
        All that there were.
    what : str
        They are, in the plural.
    """
    if len(failed) == 1:
        return failed[0]
    shown, left = failed[:_SHOWN], len(failed) - _SHOWN
    more = f"; and {left} more" if left > 0 else ""
    # What one of them found at its place, and what helps there, may help no other one.
    remedies = [f"{e.place}: {e.remedy}" for e in shown if e.remedy]
    if len({e.remedy for e in shown}) == 1:
        remedies = [shown[0].remedy]
    return ProbelineError(
        stage,
        f"{len(failed)} of {jobs} {what} failed; the others were done and are kept",
        found="; ".join(
            f"{e.place}: {e.problem}" + (f" ({e.found})" if e.found else "") for e in shown
        )
        + more,
        remedy="; ".join(remedies) + (more if len(remedies) > 1 else ""),
    )
