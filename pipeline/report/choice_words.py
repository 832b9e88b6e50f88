"""What is said of the recommended model: one function a statement, from the numbers that it states.

Page, summary.md, terminal and metrics.json print these sentences. Names stand as they are: whoever
writes them where markup means anything escapes the whole sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.report.choice import ALONE, CLEAR, FEW, NONE, TIE, Choice, ClassShare, Offer
from pipeline.report.formats import count, interval, level, percent, points
from pipeline.report.verdicts import (
    all_others,
    at_most,
    listed,
    margin_words,
    on_images,
    standing,
    told_behind,
)
from pipeline.statistics.written import counted, rounded
from pipeline.study import metrics
from pipeline.study.protocol_list import protocol_label

MOST_CLASSES = 3
"""Classes that the line on weak ones names."""

_HITS = "top1"


def take(c: Choice) -> str:
    """The recommendation."""
    if c.verdict == NONE:
        if len(c.target.datasets) > 1:
            return f"No model can be recommended: none has a score on all of {c.target.words}."
        return f"No model can be recommended: no score is known on {c.target.words}."
    return f"Take {c.picked}."


def accuracy(c: Choice, metric: str) -> str:
    """The recommended model's score with its interval, and what it rests on."""
    if c.verdict == NONE:
        return ""
    ends = interval(c.low, c.high, in_points=True)
    known = f" ({level(c.level)}: {ends})" if ends else ""
    probe = f"by {with_article(c.protocol)}"
    images = counted(c.images, "test image") if c.images else "an unknown number of test images"
    several = c.contest is not None and len(c.contest.datasets) > 1
    if metric == _HITS and not several:
        return f"{percent(c.score)}{known} of {images} right, {probe}"
    of = metrics.metric_named(metric)
    mean = f", mean over {len(c.contest.datasets)} data sets" if several and c.contest else ""
    return f"{percent(c.score)}{known} {of.goodness_of(of.label)} on {images}{mean}, {probe}"


def with_article(protocol: str, article: str = "a") -> str:
    """A protocol in a sentence: a linear probe, but kNN."""
    label = protocol_label(protocol)
    return f"{article} {label}" if label.endswith("probe") else label


def verdict(c: Choice) -> str:
    """Whether it is a clear winner, a tie, or too few images to say."""
    if c.contest is None:
        return ""
    if c.verdict == ALONE:
        return "It is the only model of the study: there is nothing to choose."
    images = on_images(c.contest, c.images)
    others = len(c.contest.others)
    if c.verdict == CLEAR:
        following = c.contest.others[0]
        behind = f"{points(following.difference)} points"
        if others == 1:
            return f"Clear winner: the other model, {following.model}, is {behind} behind."
        return (
            f"Clear winner: {all_others(others)} are behind it; the next, "
            f"{following.model}, by {behind}."
        )
    if c.verdict == TIE:
        return (
            f"Tie of {len(c.as_good)}: {images} each is as good as the best to within "
            f"{margin_words(c.contest.margin)}. {c.picked} is the smallest of them."
        )
    if c.verdict == FEW:
        near = len(c.contest.near)
        them = "1 other is" if near == 1 else f"{count(near)} others are"
        return (
            f"Too few images to name a winner: {images} {them} within chance of it. It lies at "
            f"most {at_most(c.contest.at_most)} points behind the best."
        )
    return standing(c.contest)


def instruction(c: Choice) -> str:
    """What to do now."""
    if c.contest is None:
        return "Run `dvc repro`, or name another data set in `report.target`."
    if c.verdict == ALONE:
        return "Add a second model to compare it with."
    if c.verdict == CLEAR:
        return "Use it: on such images more testing will hardly change that."
    if c.verdict == TIE:
        return "Choose among them by size or speed."
    if c.verdict == FEW:
        parts = []
        if small := _smallest(c.offers):
            parts.append(
                f"Where size matters take {small.model}, at most {at_most(small.at_most)} points "
                "behind."
            )
        told = told_behind(c.contest.margin)
        if (needed := images_needed(c)) > c.images:
            parts.append(
                f"To settle it, test on more images: about {count(needed)} would tell {told}."
            )
        elif needed:
            parts.append(f"Use it for now: these {counted(c.images, 'test image')} tell {told}.")
        return " ".join(parts) or "Use it for now."
    return "Take it for now; import scores with per-image outcomes to know more."


def _smallest(offers: Sequence[Offer]) -> Offer | None:
    return next((o for o in offers[1:] if "smallest" in o.role), None)


def images_needed(c: Choice) -> int:
    """Test images that would tell who of a tie is not the best; 0 where that is not asked."""
    if c.contest is None or c.verdict != FEW:
        return 0
    needed = [o.images_to_tell for o in c.contest.others if o.near and not o.as_good]
    known = [number for number in needed if math.isfinite(number)]
    return rounded(math.ceil(max(known))) if known else 0


def says(c: Choice) -> str:
    """What each way of testing puts first on the target, in one line."""
    if len(c.says) < 2 or c.verdict == ALONE:
        return ""
    by: dict[str, list[str]] = {}
    for one in c.says:
        by.setdefault(one.model, []).append(one.check)
    if len(by) == 1:
        return f"The same model is first by {listed(list(*by.values()))}."
    said = "; by ".join(f"{listed(checks)}: {model}" for model, checks in by.items())
    return f"First by {said}."


def weak(classes: Sequence[ClassShare]) -> str:
    """The classes that fare worst, with their counts; whether that may be chance."""
    if len(classes) < 2 or classes[0].right == classes[0].images:
        return ""
    found = [share for share in classes if share.weak]
    named = (found or [s for s in classes if s.right < s.images])[:MOST_CLASSES]
    words = listed(
        [f"{s.name} ({percent(s.right / s.images)}, {s.right:g} of {s.images})" for s in named]
    )
    if found:
        more = len(found) - len(named)
        return f"Weak on: {words}" + (f"; and on {more} more." if more else ".")
    return f"Lowest: {words}. That may be chance: no class is shown to lie below the mean."


def statements(c: Choice, metric: str) -> list[str]:
    """All of it, in the order in which it is printed."""
    first = " ".join(filter(None, [take(c), _sentence(accuracy(c, metric))]))
    return [said for said in (first, verdict(c), instruction(c), says(c), weak(c.classes)) if said]


def _sentence(words: str) -> str:
    return f"{words}." if words else ""
