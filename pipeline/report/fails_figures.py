"""The figures of `pipeline.report.fails`: the map, classes, calibration, and coverage."""

from __future__ import annotations

import json
from collections import Counter

import altair as alt

from pipeline.report.stated import Rows, Spec, legend
from pipeline.report.theme import COLORS, ends, finish, told_apart

WORST = 20
"""Classes that the figure shows at once."""

MAP_PICTURES = 140
"""Pictures that show on pointing."""

COLOURED = 6
"""Of more than seven classes, those with a colour of their own: the true classes of most errors."""

RIGHT, MISTAKEN = "right", "wrong"
OTHERS = "other classes"

_OF_DATASET = "datum.dataset == dataset"
_GREY = COLORS[-1]


def map_figure(rows: Rows, pictures: dict[str, str]) -> tuple[Spec, Rows]:
    """Test images where the model places them; `by` colours them by answer or by class."""
    coloured = _coloured(rows)
    shown = [
        {
            "dataset": row["dataset"],
            "at": row["row"],
            "x": row["x"],
            "y": row["y"],
            "true": row["true"],
            "predicted": row["predicted"],
            "answer": RIGHT if row["right"] else MISTAKEN,
            "shade": row["true"] if row["true"] in coloured else OTHERS,
        }
        for row in sorted(rows, key=lambda row: not row["right"])  # wrong ones are drawn last
    ]
    with_others = any(row["shade"] == OTHERS for row in shown)
    classes = [*coloured, *([OTHERS] if with_others else [])]
    # Classes may be called "right": the keys of the colours are told apart by what is before them.
    keys = [*(f"a:{word}" for word in (RIGHT, MISTAKEN)), *(f"c:{word}" for word in classes)]
    of_classes = [*COLORS[: len(coloured)], *([_GREY] if with_others else [])]
    range_ = [COLORS[0], COLORS[1], *of_classes]
    values = alt.ExprRef(f"by == 'class' ? {json.dumps(keys[2:])} : {json.dumps(keys[:2])}")
    color = alt.Color(
        "key:N",
        scale=alt.Scale(domain=keys, range=range_),
        legend=legend(values=values, labelExpr="slice(datum.label, 2)"),
    )
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    scale = alt.Scale(zero=False, nice=False, padding=12)
    figure = (
        alt.Chart(alt.NamedData(name="rows"))
        .transform_filter(_OF_DATASET)
        .transform_calculate(
            key="by == 'class' ? 'c:' + datum.shade : 'a:' + datum.answer",
            picture="pictures[datum.at] || ''",
            said="datum.true + ', taken for ' + datum.predicted",
        )
        .mark_point(filled=True, strokeWidth=0.6, stroke="#fff")
        .encode(
            x=alt.X("x:Q", title="first direction", axis=axis, scale=scale),
            y=alt.Y("y:Q", title="second direction", axis=axis, scale=scale),
            color=color,
            shape=alt.Shape(
                "answer:N",
                scale=alt.Scale(domain=[RIGHT, MISTAKEN], range=["circle", "diamond"]),
                legend=None,
            ),
            size=alt.condition(f"datum.answer == '{MISTAKEN}'", alt.value(120), alt.value(45)),
            opacity=alt.condition(f"datum.answer == '{MISTAKEN}'", alt.value(1), alt.value(0.6)),
            # Else the tooltip is read aloud and written into exported figures, with the picture.
            description=alt.Description("said:N"),
            tooltip=[
                alt.Tooltip("true:N", title="class"),
                alt.Tooltip("predicted:N", title="taken for"),
                alt.Tooltip("picture:N", title="image"),  # vega-tooltip draws what is called so
            ],
        )
        # The legend of classes is taller than that of answers: without `resize` it is cut off.
        .properties(
            width="container",
            height=400,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding", resize=True),
        )
    )
    dataset = rows[0]["dataset"]
    return finish(figure, dataset=dataset, by="answer", pictures=pictures), shown


def _coloured(rows: Rows) -> list[str]:
    """All classes where they are few, else those with the most errors, in alphabetical order."""
    classes = Counter(row["true"] for row in rows)
    if len(classes) > len(COLORS):
        wrong = Counter(row["true"] for row in rows if not row["right"])
        first = sorted(classes, key=lambda name: (-wrong[name], -classes[name], name))
        return sorted(first[:COLOURED])
    return sorted(classes)


