"""How sure a classifier must be to answer, so that few of its answers are wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cache.errors import ProbelineError

LEVEL = 0.05
"""How often, at most, the rule may promise a risk that does not hold."""


@dataclass(frozen=True)
class Step:
    """One threshold, and what the study's test images say of it.

    Attributes
    ----------
    threshold : float
        Least probability of the predicted class at which an image is answered.
    images, wrong : int
        Test images that are answered then, and how many of these wrongly.
    upper : float
        Upper limit (one-sided, 95%, Clopper-Pearson) of the share that is wrong.
    """

    threshold: float
    images: int
    wrong: int
    upper: float


def images_needed(risk: float) -> int:
    """The fewest images that, all answered rightly, show a risk: 59 for 5%."""
    return math.ceil(math.log(LEVEL) / math.log1p(-risk) - 1e-9)


def threshold_for(steps: Sequence[Step], risk: float, place: str) -> Step:
    """The lowest threshold that the test images support, for a share of wrong answers.

    From the strictest threshold that has images enough to show the risk downwards, as long as the
    upper limit is within it; the first that is not ends it. Thresholds are fixed beforehand and
    tested in a fixed order, so that the chance of going down too far is `LEVEL` for all together
    (fixed sequence testing: Angelopoulos et al., Learn then Test, arXiv 2110.01052). It holds for
    images like the test images, each drawn on its own.

    Parameters
    ----------
    steps : sequence of Step
        Strictest first.
    risk : float
        Between 0 and 1.
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        When the risk is no share, or the test images support no threshold.
    """
    if not 0 < risk < 1:
        raise ProbelineError(
            f"{place}: risk",
            "is no share of answers that may be wrong",
            expected="a number between 0 and 1, e.g. 0.05",
            found=f"{risk:g}",
        )
    if not steps:
        raise ProbelineError(
            f"{place}: risk",
            "this head gives scores that are no probabilities, and can't say how sure it is",
            remedy="take a head that gives probabilities, e.g. `--head logistic_none` or "
            "`--head knn`",
        )
    found = None
    enough = [step for step in steps if step.images >= images_needed(risk)]
    for step in enough:
        if step.upper > risk:
            break
        found = step
    if found is None:
        first = enough[0] if enough else steps[-1]
        raise ProbelineError(
            f"{place}: risk",
            f"the study's test images can't show that at most {risk:.1%} of the answers are wrong",
            expected=f"{images_needed(risk):,} or more test images answered with hardly an error",
            found=f"{first.wrong:,} of {first.images:,} wrong where it is at least "
            f"{first.threshold:.4g} sure",
            remedy="allow a larger risk, or test on more images",
        )
    return found
