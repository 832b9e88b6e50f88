"""Where the best model fails: its wrong images, its classes, and whether it knows."""

from __future__ import annotations

from typing import Any

from pipeline.report import fails_words as words
from pipeline.report.choice import FEWEST, choose
from pipeline.report.fails_content import Fails, Miss, OnMap, OnTarget, Picture
from pipeline.report.fails_figures import (
    MAP_PICTURES,
    WORST,
    calibration_figure,
    class_figure,
    coverage_figure,
    map_figure,
)
from pipeline.report.formats import interval, percent
from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.report.pictures import Pictures
from pipeline.report.stated import Choice, Drawn, Rows, choice, rows_of, statistic
from pipeline.statistics.written import counted
from pipeline.statistics.wrong_images import NEAREST, UNKNOWN

WRONG, SHARED, PAIRS = 10, 10, 10
"""Images of the best model, images that no model gets right, and pairs of classes shown."""

STRIP_BYTES, MAP_BYTES = 240_000, 150_000
"""Of the pictures' data URIs."""

SIDE, NEAR_SIDE, MAP_SIDE = 128, 64, 64
"""Pixels."""


def figures(inputs: Inputs) -> Drawn:
    """The map, accuracies by class, calibration, and errors by how many images are answered."""
    found: Drawn = {}
    of = {name: _table(inputs, name) for name in ("class_accuracy", "calibration",
                                                  "risk_coverage", "embedding_map")}  # fmt: skip
    if of["embedding_map"]:
        found["fails_map"] = map_figure(of["embedding_map"], _of_map(inputs).pictures)
    if of["class_accuracy"]:
        found["fails_classes"] = class_figure(of["class_accuracy"])
    if of["calibration"]:
        found["fails_calibration"] = calibration_figure(of["calibration"])
    if of["risk_coverage"]:
        found["fails_coverage"] = coverage_figure(of["risk_coverage"])
    return found


def section(inputs: Inputs) -> Fails:
    """What stands around the figures."""
    classes = statistic(inputs, "class_accuracy")
    if isinstance(classes, str):
        return Fails(classes)
    pictures = Pictures(inputs.study, min(_most(inputs), _strips()), STRIP_BYTES)
    names = list(dict.fromkeys(row["dataset"] for row in _table(inputs, "class_accuracy")))
    targets = tuple(_on(inputs, name, pictures) for name in names)
    told = {
        name: found
        for name in ("confusions", "shared_errors", "calibration", "risk_coverage", "embedding_map")
        if isinstance(found := statistic(inputs, name), str)
    }
    if inputs.told("wrong_images").attrs.get("neighbours"):
        told["neighbours"] = str(inputs.told("wrong_images").attrs["neighbours"])
    by = Choice("by", "Colour", (("answer", "right or wrong"), ("class", "true class")))
    return Fails(
        "",
        targets,
        (choice("dataset", "Data set", names),),
        (by,),
        told,
        sum(1 for on in targets for miss in (*on.misses, *on.shared)
            for p in (miss.picture, *miss.near) if p.source),
        _gaps(pictures),
        on_map=_of_map(inputs),
    )  # fmt: skip


def _gaps(pictures: Pictures) -> str:
    """Why pictures are not there, and how many."""
    return "; ".join(f"{why} ({counted(n, 'picture')})" for why, n in pictures.left_out.items())


def _table(inputs: Inputs, name: str, dataset: str = "") -> Rows:
    """A statistic's rows, of one data set or of all."""
    found = inputs.told(name)
    if not found.data_vars:
        return []
    rows = rows_of(found, "n" if "n" in found else "images")
    return [row for row in rows if dataset in ("", row["dataset"]) and row.get("compared", 1)]


def _most(inputs: Inputs) -> int:
    return inputs.study.report.pictures


def _strips() -> int:
    """Pictures beside the map's."""
    return WRONG * (1 + NEAREST) + SHARED