def class_figure(rows: Rows) -> tuple[Spec, Rows]:
    """Accuracy by class of the best two models, the worst first; of many classes, a field finds."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    place: dict[tuple[str, str], int] = {}
    for name in dict.fromkeys(row["dataset"] for row in rows):
        here = [row for row in rows if row["dataset"] == name]
        best = [row for row in here if row["model"] == here[0]["model"]]
        for row in sorted(best, key=lambda row: (row["accuracy"], -row["n"], row["class"])):
            place[name, row["class"]] = len(place)
    shown = [
        {name: row[name] for name in ("dataset", "model", "class", "n", "right", "accuracy", "low",
                                      "high", "taken_for")}
        | {"place": place[row["dataset"], row["class"]]}
        for row in rows
    ]  # fmt: skip
    classes = max(Counter(name for name, _ in place).values())
    many = classes > WORST
    found = "!find || indexof(lower(datum['class']), lower(find)) >= 0"
    base = (
        alt.Chart()
        .transform_filter(_OF_DATASET)
        .transform_filter(found if many else "true")
        .transform_window(rank="dense_rank()", sort=[alt.SortField("place")], ignorePeers=False)
        .transform_filter(f"datum.rank <= {WORST}")
        .encode(
            y=alt.Y(
                "class:N",
                sort=alt.EncodingSortField("place", op="min"),
                title=None,
                axis=alt.Axis(domain=False, ticks=False, labelPadding=8, grid=True),
            ),
            yOffset=alt.YOffset("model:N", sort=models),
            color=told_apart("model:N", models, legend())[0],
            tooltip=[
                alt.Tooltip("class:N"),
                alt.Tooltip("model:N"),
                alt.Tooltip("n:Q", title="test images", format=","),
                alt.Tooltip("right:Q", format=","),
                alt.Tooltip("accuracy:Q", format=".1%"),
                *ends(".1%"),
                alt.Tooltip("taken_for:N", title="most often taken for"),
            ],
        )
    )
    axis = alt.Axis(format=".0%", tickCount=5, orient="top")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title="Test images right", axis=axis,
                     scale=alt.Scale(domain=[0, 1]))  # fmt: skip

    figure = alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=x("low"), x2="high"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x("accuracy")),
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=30 * min(classes, WORST))
    if many:
        field = alt.binding(input="search", name="Find a class ", placeholder="all: the worst 20")
        figure = figure.add_params(alt.param(name="find", value="", bind=field))
    return finish(figure, dataset=rows[0]["dataset"]), shown


def calibration_figure(rows: Rows) -> tuple[Spec, Rows]:
    """How often answers are right, by how sure they are."""
    fields = ("dataset", "bin_low", "bin_high", "n", "confidence", "accuracy", "low", "high")
    shown = [{name: row[name] for name in fields} for row in rows]
    axis = alt.Axis(format=".0%", tickCount=5, grid=True)
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", title="How sure it is", axis=axis, scale=scale)
    up = "How often it is right"
    base = alt.Chart().transform_filter(_OF_DATASET).encode(
        x=x,
        tooltip=[
            alt.Tooltip("n:Q", title="test images", format=","),
            alt.Tooltip("confidence:Q", format=".1%", title="mean confidence"),
            alt.Tooltip("accuracy:Q", format=".1%", title="right"),
            *ends(".1%"),
        ],
    )  # fmt: skip
    diagonal = alt.Chart(alt.sequence(0, 2, as_="end")).mark_line(color=_GREY, strokeDash=[4, 3])
    figure = alt.layer(
        diagonal.encode(x=alt.X("end:Q", title="How sure it is", scale=scale, axis=axis),
                    y=alt.Y("end:Q", title=up, scale=scale, axis=axis)),
        base.mark_rule(color=COLORS[0], opacity=0.6).encode(
            y=alt.Y("low:Q", title=up, axis=axis, scale=scale), y2="high:Q"),
        base.mark_point(filled=True, color=COLORS[0], opacity=1).encode(
            y=alt.Y("accuracy:Q", title=up, axis=axis, scale=scale),
            size=alt.Size("n:Q", scale=alt.Scale(range=[30, 300], domainMin=0), legend=None)),
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=300)  # fmt: skip
    return finish(figure, dataset=rows[0]["dataset"]), shown


def coverage_figure(rows: Rows) -> tuple[Spec, Rows]:
    """Errors among the images answered, by how many are."""
    fields = ("dataset", "coverage", "answered", "risk", "threshold")
    shown = [{name: row[name] for name in fields} for row in rows]
    axis = alt.Axis(format=".0%", tickCount=5, grid=True)
    figure = (
        alt.Chart(alt.NamedData(name="rows"))
        .transform_filter(_OF_DATASET)
        .mark_line(color=COLORS[0], strokeWidth=2, point=alt.OverlayMarkDef(size=30, opacity=0))
        .encode(
            x=alt.X("coverage:Q", title="Images answered, the surest first", axis=axis,
                    scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("risk:Q", title="Wrong among these", axis=axis, scale=alt.Scale(domainMin=0)),
            tooltip=[
                alt.Tooltip("coverage:Q", format=".0%", title="answered"),
                alt.Tooltip("answered:Q", format=",", title="images"),
                alt.Tooltip("risk:Q", format=".1%", title="wrong"),
                alt.Tooltip("threshold:Q", format=".1%", title="at least so sure"),
            ],
        )
        .properties(width="container", height=300)
    )  # fmt: skip
    return finish(figure, dataset=rows[0]["dataset"]), shown
