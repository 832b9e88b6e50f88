"""What the report and its summary say of the best model by a mean over data sets.

One function a statement, made from the numbers that it states. Names stand as they are: whoever
writes them where markup means anything escapes the whole sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.report.contests import Contest
from pipeline.report.formats import count, percent, points
from pipeline.statistics import written
from pipeline.statistics.tie_cost import POWER
from pipeline.statistics.written import counted, rounded

_NAMED = 7
"""Names of many that a sentence lists, before it counts the rest."""

UNPAIRED = " (conservative: compared without per-image outcomes, as if on different images)"


def verdict(c: Contest) -> list[str]:
    """All that is said of a contest that has a best model, one sentence or two an entry."""
    return [said for said in (standing(c), cost(c), enough_images(c)) if said]


def standing(c: Contest) -> str:
    """Which models are within chance of the best, and which differ."""
    if not c.others:
        return "There is no other model to compare it with."
    if not c.compared:
        return _by_scores(c)
    images = on_images(c, c.images)
    others, left = len(c.others), len(c.others) - len(c.near)
    if left == others:
        following, lead = c.others[0].model, f"{points(c.others[0].difference)} points behind"
        if others == 1:
            return f"It differs from the only other model {images}: {following}, {lead}."
        return f"It differs from {all_others(others)} {images}; next is {following}, {lead}."
    tied = f"Within chance of it {images}: {listed(c.near)}."
    if left:
        return (
            f"{tied} The other {'model differs' if left == 1 else f'{count(left)} models differ'}."
        )
    return tied if others == 1 else f"{tied} No model differs from it."


def on_images(c: Contest, images: int) -> str:
    """On how many test images models were compared, and whether image by image."""
    return f"on {counted(images, 'test image')}" + ("" if c.paired else UNPAIRED)


def by_which_tests(contests: Sequence[Contest]) -> str:
    """How the models of several contests were compared."""
    paired = {c.paired for c in contests if c.compared}
    if paired == {True}:
        return "Models are compared image by image, all pairs together."
    if paired == {False}:
        return (
            "Models are compared without per-image outcomes, as if on different images "
            "(conservative), all pairs together."
        )
    if paired:
        return (
            "All pairs of models are compared together: image by image where there are per-image "
            "outcomes, else as if on different images (conservative)."
        )
    return "Models are not compared, as there are no per-image outcomes on every data set."


def why_without(c: Contest, metric: str) -> str:
    """Which data sets a mean is not over, and why; empty where it is over all.

    Parameters
    ----------
    c : Contest
    metric : str
        In words: by which the mean is.
    """
    if not c.without:
        return ""
    said = []
    if c.other_metric:
        verb = "has" if len(c.other_metric) == 1 else "have"
        said.append(f"{listed(c.other_metric)}, which {verb} no {metric}")
    if few := [name for name in c.without if name not in c.other_metric]:
        pronoun = "it" if len(few) == 1 else "them"
        said.append(f"{listed(few)}, as too few models have {pronoun} and the others")
    return f"The mean is without {'; and without '.join(said)}."


def _by_scores(c: Contest) -> str:
    following = c.others[0]
    first = (
        f"The same score: {listed(c.equal)}."
        if c.equal
        else f"Next: {following.model} ({percent(following.mean)})."
    )
    return (
        f"{first} Whether they differ can’t be told: there are no per-image outcomes on every data "
        "set."
    )


def cost(c: Contest) -> str:
    """How far behind the best each one of a tie may be, and who is as good as the best."""
    if not c.compared or not c.near:
        return ""
    within = f"as good as the best to within {margin_words(c.margin)}"
    most = max(c.at_most, *(other.at_most for other in c.others if other.near))
    if most < c.margin:
        return f"All of them are {within}: none lies more than {at_most(most)} points behind."
    limits = (
        f"{c.best} lies at most {at_most(c.at_most)} points behind the best, any of them at "
        f"most {at_most(most)}."
    )
    good = [other.model for other in c.others if other.as_good]
    if c.best is not None and c.at_most < c.margin:
        good.insert(0, c.best)
    return f"{limits} A{within[1:]}: {listed(good)}." if good else limits


def enough_images(c: Contest) -> str:
    """How many test images would tell who of a tie is not the best."""
    needed = [other.images_to_tell for other in c.others if other.near and not other.as_good]
    if not c.compared or not needed:
        return ""
    most = math.ceil(max(needed))
    if most <= c.images:
        return f"These {counted(c.images, 'test image')} tell {told_behind(c.margin)}."
    return f"About {count(rounded(most))} test images would tell {told_behind(c.margin)}."


def told_behind(margin: float) -> str:
    """What enough images tell, and how surely."""
    return f"a model that lies {margin_words(margin)} behind in {POWER:.0%} of cases"


def all_others(others: int) -> str:
    """Two and more other models, in words."""
    return "both others" if others == 2 else f"all {count(others)} others"


def listed(names: Sequence[str]) -> str:
    """a, b and c; of more than eight names the first seven."""
    return written.listed(names, _NAMED)


def at_most(share: float) -> str:
    """An upper limit in points: rounded up, as it would be wrong rounded down."""
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}"


def margin_words(share: float) -> str:
    """The margin as the study has it: 1 point, 0.5 points."""
    text = f"{100 * share:g}"
    return f"{text} point{'' if text == '1' else 's'}"
