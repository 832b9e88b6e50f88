"""The report's section on how many labels and test images suffice to choose a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import xarray as xr

from pipeline.report import stated
from pipeline.report.inputs import Inputs
from pipeline.report.theme import COLORS, SHAPES, finish
from pipeline.study.protocol_list import protocol_label


@dataclass(frozen=True)
class Separation:
    """The two best models on one data set, and what it takes to tell them apart.

    Attributes
    ----------
    dataset, best, second : str
    difference, low, high : float
        Of their scores; the ends are None where there is no interval.
    needed : int or None
        Test images; None for equal models.
    n_test : int
        Test images that there are.
    """

    dataset: str
    best: str
    second: str
    difference: float
    low: float | None
    high: float | None
    needed: int | None
    n_test: int


@dataclass(frozen=True)
class Enough:
    """What the section says.

    Attributes
    ----------
    labels, images, separate : str
        Why there is nothing to show; empty where there is something.
    label_choices, image_choices : tuple of Choice
    target : str
        What few labels shall choose for.
    separations : mapping of protocol to tuple of Separation
    """

    labels: str
    images: str
    separate: str
    label_choices: tuple[stated.Choice, ...]
    image_choices: tuple[stated.Choice, ...]
    target: str
    separations: dict[str, tuple[Separation, ...]]

    @property
    def withheld(self) -> str:
        """Why there is nothing of all this."""
        return stated.all_withheld(self.labels, self.images, self.separate)


def figures(inputs: Inputs) -> stated.Drawn:
    """Probability of choosing the best model, by labels and by test images."""
    drawn: stated.Drawn = {}
    labels, images = (
        stated.statistic(inputs, "enough_labels"),
        stated.statistic(inputs, "enough_images"),
    )
    if isinstance(labels, xr.Dataset) and (rows := stated.rows_of(labels, "p_best")):
        drawn["enough_labels"] = _curves(rows, "labels", "Labels a class", "head"), rows
    if isinstance(images, xr.Dataset) and (rows := _numbered(stated.rows_of(images, "p_best"))):
        drawn["enough_images"] = _curves(rows, "images", "Test images", "protocol"), rows
    return drawn


def section(inputs: Inputs) -> Enough:
    """The words beside the figures."""
    labels, images = (
        stated.statistic(inputs, "enough_labels"),
        stated.statistic(inputs, "enough_images"),
    )
    separate = stated.statistic(inputs, "images_to_separate")
    shown = figures(inputs)
    too_small = "Nothing to show: no data set has more than ten test images."
    too_few = "Nothing to show: no data set has two models with both scores."
    return Enough(
        labels=_reason(labels, "enough_labels" in shown, too_few),
        images=_reason(images, "enough_images" in shown, too_small),
        separate=separate if isinstance(separate, str) else "",
        label_choices=_heads(shown),
        image_choices=_protocols(shown),
        target="" if isinstance(labels, str) else inputs.variants[labels.attrs["target"]].label,
        separations=_separations(separate) if isinstance(separate, xr.Dataset) else {},
    )


def _reason(found: xr.Dataset | str, shown: bool, empty: str) -> str:
    if isinstance(found, str):
        return found
    return "" if shown else empty


def _heads(shown: stated.Drawn) -> tuple[stated.Choice, ...]:
    rows = shown["enough_labels"][1] if "enough_labels" in shown else []
    return (stated.choice("head", "Head", (row["head"] for row in rows)),)


def _protocols(shown: stated.Drawn) -> tuple[stated.Choice, ...]:
    rows = shown["enough_images"][1] if "enough_images" in shown else []
    return (
        stated.choice("protocol", "Protocol", (row["protocol"] for row in rows), protocol_label),
    )


def _numbered(rows: stated.Rows) -> stated.Rows:
    """Sizes as numbers; they are labels in the statistic."""
    return [{**row, "images": int(row["images"])} for row in rows]


def _curves(rows: stated.Rows, field: str, title: str, chooser: str) -> stated.Spec:
    """A line for each data set; the parameter `chooser` chooses among them."""
    below = stated.legend()
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    repeat = range(len(datasets))
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
                "p_best:Q",
                title="Probability of the best model",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format=".0%", tickCount=5),
            ),
            color=alt.Color(
                "dataset:N",
                scale=alt.Scale(domain=datasets, range=[COLORS[i % len(COLORS)] for i in repeat]),
                legend=below,
            ),
        )
    )
    tooltip: list[Any] = [
        alt.Tooltip("dataset:N", title="data set"),
        alt.Tooltip(f"{field}:Q", title=title.lower(), format=",.3~r"),
        alt.Tooltip("p_best:Q", title="chooses the best", format=".1%"),
        alt.Tooltip("regret:Q", title="mean loss", format=".2%"),
        alt.Tooltip("regret_high:Q", title="loss in the worst 5%, at least", format=".2%"),
        alt.Tooltip("models:Q"),
    ]
    shape = alt.Shape(
        "dataset:N",
        scale=alt.Scale(domain=datasets, range=[SHAPES[i % len(SHAPES)] for i in repeat]),
        legend=below,
    )
    figure = alt.layer(
        base.mark_line(strokeWidth=1.5, opacity=0.85),
        base.mark_point(filled=True, size=70, opacity=1).encode(shape=shape, tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=300)
    return finish(figure.add_params(alt.param(name=chooser, value=rows[0][chooser])))


def _separations(table: xr.Dataset) -> dict[str, tuple[Separation, ...]]:
    found: dict[str, list[Separation]] = {}
    for row in stated.rows_of(table, "difference"):
        found.setdefault(row["protocol"], []).append(
            Separation(
                row["dataset"],
                row["best"],
                row["second"],
                row["difference"],
                row["low"],
                row["high"],
                None if row["needed"] is None else int(row["needed"]),
                int(row["n_test"]),
            )
        )
    return {protocol: tuple(of) for protocol, of in found.items()}
