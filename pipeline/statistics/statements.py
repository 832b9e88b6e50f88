"""What is said of evaluations: one function a statement, from the numbers that it states.

Report, summary, metrics.json and terminal print these sentences and no others about which
evaluation to trust. docs/statistics.md lists each with its rule and how often it is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.statistics.common_ground import ENOUGH_MODELS
from pipeline.statistics.comparison import SIMPSON
from pipeline.statistics.null_models import RANDOM
from pipeline.statistics.written import counted, interval, listed, models_of, p_is, rho

ALPHA = 0.05

RANDOM_ORDER = RANDOM.label


@dataclass(frozen=True)
class Leader:
    """The highest of the compared evaluations, with the numbers that are said of it.

    Attributes
    ----------
    label : str
    mean, low, high : float
        Mean ρ; the interval holds for all compared at once.
    compared : int
        Of how many it is the highest.
    models, families, targets : int
        Fewest models on a target, their families, and targets.
    lowest, highest : float
        ρ on single targets.
    over_models : bool
        Whether the interval leaves out single models.
    families_given : bool
        Whether the family of any model is known.
    """

    label: str
    mean: float
    low: float
    high: float
    compared: int
    models: int
    families: int
    targets: int
    lowest: float
    highest: float
    over_models: bool = False
    families_given: bool = True

    @property
    def may_be_named(self) -> bool:
        """Whether there are models enough, and the interval is above 0."""
        return self.models >= ENOUGH_MODELS and self.low > 0


def behind(leader: Leader) -> str:
    """What the number rests on: models, families, targets."""
    return (
        f"{models_of(leader.models, leader.families, given=leader.families_given)}, "
        f"{counted(leader.targets, 'target')}"
    )


def number(leader: Leader) -> str:
    """Mean ρ with its interval, of how many it is the highest, and the single targets."""
    mean = "ρ" if leader.targets == 1 else "mean ρ"
    ends = interval(leader.low, leader.high)
    if ends and leader.compared > 1:
        ends = f"{ends} as the highest of {leader.compared}"
    said = f"{mean} {rho(leader.mean)}" + (f" ({ends})" if ends else "")
    if leader.targets > 1:
        said += f", {rho(leader.lowest)} to {rho(leader.highest)} on single targets"
    return said


def advice(leader: Leader, scores: str) -> str:
    """What to use to predict some scores, or why that can't be said.

    Parameters
    ----------
    leader : Leader
    scores : str
        What is predicted, in words: "linear probe scores".
    """
    if leader.models < ENOUGH_MODELS:
        return (
            f"To predict {scores}: this study cannot say. {counted(leader.models, 'model')} in "
            f"common are too few to call an evaluation the best (at least {ENOUGH_MODELS}); "
            f"{chance_of_order(leader.models)}."
        )
    if not math.isfinite(leader.low):
        return (
            f"To predict {scores}: this study cannot say. {leader.label} is the highest of "
            f"{leader.compared} with {number(leader)}, and there is no interval for it "
            f"({behind(leader)})."
        )
    if leader.low <= 0:
        return (
            f"To predict {scores}: this study cannot say. {leader.label} is the highest of "
            f"{leader.compared}, and its interval contains 0: {number(leader)} "
            f"({behind(leader)})."
        )
    return f"To predict {scores}, use {leader.label}: {number(leader)} ({behind(leader)})."


def chance_of_order(models: int) -> str:
    """How likely any one order is by chance alone."""
    return f"any one order of {models} comes by chance in 1 of {math.factorial(models):,}"


def whose_interval(*, over_models: bool, families: int, given: bool = True) -> str:
    """A warning where an interval is silent about other families; else empty."""
    if not over_models:
        return ""
    few = f"there {'is' if families == 1 else 'are'} only {counted(families, 'family', 'families')}"
    return (
        "The interval leaves out one model at a time, as "
        f"{few if given else 'no model’s family is given'}: it says nothing about models of other "
        "families."
    )


def against_reference(
    label: str, reference: str, difference: float, low: float, high: float, p: float, tests: int
) -> str:
    """How an evaluation compares with the reference on the same models and targets.

    Parameters
    ----------
    label, reference : str
    difference, low, high : float
        Of mean ρ; the interval holds for all tests at once, as p does.
    p : float
        Corrected for the number of tests; NaN where families are too few.
    tests : int
    """
    said = f"Δ = {rho(difference)}"
    if ends := interval(low, high):
        said += f" ({ends})"
    if not math.isfinite(p):
        return (
            f"{label} against {reference} on the same models and targets: {said}. Too few "
            "families are known to say whether that is chance."
        )
    corrected = f", both for {tests} comparisons at once" if tests > 1 else ""
    if p >= ALPHA:
        return (
            f"{label} is not shown to differ from {reference} on the same models and targets: "
            f"{said}, {p_is(p)}{corrected}."
        )
    word = "better" if difference > 0 else "worse"
    return (
        f"{label} is reliably {word} than {reference} on the same models and targets: {said}, "
        f"{p_is(p)}{corrected}."
    )


def worth_its_cost(
    label: str, beaten: Mapping[str, tuple[float, float]], unknown: Mapping[str, str]
) -> str:
    """Whether an evaluation beats every order of the models that costs no evaluation.

    Parameters
    ----------
    label : str
    beaten : mapping of str to (float, float)
        Of each null model, in words: the difference of mean ρ, and p.
    unknown : mapping of str to str
        Null models that are not known of these models, and why.
    """
    not_known = (
        f" Not compared with {listed([f'{name} ({why})' for name, why in unknown.items()])}."
        if unknown
        else ""
    )
    tested = {name: of for name, of in beaten.items() if math.isfinite(of[1])}
    if not set(tested) - {RANDOM_ORDER}:  # better than chance is not yet worth a cost
        return (
            f"This study cannot say what {label} is worth: no null model but random order "
            f"was tested.{not_known}"
        )
    failing = [
        name for name, (difference, p) in tested.items() if not (difference > 0 and p < ALPHA)
    ]
    if not failing:
        largest = max(p for _, p in tested.values())
        return (
            f"{label} is worth its cost: it orders the models better than each of "
            f"{listed(list(tested), 5)} (largest {p_is(largest)}).{not_known}"
        )
    words = [f"{name} (Δ = {rho(tested[name][0])}, {p_is(tested[name][1])})" for name in failing]
    return (
        f"{label} is not shown to be worth its cost: it does not reliably beat {listed(words, 5)}."
        f"{not_known}"
    )


def simpson(label: str, mean: float, within: float, models: int) -> str:
    """A warning where ρ is one of backbones more than of models; else empty."""
    if not (math.isfinite(within) and models >= ENOUGH_MODELS and within < mean - SIMPSON):
        return ""
    return (
        f"Most of {label}'s ρ is between backbones: within them it is {rho(within)} "
        f"({counted(models, 'model')}), over all {rho(mean)}."
    )


def within_reach(top_half: float, half: int, top_ten: float) -> str:
    """ρ among the models that a chooser looks at; empty where there are too few."""
    parts = []
    if math.isfinite(top_half):
        parts.append(f"{rho(top_half)} among the {half} models that it puts in its top half")
    if math.isfinite(top_ten):
        parts.append(f"{rho(top_ten)} among the ten that it puts first")
    return f"ρ is {' and '.join(parts)}." if parts else ""


def left_out(
    untrained: Sequence[str], collapsed: Sequence[str], mean: float, with_all: float, *, out: bool
) -> str:
    """Who is in no headline, and what the leader's ρ would be with them; else empty."""
    names = [*untrained, *collapsed]
    if not names:
        return ""
    kinds = [
        f"{counted(len(of), f'{word} model')} ({listed(list(of))})"
        for word, of in (("untrained", untrained), ("collapsed", collapsed))
        if of
    ]
    if not out:
        return f"{' and '.join(kinds)} are counted in: too few others are left."
    verb = "is" if len(names) == 1 else "are"
    changed = (
        f" With {'it' if len(names) == 1 else 'them'} ρ would be {rho(with_all)} instead of "
        f"{rho(mean)}."
        if math.isfinite(with_all)
        else ""
    )
    return f"{' and '.join(kinds)} {verb} left out of ρ.{changed}"


def not_compared(reasons: Mapping[str, str]) -> list[str]:
    """Who has scores and is not compared, each reason once.

    Parameters
    ----------
    reasons : mapping of str to str
        By label.
    """
    by_reason: dict[str, list[str]] = {}
    for label, reason in reasons.items():
        by_reason.setdefault(reason, []).append(label)
    return [f"Not compared: {listed(names, 9)}: {reason}." for reason, names in by_reason.items()]
