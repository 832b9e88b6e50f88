"""What is said of cheap checks: one function a statement, from the numbers that it states.

Plain words: the evidence behind them has ρ, intervals and p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.report.checks import OPEN, SAME, YES, Check, Trust
from pipeline.report.choice import Choice
from pipeline.report.choice_words import images_needed, with_article
from pipeline.report.formats import count, points, seconds
from pipeline.report.verdicts import at_most, listed
from pipeline.statistics.common_ground import ENOUGH_MODELS, ENOUGH_TARGETS
from pipeline.statistics.statements import Leader
from pipeline.statistics.written import counted, models_of

MOST_POOR = 2
"""Models picked, and checks that picked each, that the line on poor ones names."""


def verdict(t: Trust, c: Choice) -> str:
    """Whether a cheap check can be trusted, and which."""
    if t.state == YES and t.across:
        return f"Yes: use {t.use}{_takes(t.seconds)}. {_best_of(t)}{_untested(t)}"
    if t.state == SAME and t.across:
        alike = "1 other check" if t.same == 1 else f"{count(t.same)} other checks"
        return (
            f"No difference was found between the best check and {alike}: use "
            f"{_cheapest(t)}. {_rests_on(t)}{_untested(t)}"
        )
    if t.state in (YES, SAME):
        check = next(check for check in t.checks if check.on_target and check.label == t.use)
        start = (
            f"Yes, on {c.target.words}: use {t.use}{_takes(t.seconds)}"
            if t.state == YES
            else f"No difference on {c.target.words}: use {_cheapest(t)}"
        )
        return (
            f"{start}. {_picks(check, c)} A check that picks blindly does as well in "
            f"{max(len(c.as_good), 1)} of {count(t.models)} cases. Compared were "
            f"{counted(t.models, 'model')} on {counted(c.images, 'test image')}."
        )
    return f"This study cannot say: {because(t, c)}."


def because(t: Trust, c: Choice) -> str:
    """Why the question stays open."""
    models = counted(t.models, "model")
    compared = t.leader.models if t.leader is not None else t.models
    if compared < ENOUGH_MODELS:
        blind = f"; a check that picks blindly is right once in {t.models}" if t.models > 1 else ""
        left = f" of {t.models}" if compared < t.models else ""
        verb = "is" if compared == 1 else "are"
        return (
            f"{count(compared)}{left} {'model' if compared == 1 else 'models'} {verb} too few to "
            f"rank checks by (at least {ENOUGH_MODELS}){blind}"
        )
    if t.leader is not None:
        return (
            f"{_models_on(t.leader, t)} are too few to tell the best of "
            f"{t.leader.compared} checks from chance"
        )
    if t.across:
        return "the checks have no scores in common to be compared by"
    if not c.images:
        return "nothing was scored on the target"
    return (
        f"on {counted(c.images, 'test image')} none of the cheap checks is shown to pick one of "
        f"{models} that is as good as the best"
    )


def _datasets_of(t: Trust) -> int:
    """Targets of several protocols are on the same data sets."""
    return min(t.leader.targets, t.outside) if t.leader is not None else t.outside


def _best_of(t: Trust) -> str:
    if t.leader is None:
        return ""
    return f"It orders the models best of {counted(t.leader.compared, 'check')}. {_rests_on(t)}"


def _rests_on(t: Trust) -> str:
    if t.leader is None:
        return ""
    by = f", by how they order {t.scores}" if t.scores else ""
    return f"Compared were {_models_on(t.leader, t)}{by}."


def _models_on(leader: Leader, t: Trust) -> str:
    behind = models_of(leader.models, leader.families, given=leader.families_given)
    return f"{behind} on {counted(_datasets_of(t), 'data set')}"


def _untested(t: Trust) -> str:
    if not t.untested:
        return ""
    return (
        f" Whether {counted(t.untested, 'other check')} {'does' if t.untested == 1 else 'do'} as "
        "well was not tested."
    )


def _cheapest(t: Trust) -> str:
    """Which of those that do not differ, and why this one."""
    if math.isfinite(t.seconds):
        return f"the cheapest, {t.use}{_takes(t.seconds)}"
    return f"{t.use}, as what each costs is not known"


def _takes(spent: float) -> str:
    return f" ({seconds(spent)} s a model)" if math.isfinite(spent) else ""


def _picks(check: Check, c: Choice) -> str:
    if c.contest is not None and check.picked == c.contest.best:
        return f"It picks {check.picked}, as {with_article(c.protocol, 'the')} does."
    return f"It picks {check.picked}, at most {at_most(check.at_most)} points behind the best."


def until_then(t: Trust, c: Choice) -> str:
    """What to use while the question is open, and what the cheapest check costs beside it."""
    if t.state != OPEN or not c.protocol:
        return ""
    return (
        f"Until then: compare models by {with_article(c.protocol)} on your own images"
        f"{_takes(t.deciding_seconds)}."
    )


def on_target(t: Trust, c: Choice) -> str:
    """What each cheap probe of the target picks, beside the one that decides."""
    probes = [check for check in t.checks if check.on_target and check.probe]
    if not probes or c.contest is None:
        return ""
    by: dict[str, list[Check]] = {}
    for check in probes:
        by.setdefault(check.picked, []).append(check)
    parts = []
    for picked, checks in by.items():
        verb = "picks" if len(checks) == 1 and checks[0].shots is None else "pick"
        names = listed(merged(checks))
        parts.append(f"{names} {verb} {picked}{_cost(checks[0], c)}")
    return f"On {c.target.words}, beside {with_article(c.protocol, 'the')}: {'; '.join(parts)}."


def merged(checks: Sequence[Check]) -> list[str]:
    """What they are called; numbers of labels are one entry: 1, 5 and 25 labels a class."""
    few = sorted((check.shots, check.label) for check in checks if check.shots is not None)
    others = [check.label for check in checks if check.shots is None]
    if len(few) < 2:
        return [*others, *(label for _, label in few)]
    return [*others, f"{listed([str(shots) for shots, _ in few])} labels a class"]


def _cost(check: Check, c: Choice) -> str:
    if c.contest is not None and check.picked == c.contest.best:
        return ", the same model"
    if check.behind == 0:
        return f", just as accurate here (at most {at_most(check.at_most)} points behind)"
    return f", {points(check.behind)} points behind the best (at most {at_most(check.at_most)})"


def not_good_enough(checks: Sequence[Check]) -> str:
    """Checks whose pick is known to be worse than the best on the target."""
    poor = sorted((check for check in checks if not check.near), key=lambda check: -check.behind)
    if not poor:
        return ""
    by: dict[tuple[str, str], list[Check]] = {}
    for check in poor:
        by.setdefault((check.picked, points(check.behind)), []).append(check)
    called = [(place, merged(of)) for place, of in by.items()]
    told = [(place, names[:MOST_POOR]) for place, names in called[:MOST_POOR]]
    words = [f"{listed(n)} ({picked}, {behind} points behind)" for (picked, behind), n in told]
    more = sum(len(names) for _, names in called) - sum(len(names) for _, names in told)
    further = f"; and {more} more" if more else ""
    return f"Not good enough here, by the model that each puts first: {'; '.join(words)}{further}."


def to_find_out(t: Trust, c: Choice) -> str:
    """What to add so that the study can say."""
    wanted = [words for words in (_models(t), _datasets(t), _images(t, c)) if words]
    if t.state != OPEN or not wanted:
        return ""
    return f"To find out: add {listed(wanted)}."


def models_wanted(t: Trust) -> int:
    """Models to add, of other families."""
    if t.state != OPEN:
        return 0
    compared = t.leader.models if t.leader is not None else t.models
    if compared < ENOUGH_MODELS:
        return ENOUGH_MODELS - compared
    if t.leader is None or not math.isfinite(t.needed):
        return 0
    now = t.leader.models if t.leader.over_models else t.leader.families
    return max(int(t.needed) - now, 0)


def _models(t: Trust) -> str:
    wanted = models_wanted(t)
    if not wanted:
        return ""
    about = "" if t.leader is None or t.leader.models < ENOUGH_MODELS else "about "
    other = " of other families" if t.leader is not None and not t.leader.over_models else ""
    return f"{about}{counted(wanted, 'model')}{other}"


def _datasets(t: Trust) -> str:
    if not t.inside:
        return "a data set like what the models were trained on (role in_domain)"
    have = _datasets_of(t)
    if have < ENOUGH_TARGETS:
        return counted(ENOUGH_TARGETS - have, "out-of-domain data set")
    return ""


def _images(t: Trust, c: Choice) -> str:
    needed = images_needed(c)
    if t.across or t.models < ENOUGH_MODELS or needed <= c.images:
        return ""
    return f"test images, to about {count(needed)}"


def statements(t: Trust, c: Choice) -> list[str]:
    """All of it, in the order in which it is printed."""
    return [
        said
        for said in (
            verdict(t, c), until_then(t, c), on_target(t, c), not_good_enough(t.checks),
            to_find_out(t, c),
        )
        if said
    ]  # fmt: skip
