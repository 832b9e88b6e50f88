"""What is doubtful in the images and their labels."""

from __future__ import annotations

from collections.abc import Mapping

from cache.records import read_record
from pipeline.neighbors.data_checks import checks_path
from pipeline.report.gap import Gap
from pipeline.report.inputs import Inputs


def remarks_on_data(inputs: Inputs) -> Gap:
    """What indexing found."""
    return _of_data_sets(
        inputs,
        "Remarks on data sets",
        "Found while indexing; not errors, but they bear on what the scores mean.",
        {name: test.remarks for name, test in inputs.tests.items()},
    )


def files_left_out(inputs: Inputs) -> Gap:
    """What of a data set's folder is not used, and how bright white is."""
    return _of_data_sets(
        inputs,
        "Files left out, and scales of grey",
        "What lies in the data sets' folders and is no image of theirs, and what `filter` and "
        "`limit_per_class` leave out, by kind; and which brightness is white in grey images of "
        "more than 8 bits.",
        {name: test.notes for name, test in inputs.tests.items()},
    )


def _of_data_sets(inputs: Inputs, title: str, why: str, said: Mapping[str, tuple[str, ...]]) -> Gap:
    places = tuple(f"{name}: {line}" for name, lines in said.items() for line in lines)
    number = len(inputs.study.datasets)
    return Gap(title, why, places, number, "data set", sum(map(bool, said.values())))


def data_checks(inputs: Inputs) -> list[Gap]:
    """What more than half of the models report of the images, where the neighbours were judged."""
    twins: list[str] = []
    doubts: list[str] = []
    with_twins, with_doubts, checked = set(), set(), 0
    for dataset in inputs.study.datasets:
        record = read_record(checks_path(dataset))
        if record is None:
            continue
        checked += 1
        for row in record.outcomes().to_pylist():
            share = f"{100 * row['models']:.0f}% of the models"
            if row["kind"] == "near_duplicate":
                with_twins.add(dataset)
                twins.append(f"{dataset}: val {row['image']} and train {row['other']} ({share})")
            else:
                with_doubts.add(dataset)
                doubts.append(
                    f"{dataset}: train {row['image']} is called {row['label']}, "
                    f"its neighbours are {row['suggested']} ({share})"
                )
    return [
        Gap(
            "Near-duplicates across the splits",
            "More than half of the models place a val image as near to a train image as copies "
            "are. Scores on them are too good; look at the pairs.",
            tuple(twins),
            checked,
            "data set",
            len(with_twins),
        ),
        Gap(
            "Train images with a doubtful label",
            "More than half of the models find them among images of another class. Some are "
            "wrong labels, some only odd images.",
            tuple(doubts),
            checked,
            "data set",
            len(with_doubts),
        ),
    ]
