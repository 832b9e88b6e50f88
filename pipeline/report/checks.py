"""Which cheap check can be trusted: the state of the answer, and what the target tells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.report.choice import ALONE, NONE, UNTESTED, Choice
from pipeline.report.inputs import Inputs
from pipeline.statistics.advice import leader_of, scores_word
from pipeline.statistics.common_ground import ENOUGH_MODELS
from pipeline.statistics.predictions import ALL
from pipeline.statistics.settling import groups_needed
from pipeline.statistics.statements import ALPHA, Leader
from pipeline.study.column import EACH_TARGET, column_name
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.finetune import FINETUNE
from pipeline.study.protocol_list import classifies
from pipeline.study.variant import Variant

YES, SAME, OPEN = "yes", "no difference", "this study cannot say"
"""The three states of the answer."""

_NAN = float("nan")

_WORSE, _ALIKE, _UNTESTED = "worse", "alike", "untested"


@dataclass(frozen=True)
class Check:
    """A cheap check, by the model that it picks for the target.

    Attributes
    ----------
    label : str
    on_target : bool
        Whether it looks at the target itself.
    probe : bool
        Whether it classifies test images of the target, other than a number of the embeddings.
    picked : str
    behind, at_most : float
        How far that model lies behind the best, and the upper limit of it.
    near, good : bool
        Whether that model is within chance of the best; shown to be as good.
    seconds : float
        On one model, embeddings given.
    shots : int or None
        Labels of a class, of a head on the target that learned from so few.
    """

    label: str
    on_target: bool
    probe: bool
    picked: str
    behind: float
    at_most: float
    near: bool
    good: bool
    seconds: float
    shots: int | None = None


@dataclass(frozen=True)
class Trust:
    """The answer to the second question.

    Attributes
    ----------
    state : {"yes", "no difference", "this study cannot say"}
    across : bool
        Whether it rests on comparing data sets; else on the target alone.
    use : str
        The check to use; empty where that can't be said.
    seconds : float
        It takes on one model; NaN where that is not known of each check that it was chosen from, so
        that none of them can be called the cheapest.
    leader : Leader or None
        The highest of the compared, where data sets were compared.
    same : int
        Checks that were tested against the best one and not found to differ, itself not counted.
    untested : int
        Checks that order the models beyond chance, too, and were not tested against it.
    scores : str
        Which scores of the data sets are predicted, in words, where data sets were compared.
    models, families, inside, outside : int
        Of the study: models, their families, data sets of the two roles.
    needed : float
        Families (of few families models) that would settle it; NaN where that is not the question.
    checks : tuple of Check
        What was measured on the target.
    deciding_seconds : float
        Of the deciding protocol on the target, on one model.
    """

    state: str
    across: bool
    use: str
    seconds: float
    leader: Leader | None
    same: int
    models: int
    families: int
    inside: int
    outside: int
    needed: float
    checks: tuple[Check, ...]
    deciding_seconds: float
    untested: int = 0
    scores: str = ""


def trust_in(inputs: Inputs, choice: Choice) -> Trust:
    """Answer the second question of a study."""
    checks = _checks(inputs)
    inside, outside = (len(inputs.datasets(role)) for role in ("in_domain", "out_of_domain"))
    table = inputs.told("comparison")
    across = bool(table.data_vars) and inside > 0 and outside > 0
    state, use, seconds, same, untested = OPEN, "", _NAN, 0, 0
    leader, needed, scores = None, _NAN, ""
    if across:
        targets = choice.protocol if choice.protocol in table["targets"].values else ALL
        leader = leader_of(table, inputs.columns, targets)
        scores = "scores of every kind" if targets == ALL else scores_word(targets)
        if leader is not None and leader.may_be_named:
            state, use, seconds, same, untested = _named(
                inputs, table.sel(targets=targets), leader, targets
            )
        elif leader is not None:
            groups = leader.models if leader.over_models else leader.families
            needed = groups_needed(leader.mean, leader.low, groups)
    else:
        state, use, seconds, same = _on_target(checks, choice)
    return Trust(
        state=state, across=across, use=use, seconds=seconds, leader=leader, same=same,
        models=len(inputs.models), families=len(set(inputs.words("family").values())),
        inside=inside, outside=outside, needed=needed, checks=checks,
        deciding_seconds=_deciding_seconds(inputs, choice), untested=untested,
        scores=scores,
    )  # fmt: skip


def _named(
    inputs: Inputs, table: xr.Dataset, leader: Leader, targets: str
) -> tuple[str, str, float, int, int]:
    """The leader, or the cheapest of those that were tested and not found to order them worse."""
    names = [str(name) for name in table["predictor"].values]
    compared = [
        name for name in names
        if float(table["compared"].sel(predictor=name)) == 1
        and inputs.columns[name].protocol != FINETUNE.name
    ]  # fmt: skip
    seconds = {name: _seconds(inputs, name, targets) for name in compared}
    first = next(name for name in compared if inputs.columns[name].label == leader.label)
    beside = {
        name: _beside(inputs, name, first, targets)
        for name in compared
        if name != first and float(table["joint_low"].sel(predictor=name)) > 0
    }
    alike = [name for name, found in beside.items() if found == _ALIKE]
    untested = sum(found == _UNTESTED for found in beside.values())
    if not alike:
        return YES, plain(leader.label), seconds[first], 0, untested
    offered = [first, *alike]
    if not all(math.isfinite(seconds[name]) for name in offered):
        return SAME, plain(leader.label), _NAN, len(alike), untested
    cheapest = min(offered, key=lambda name: seconds[name])
    label = plain(inputs.columns[cheapest].label)
    return SAME, label, seconds[cheapest], len(alike), untested


def plain(label: str) -> str:
    """A check's label in the reader's words: it is measured on whatever images one has."""
    return label.replace(f"on {EACH_TARGET}", "on your own images")


def _beside(inputs: Inputs, name: str, first: str, targets: str) -> str:
    """What the declared comparisons say of one beside the first.

    Only those with the reference are corrected for all of them, so others count as not tested; so
    do all where families are too few for a p. Nothing is called alike that nobody compared.
    """
    table = inputs.told("predictor_differences")
    reference = str(table.attrs.get("reference", ""))
    if not table.data_vars or reference not in (name, first) or targets not in table["targets"]:
        return _UNTESTED
    other = first if name == reference else name
    cell = table.sel(predictor=other, reference=reference, targets=targets)
    difference, p = float(cell["difference"]), float(cell["p_max_t"])
    if not math.isfinite(p):
        return _UNTESTED
    behind = difference > 0 if name == reference else difference < 0
    return _WORSE if p < ALPHA and behind else _ALIKE


def _on_target(checks: tuple[Check, ...], choice: Choice) -> tuple[str, str, float, int]:
    """What one folder alone says: whether a cheap probe of it picks as well as the dear one."""
    open_question = OPEN, "", _NAN, 0
    if choice.contest is None or choice.verdict in (ALONE, NONE, UNTESTED):
        return open_question
    probes = [check for check in checks if check.on_target and check.probe]
    if 1 + len(choice.contest.others) < ENOUGH_MODELS or not probes:
        return open_question
    # The same model as the best one's is no proof: where images tell little, any may come first.
    good = [check for check in probes if check.good]
    if not good:
        return open_question
    cheapest = min(good, key=lambda check: _or_dear(check.seconds))
    known = all(math.isfinite(check.seconds) for check in good)
    state = SAME if len(good) == len(probes) and len(probes) > 1 else YES
    return state, cheapest.label, cheapest.seconds if known else _NAN, len(good) - 1


def _checks(inputs: Inputs) -> tuple[Check, ...]:
    found = inputs.told("target_checks")
    if not found.data_vars:
        return ()
    target = ", ".join(inputs.target.datasets)
    of_target = {column_name(v.full_name, target): v for v in inputs.variants.values()}
    return tuple(
        Check(
            label=str(row["label"]), on_target=row["on_target"] == 1,
            probe=variant is not None and classifies(variant.protocol), picked=str(row["picked"]),
            behind=row["behind"], at_most=row["behind_high"], near=row["within_chance"] == 1,
            good=row["as_good"] == 1, seconds=row["seconds"], shots=_shots(variant),
        )
        for name, row in found.to_dataframe().iterrows()
        for variant in [of_target.get(str(name))]
    )  # fmt: skip


def _shots(variant: Variant | None) -> int | None:
    few = variant is not None and variant.protocol == FEWSHOT.name and variant.budget
    return few.shots if few else None


def _seconds(inputs: Inputs, name: str, targets: str) -> float:
    found = inputs.told("fidelity_cost")
    if not found.data_vars or name not in found["predictor"].values:
        return _NAN
    spent = float(found["seconds"].sel(predictor=name, targets=targets))
    if inputs.columns[name].dataset == EACH_TARGET:  # summed over the targets: of one of them
        spent /= max(len(inputs.datasets("out_of_domain")), 1)
    return spent


def _deciding_seconds(inputs: Inputs, choice: Choice) -> float:
    if not choice.protocol or "seconds" not in inputs.cube:
        return _NAN
    spent = inputs.cube["seconds"].sel(
        variant=inputs.headline[choice.protocol], dataset=list(choice.target.datasets)
    )
    return float(np.asarray(spent.max("metric").mean("model").sum("dataset", skipna=False)))


def _or_dear(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else math.inf
