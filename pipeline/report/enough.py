"""The report's section on how many labels and test images suffice to choose a model."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import xarray as xr

from pipeline.report import stated
from pipeline.report.inputs import Inputs
from pipeline.report.theme import finish, told_apart
from pipeline.report.verdicts import listed, margin_words
from pipeline.study.protocol_list import protocol_label

_UNITS = {"labels": ("label a class", "labels a class"), "images": ("test image", "test images")}


@dataclass(frozen=True)
class Tie:
    """The models within chance of the best on one data set, and what it takes to tell them.

    Attributes
    ----------
    dataset, best : str
    tied, models : int
        Within chance of the best, it among them, and compared.
    at_most : float
        How far behind the best any of them may lie.
    images : int
        Test images that there are.
    needed : float
        Test images that would tell one that lies `report.margin` behind; NaN where no model is
        within chance of the best but itself.
    """

    dataset: str
    best: str
    tied: int
    models: int
    at_most: float
    images: int
    needed: float


@dataclass(frozen=True)
class Enough:
    """What the section says.

    Attributes
    ----------
    labels, images, tied : str
        Why there is nothing to show; empty where there is something.
    label_choices, image_choices : tuple of Choice
    label_words, image_words : tuple of str
        From how many on the choice costs less than `report.margin`.
    target : str
        What few labels shall choose for.
    ties : mapping of protocol to tuple of Tie
    """

    labels: str
    images: str
    tied: str
    label_choices: tuple[stated.Choice, ...]
    image_choices: tuple[stated.Choice, ...]
    label_words: tuple[str, ...]
    image_words: tuple[str, ...]
    target: str
    ties: dict[str, tuple[Tie, ...]]

    @property
    def withheld(self) -> str:
        """Why there is nothing of all this."""
        return stated.all_withheld(self.labels, self.images, self.tied)


_AXES = {
    "enough_labels": ("labels", "Labels a class", "head"),
    "enough_images": ("images", "Test images", "protocol"),
}
"""Of each figure and statistic, what is across, and which parameter chooses among the curves."""


def figures(inputs: Inputs) -> stated.Drawn:
    """What choosing a model costs, by labels and by test images."""
    rows = _rows(inputs)
    return {
        name: (_curves(rows[name], *of), rows[name]) for name, of in _AXES.items() if rows[name]
    }


def section(inputs: Inputs) -> Enough:
    """The words beside the figures."""
    labels, images = (
        stated.statistic(inputs, "enough_labels"),
        stated.statistic(inputs, "enough_images"),
    )
    ranks = stated.statistic(inputs, "ranks")
    margin = inputs.study.report.margin / 100
    rows = _rows(inputs)
    too_small = "Nothing to show: no data set has more than ten test images."
    too_few = "Nothing to show: no data set has two models with both scores."
    return Enough(
        labels=_reason(labels, bool(rows["enough_labels"]), too_few),
        images=_reason(images, bool(rows["enough_images"]), too_small),
        tied=ranks if isinstance(ranks, str) else "",
        label_choices=(
            stated.choice("head", "Head", (row["head"] for row in rows["enough_labels"])),
        ),
        image_choices=(
            stated.choice(
                "protocol",
                "Protocol",
                (row["protocol"] for row in rows["enough_images"]),
                protocol_label,
            ),
        ),
        label_words=_words(rows["enough_labels"], "head", "labels", margin),
        image_words=_words(rows["enough_images"], "protocol", "images", margin),
        target="" if isinstance(labels, str) else inputs.variants[labels.attrs["target"]].label,
        ties=_ties(inputs, ranks) if isinstance(ranks, xr.Dataset) else {},
    )


def _rows(inputs: Inputs) -> dict[str, stated.Rows]:
    """The rows of each figure, with what a choice loses in points; none where it has nothing."""
    found: dict[str, stated.Rows] = {}
    for name in _AXES:
        table = stated.statistic(inputs, name)
        rows = [] if isinstance(table, str) else stated.rows_of(table, "regret")
        found[name] = [
            row | {"lost": _points(row["regret"]), "lost_at_worst": _points(row["regret_high"])}
            for row in rows
        ]
    images = [
        row | {"images": int(row["images"])} for row in found["enough_images"]
    ]  # labels there
    return found | {"enough_images": stated.answer_first(inputs, images)}


def _points(share: float | None) -> float | None:
    """Of a share; nothing where there is none."""
    return None if share is None else stated.short(100 * share)


def _words(rows: stated.Rows, chooser: str, field: str, margin: float) -> tuple[str, ...]:
    return tuple(sufficient(rows, chooser, field, margin).values())


def _reason(found: xr.Dataset | str, shown: bool, empty: str) -> str:
    if isinstance(found, str):
        return found
    return "" if shown else empty


def _curves(rows: stated.Rows, field: str, title: str, chooser: str) -> stated.Spec:
    """A line for each data set; the parameter `chooser` chooses among them."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    color, shape = told_apart("dataset:N", datasets, stated.legend())
    base = (
        alt.Chart()
        .transform_filter(f"datum.{chooser} == {chooser}")
        .encode(
            x=alt.X(
                f"{field}:Q",
                title=title,
                scale=alt.Scale(type="log", nice=False, padding=12),
                axis=alt.Axis(format=",~r", tickCount=6, grid=False),
            ),
            y=alt.Y(
                "lost:Q",
                title="Points lost by the choice, on average",
                scale=alt.Scale(zero=True),
                axis=alt.Axis(format="~r", tickCount=5),
            ),
            color=color,
        )
    )
    tooltip: list[Any] = [
        alt.Tooltip("dataset:N", title="data set"),
        alt.Tooltip(f"{field}:Q", title=title.lower(), format=",.3~r"),
        alt.Tooltip("lost:Q", title="mean loss, points", format=".2f"),
        alt.Tooltip("lost_at_worst:Q", title="in the worst 5% at least, points", format=".2f"),
        alt.Tooltip("p_best:Q", title="chooses the very best", format=".1%"),
        alt.Tooltip("models:Q"),
    ]
    figure = alt.layer(
        base.mark_line(strokeWidth=1.5, opacity=0.85),
        base.mark_point(filled=True, size=70, opacity=1).encode(shape=shape, tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=300)
    return finish(figure, **{chooser: rows[0][chooser]})


def _ties(inputs: Inputs, table: xr.Dataset) -> dict[str, tuple[Tie, ...]]:
    """By protocol, the one that decides first."""
    found: dict[str, list[Tie]] = {}
    for protocol, dataset in itertools.product(table["protocol"].values, table["dataset"].values):
        of = table.sel(protocol=protocol, dataset=dataset).dropna("model", subset=["rank"])
        if of.sizes["model"] < 2:
            continue
        tied = of.isel(model=of["within_chance"].values == 1)
        found.setdefault(str(protocol), []).append(
            Tie(
                dataset=str(dataset),
                best=str(of["score"].idxmax("model").item()),
                tied=tied.sizes["model"],
                models=of.sizes["model"],
                at_most=float(tied["behind_high"].max()),
                images=int(of["images"][0]),
                needed=float(tied["images_to_tell"].max()),
            )
        )
    first = sorted(found, key=lambda protocol: protocol != inputs.decides)
    return {protocol: tuple(found[protocol]) for protocol in first}


def sufficient(rows: stated.Rows, chooser: str, field: str, margin: float) -> dict[str, str]:
    """By head or protocol, from how many labels or images on a choice costs less than the margin.

    Parameters
    ----------
    rows : list of dict
        With `chooser`, ``dataset``, `field` and ``regret``.
    chooser, field : str
    margin : float
        As a share.
    """
    curves: dict[str, dict[str, stated.Rows]] = {}
    for row in sorted(rows, key=lambda row: float(row[field]), reverse=True):
        curves.setdefault(row[chooser], {}).setdefault(row["dataset"], []).append(row)
    said = f"the choice loses less than {margin_words(margin)} on average"
    return {
        name: f"By {protocol_label(name)}, {said} "
        f"{_grouped({d: _least(of, field, margin) for d, of in curve.items()}, field)}."
        for name, curve in curves.items()
    }


def _least(curve: stated.Rows, field: str, margin: float) -> float:
    """The smallest number above which no other one costs the margin; of a curve, largest first."""
    cheap = list(itertools.takewhile(lambda row: row["regret"] < margin, curve))
    return float(cheap[-1][field]) if cheap else math.inf


def _grouped(least: dict[str, float], field: str) -> str:
    """Data sets by their number: with 5 labels a class or more on a and b, with no number on c."""
    by_number: dict[float, list[str]] = {}
    for dataset, number in least.items():
        by_number.setdefault(number, []).append(dataset)
    return ", ".join(
        f"{_with(number, field)} on {listed(by_number[number])}" for number in sorted(by_number)
    )


def _with(number: float, field: str) -> str:
    if not math.isfinite(number):
        return "with no number that was tried"
    one, many = _UNITS[field]
    text = f"{number:,.3g}" if number < 1_000 else f"{number:,.0f}"
    return f"with {text} {one if text == '1' else many} or more"
