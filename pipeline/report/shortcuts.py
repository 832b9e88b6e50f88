"""The shortcut audit: whether site, camera or patient of an image may stand in for its class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report.formats import NOTHING, interval, p_value, percent, points, rho
from pipeline.report.inputs import Inputs
from pipeline.report.stated import Rows, rows_of, statistic
from pipeline.statistics import group_shortcuts as audit
from pipeline.statistics.group_shortcuts import CLASS_TELLS, GROUP_TELLS, ONE_TO_ONE
from pipeline.statistics.written import counted, p_is
from pipeline.study.linear import LINEAR

_NO_NUMBER = float("nan")


@dataclass(frozen=True)
class OnDataset:
    """What is said of one data set's groups.

    Attributes
    ----------
    dataset : str
    headline : str
        The verdict in a few words.
    verdict : str
        And in sentences, of the most accurate model.
    labels : str
        Whether the group tells the class.
    models : list of dict
        Rows of the table.
    reasons : tuple of str
        Why drops are not there.
    """

    dataset: str
    headline: str
    verdict: str
    labels: str
    models: list[dict[str, Any]]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Shortcuts:
    """What the section says."""

    withheld: str
    datasets: tuple[OnDataset, ...] = ()
    rule: str = audit.RULE
    nearest: int = audit.NEAREST
    gaps: str = ""


HEADLINES = {
    audit.APART: "The group can’t be told apart from the class",
    audit.FEW: "Too few images to say",
    audit.UNREAD: "No sign that the embeddings hold the group",
    audit.READ: "The group can be read, but says little about the class",
    audit.SHORTCUT: "A shortcut is possible",
    "": "Only the labels could be looked at",
}


SHORT = {
    audit.APART: "not to be told apart",
    audit.FEW: "too few images",
    audit.UNREAD: "no sign of the group",
    audit.READ: "holds the group",
    audit.SHORTCUT: "holds the group, which tells the class",
}
"""Of each model in the table."""


def section(inputs: Inputs) -> Shortcuts:
    """A verdict for each data set with groups, and the numbers of each model."""
    labels = statistic(inputs, "group_labels")
    if isinstance(labels, str):
        return Shortcuts(labels)
    found = inputs.told("group_neighbors")
    models = rows_of(found, "images") if found.data_vars else []
    return Shortcuts(
        "",
        tuple(
            _on(inputs, row, [of for of in models if of["dataset"] == row["dataset"]])
            for row in rows_of(labels, "images")
        ),
        gaps=str(found.attrs.get("withheld", "")),
    )


def _on(inputs: Inputs, of: dict[str, Any], models: Rows) -> OnDataset:
    best = _most_accurate(inputs, of["dataset"], models)
    made_from = dict.fromkeys(row["drop_from"] for row in models if row["drop"] is None)
    headline = HEADLINES[best["verdict"] if best else ""]
    if best and best["verdict"] != audit.APART and _float(best["drop_low"]) > 0:
        headline += f"; new groups cost {points(best['drop'])} points"
    return OnDataset(
        of["dataset"],
        headline,
        _verdict(of, best),
        _labels(of),
        [_model(row) for row in models],
        tuple(filter(None, made_from)),
    )


def _most_accurate(inputs: Inputs, dataset: str, models: Rows) -> dict[str, Any] | None:
    """Of the models audited, that with the best score on the data set: by the linear probe if any.

    Without scores the first.
    """
    if not models:
        return None
    scores = inputs.scored["value"].sel(dataset=dataset)
    for protocol in sorted(inputs.headline, key=lambda name: name != LINEAR.name):
        of = scores.sel(variant=inputs.headline[protocol])
        known = [row for row in models if float(of.sel(model=row["model"])) >= 0]
        if known:
            return max(known, key=lambda row: float(of.sel(model=row["model"])))
    return models[0]


def _labels(of: dict[str, Any]) -> str:
    about = (
        f"{counted(of['images'], 'image')} of {counted(of['classes'], 'class', 'classes')} and "
        f"{counted(of['groups'], 'group')}"
    )
    if of["without_group"]:
        about += f" ({counted(of['without_group'], 'image')} without a group left out)"
    if of["v"] is None:
        return f"{about}: with one class or one group there is nothing to tell."
    return (
        f"{about}: Cramér’s V {rho(of['v'])} ({p_is(_float(of['p']))}); 0 where the group says "
        "nothing about the class, 1 where it says all."
    )


def _verdict(of: dict[str, Any], best: dict[str, Any] | None) -> str:
    if of["relation"] in (ONE_TO_ONE, CLASS_TELLS):
        each = (
            "Each class has images of one group only, and each group of one class"
            if of["relation"] == ONE_TO_ONE
            else "Each class has images of one group only"
        )
        return (
            f"{each}: whatever tells the groups apart (a scanner, a background) also tells classes "
            "apart, and no number here can say which of the two a model has learned. Add images of "
            "the same class from several groups."
        )
    if best is None:
        return "No model’s neighbours are stored, so nothing is known of its embeddings."
    if best["verdict"] == audit.FEW:
        return (
            f"Only {counted(best['images'], 'train image')} in classes of several groups that have "
            f"several images each: fewer than {audit.FEWEST} say nothing."
        )
    read = (
        f"Of {best['model']}’s nearest images of the same class, {percent(best['agreement'])} have "
        f"the same group, where {percent(best['chance'])} would by chance "
        f"({p_is(best['p'])}, {counted(best['images'], 'image')})"
    )
    said = {
        audit.UNREAD: f"{read}. That is no proof that it is not there: other ways of reading may "
        "find it.",
        audit.READ: f"{read}: the embeddings hold the group. It says little about the class here, "
        "so a probe gains little by it; where another data set mixes them otherwise, that changes.",
        audit.SHORTCUT: f"{read}: the embeddings hold the group, and the group says something "
        "about the class. A probe can be right for the wrong reason, and accuracy on mixed test "
        "images does not show it.",
    }[best["verdict"]]
    if of["relation"] == GROUP_TELLS:
        said += (
            " Each group lies within one class (as patients do), so that the group tells the class "
            "by itself: judge by the groups left out."
        )
    return f"{said} {_drop(best)}"


def _drop(of: dict[str, Any]) -> str:
    """What groups that were never seen cost, in a sentence."""
    if of["drop"] is None:
        return f"What new groups would cost is not known: {of['drop_from']}."
    ends = interval(_float(of["drop_low"]), _float(of["drop_high"]), in_points=True)
    about = f"{ends} points, over {of['drop_over']}" if ends else "no interval"
    if _float(of["drop_low"]) > 0:
        clear = "falls by"
    elif _float(of["drop_high"]) < 0:
        clear = "does not fall, it changes by"
    else:
        clear = "changes by no more than chance, a fall of"
    return (
        "With the whole group of an image left out of its neighbours instead of as many images "
        f"drawn by lot, kNN accuracy {clear} {points(of['drop'])} points, "
        f"{percent(of['accuracy'])} to {percent(of['held_out'])} ({about}; "
        f"{counted(of['drop_images'], 'train image')}, {counted(of['drop_groups'], 'group')})."
    )


def _model(row: dict[str, Any]) -> dict[str, Any]:
    ends = interval(_float(row["drop_low"]), _float(row["drop_high"]), in_points=True)
    return {
        "model": row["model"],
        "agreement": percent(_float(row["agreement"])),
        "chance": percent(_float(row["chance"])),
        "strength": rho(_float(row["strength"])),
        "p": p_value(_float(row["p"])),
        "images": row["images"],
        "robustness": rho(_float(row["robustness"])),
        "pairs": row["pairs"],
        "accuracy": percent(_float(row["accuracy"])),
        "held_out": percent(_float(row["held_out"])),
        "drop": points(_float(row["drop"])) if row["drop"] is not None else NOTHING,
        "ends": ends,
        "verdict": SHORT[row["verdict"]],
    }


def _float(value: Any) -> float:
    return _NO_NUMBER if value is None else float(value)