def _on(inputs: Inputs, dataset: str, pictures: Pictures) -> OnTarget:
    classes = _table(inputs, "class_accuracy", dataset)
    compared = tuple(dict.fromkeys(row["model"] for row in classes))
    of = {m: {r["class"]: r for r in classes if r["model"] == m} for m in compared}
    images = sum(int(row["n"]) for row in of[compared[0]].values())
    errors = images - sum(int(row["right"]) for row in of[compared[0]].values())
    worst = sorted(of[compared[0]].values(), key=lambda row: (row["accuracy"], -row["n"]))
    confused = _table(inputs, "confusions", dataset)
    wrong = _table(inputs, "wrong_images", dataset)
    shared = _table(inputs, "shared_errors", dataset)
    return OnTarget(
        dataset,
        compared[0],
        words.lead(inputs, classes[0], images, errors, _told(worst), confused)
        + words.recommended(choose(inputs), dataset, compared[0]),
        images,
        errors,
        len(worst),
        any(row["confidence"] is not None for row in wrong),
        compared,
        [_class_row(row, [of[m][row["class"]] for m in compared]) for row in worst[:WORST]],
        [_pair_row(row) for row in confused[:PAIRS]],
        sum(int(row["count"]) for row in confused[:PAIRS]),
        tuple(_miss(row, pictures) for row in wrong[:WRONG]),
        tuple(_shared(row, pictures) for row in shared[:SHARED]),
        words.shared(shared, len(worst)),
        words.calibrated(inputs, _table(inputs, "calibration", dataset), classes[0]["variant"]),
        words.covered(_table(inputs, "risk_coverage", dataset)),
        words.mapped(_table(inputs, "embedding_map", dataset)),
    )  # fmt: skip


def _told(worst: Rows) -> Rows:
    """The classes that the first screen tells of, where there are any: large enough ones."""
    enough = [row for row in worst if row["n"] >= FEWEST]
    return enough if len(enough) > 1 else worst


def _class_row(first: dict[str, Any], rows: Rows) -> dict[str, Any]:
    taken = f"{first['taken_for']} ({first['taken']:,})" if first["taken"] else "–"
    return {
        "class": first["class"],
        "n": first["n"],
        "cells": [
            (percent(row["accuracy"]), interval(row["low"], row["high"], in_points=True))
            for row in rows
        ],
        "taken": taken,
    }


def _pair_row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"share": percent(row["share"])}


def _miss(row: dict[str, Any], pictures: Pictures) -> Miss:
    dataset, sample = row["dataset"], int(row["sample"])
    notes = []
    if row["confidence"] is not None:
        notes.append(f"{percent(row['confidence'])} sure")
    if row["others"]:
        notes.append(f"{row['others_right']:,} of {counted(row['others'], 'other model')} right")
    rows = [int(row[f"nearest_{number + 1}"]) for number in range(NEAREST)]
    near = [_near(dataset, at, row["true"], pictures) for at in rows if at != UNKNOWN]
    seen = f"test image of class {row['true']}, taken for {row['predicted']}"
    return Miss(
        _picture(dataset, sample, row["true"], seen, pictures),
        row["predicted"],
        "; ".join(notes),
        tuple(picture for picture in near if picture.source),
    )


def _near(dataset: str, row: int, true: str, pictures: Pictures) -> Picture:
    path, label = pictures.told(dataset, "train", row)
    source = pictures.of(dataset, "train", row, NEAR_SIDE)
    return Picture(source, label, path, f"near train image of class {label}", label != true)


def _picture(dataset: str, sample: int, label: str, seen: str, pictures: Pictures) -> Picture:
    path, _ = pictures.told(dataset, "val", sample)
    return Picture(pictures.of(dataset, "val", sample, SIDE), label, path, seen)


def _shared(row: dict[str, Any], pictures: Pictures) -> Miss:
    dataset, sample = row["dataset"], int(row["sample"])
    if row["unanimous"]:
        note = f"all {counted(row['models'], 'model')} agree"
    else:
        note = f"{row['agree']:,} of {counted(row['models'], 'model')}"
    seen = f"test image of class {row['true']}, which no model gets right"
    return Miss(_picture(dataset, sample, row["true"], seen, pictures), row["agreed"], note)


@once
def _of_map(inputs: Inputs) -> OnMap:
    """Pictures of the map: wrong images first, then the others in order."""
    rows = _table(inputs, "embedding_map")
    most = min(MAP_PICTURES, max(0, _most(inputs) - _strips()))
    pictures = Pictures(inputs.study, most, MAP_BYTES)
    first = sorted(range(len(rows)), key=lambda at: bool(rows[at]["right"]))[:most]
    made = {at: pictures.of(rows[at]["dataset"], "val", int(rows[at]["sample"]), MAP_SIDE)
            for at in first}  # fmt: skip
    shown = {rows[at]["row"]: source for at, source in made.items() if source}
    return OnMap(shown, len(rows), _gaps(pictures))
