"""Which model to take on the target: one recommendation, its verdict, and what a tie offers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.constraints import model_sizes
from pipeline.report.contests import Contest, contest
from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.statistics.mean_scores import TARGET
from pipeline.statistics.target_checks import check_words, deciding
from pipeline.study.metrics import CONFIDENCE
from pipeline.study.target import Target

CLEAR, TIE, FEW, UNTESTED, ALONE, NONE = (
    "clear winner", "tie", "too few images", "not tested", "only model", "no score",
)  # fmt: skip

VERDICTS = {
    CLEAR: "every other model is behind it on these test images ({level}, all pairs tested "
    "together)",
    TIE: "several models are shown to be as good as the best to within the margin of the study; "
    "the smallest of them is recommended",
    FEW: "others are within chance of it, and might lie behind by more than the margin; the most "
    "accurate is recommended, and how many test images would do is said",
    UNTESTED: "scores without per-image outcomes: the highest is recommended, and whether it "
    "differs from the next can’t be told",
}
"""The words of the verdict, and the rule of each, with a place for the level of the tests."""

FLOAT32 = 4
"""Bytes of a weight, as most files hold it."""

FEWEST = 5
"""Test images of a class, below which its share says nothing."""

_NAN = float("nan")


@dataclass(frozen=True)
class Offer:
    """A model of the tie that is first in something.

    Attributes
    ----------
    role : str
        In what: most accurate, smallest, fastest.
    model : str
    score : float
    at_most : float
        Upper limit of how far it lies behind the best; NaN where nothing was compared.
    parameters, milliseconds : float
        NaN where not known.
    """

    role: str
    model: str
    score: float
    at_most: float
    parameters: float
    milliseconds: float

    @property
    def megabytes(self) -> float:
        """Of its weights in float32."""
        return self.parameters * FLOAT32 / 1e6


@dataclass(frozen=True)
class ClassShare:
    """How one class of the target fares with the recommended model."""

    name: str
    right: float
    images: int
    weak: bool


@dataclass(frozen=True)
class Says:
    """What another protocol puts first on the target."""

    check: str
    model: str
    score: float


@dataclass(frozen=True)
class Choice:
    """The answer to the first question.

    Attributes
    ----------
    target : Target
    protocol : str
        That decides; empty where nothing scored the target.
    contest : Contest or None
    verdict : str
        A key of `VERDICTS`, or `ALONE`, or `NONE`.
    picked : str
        The recommended model; empty without any score.
    score, low, high : float
        Of the recommended model; its own interval over test images.
    images : int
        Test images of the target.
    as_good : tuple of str
        Models shown to be as good as the best to within the margin.
    offers : tuple of Offer
        The most accurate, smallest and fastest of the tie.
    says : tuple of Says
        By each protocol, the deciding one too.
    classes : tuple of ClassShare
        The lowest first, of those with `FEWEST` test images or more.
    level : float
        Of the interval of the score.
    """

    target: Target
    protocol: str
    contest: Contest | None
    verdict: str
    picked: str = ""
    score: float = _NAN
    low: float = _NAN
    high: float = _NAN
    images: int = 0
    as_good: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    says: tuple[Says, ...] = ()
    classes: tuple[ClassShare, ...] = ()
    level: float = CONFIDENCE

    @property
    def tied(self) -> int:
        """Models within chance of the best, itself included."""
        return 1 + len(self.contest.near) if self.contest is not None and self.picked else 0


@once
def choose(inputs: Inputs) -> Choice:
    """Recommend a model on the target."""
    contests = {
        protocol: found
        for protocol in inputs.headline
        if (found := contest(inputs, protocol, TARGET)).best is not None
    }
    protocol = deciding(contests)
    if not protocol:
        return Choice(inputs.target, "", None, NONE)
    c = contests[protocol]
    sizes = model_sizes(inputs)
    known = {name: dict(zip(inputs.models, of.tolist(), strict=True)) for name, of in sizes.items()}
    good = as_good(c)
    verdict = verdict_of(c, good)
    picked = recommended(c, verdict, good, known["parameters"])
    score, low, high, level = _score(inputs, c, picked)
    return Choice(
        target=inputs.target,
        protocol=protocol,
        contest=c,
        verdict=verdict,
        picked=picked,
        score=score,
        low=low,
        high=high,
        level=level,
        images=_images(inputs, c),
        as_good=good,
        offers=_offers(c, known),
        says=tuple(
            Says(check_words(inputs.variants[inputs.headline[name]]), str(of.best), of.mean)
            for name, of in contests.items()
        ),
        classes=_classes(inputs, picked),
    )


def as_good(c: Contest) -> tuple[str, ...]:
    """Models shown to be as good as the best to within the margin, by accuracy."""
    first = [str(c.best)] if c.compared and c.at_most < c.margin else []
    return (*first, *(other.model for other in c.others if other.as_good))


def verdict_of(c: Contest, good: Sequence[str]) -> str:
    """Which word of `VERDICTS` holds."""
    if not c.others:
        return ALONE
    if not c.compared:
        return UNTESTED
    if not c.near:
        return CLEAR
    return TIE if len(good) > 1 else FEW


def recommended(c: Contest, verdict: str, good: Sequence[str], parameters: dict[str, float]) -> str:
    """The smallest of those that are as good; else the most accurate."""
    if verdict != TIE:
        return str(c.best)
    return min(good, key=lambda model: _or_largest(parameters[model]))


def _or_largest(size: float) -> float:
    return size if math.isfinite(size) else math.inf


def _score(inputs: Inputs, c: Contest, model: str) -> tuple[float, float, float, float]:
    """Of one data set the score's own interval; of several the mean's, where it is known."""
    if model == c.best:
        return c.mean, c.low, c.high, c.level
    score = next(other.mean for other in c.others if other.model == model)
    means = inputs.told("mean_scores").sel(protocol=c.protocol, scope=TARGET, model=model)
    if len(c.datasets) > 1:
        return score, float(means["low"]), float(means["high"]), c.level
    cell = inputs.scored.sel(
        model=model, dataset=c.datasets[0], variant=inputs.headline[c.protocol]
    )
    return score, float(cell["ci_low"]), float(cell["ci_high"]), CONFIDENCE


def _images(inputs: Inputs, c: Contest) -> int:
    if c.images:
        return c.images
    return int(inputs.cube["n_test"].sel(dataset=list(c.datasets)).sum())


def _offers(c: Contest, known: dict[str, dict[str, float]]) -> tuple[Offer, ...]:
    """The most accurate, smallest and fastest within chance of the best; each model once."""
    scores = {str(c.best): (c.mean, c.at_most)} | {
        other.model: (other.mean, other.at_most) for other in c.others if other.near
    }
    first = {"most accurate": str(c.best)}
    for role, size in (("smallest", "parameters"), ("fastest", "milliseconds")):
        sized = {m: known[size][m] for m in scores if math.isfinite(known[size][m])}
        if sized and len(scores) > 1:
            first[role] = min(sized, key=lambda model: sized[model])
    roles: dict[str, list[str]] = {}
    for role, model in first.items():
        roles.setdefault(model, []).append(role)
    return tuple(
        Offer(" and ".join(of), model, *scores[model], known["parameters"][model],
              known["milliseconds"][model])
        for model, of in roles.items()
    )  # fmt: skip


def _classes(inputs: Inputs, model: str) -> tuple[ClassShare, ...]:
    """The target's classes by the recommended model, the weakest first; none of fewer than two."""
    found = inputs.told("class_accuracy")
    if "weak" not in found:
        return ()
    several = len(inputs.target.datasets) > 1
    of = found.isel(row=np.flatnonzero((found["model"] == model) & (found["n"] >= FEWEST)))
    numbers = (of[name].values for name in ("dataset", "class", "right", "n", "weak"))
    shares = [
        ClassShare(f"{dataset}: {name}" if several else str(name), float(right), int(n), weak == 1)
        for dataset, name, right, n, weak in zip(*numbers, strict=True)
    ]
    if len(shares) < 2:
        return ()
    return tuple(sorted(shares, key=lambda share: (share.right / share.images, -share.images)))
