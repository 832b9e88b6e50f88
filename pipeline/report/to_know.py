"""What a reader must know before acting on the answer, each with where the page tells more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.models.transform_origin import DECISIVE, not_given
from pipeline.report.choice import choose
from pipeline.report.gaps_scores import missing_cells, transferability, without_weights
from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.statistics.written import counted, listed


@dataclass(frozen=True)
class Note:
    """One thing to know.

    Attributes
    ----------
    text : str
    place : str
        Id of the section that has the evidence.
    """

    text: str
    place: str


@dataclass(frozen=True)
class ToKnow:
    """The content of the section."""

    notes: tuple[Note, ...]

    @property
    def withheld(self) -> str:
        """Why there is none."""
        return "" if self.notes else "Nothing was found that bears on the answer."

    @property
    def heading(self) -> str:
        """How many there are."""
        return counted(len(self.notes), "thing to know", "things to know")


@once
def section(inputs: Inputs) -> ToKnow:
    """All of it, what bears on the answer most first."""
    parts = (_untrained, _transforms, _trained_on_target, _of_images, _cells, _weights, _undefined)
    return ToKnow(tuple(note for part in parts for note in part(inputs)))


def untrained(inputs: Inputs) -> tuple[str, ...]:
    """Models whose weights were never trained."""
    method, supervision = inputs.words("method"), inputs.words("supervision")
    entries = inputs.study.models
    return tuple(
        name
        for name in inputs.models
        if method[name] == "random"
        or supervision[name] == "none"
        or (name in entries and entries[name].weights.startswith("random("))
    )


def _untrained(inputs: Inputs) -> Iterator[Note]:
    names = untrained(inputs)
    if not names:
        return
    if len(names) == len(inputs.models):
        which = "The network of this study is" if len(names) == 1 else "All networks are"
        yield Note(
            f"{which} untrained: the scores say nothing about pre-training, nor about which "
            "architecture to use once trained",
            "scores-section",
        )
        return
    word = counted(len(names), "model")
    verb = "is" if len(names) == 1 else "are"
    said = f"{word} {verb} untrained ({listed(list(names))})"
    yield Note(f"{said}{_untrained_first(inputs, names)}", "scores-section")


def _untrained_first(inputs: Inputs, names: tuple[str, ...]) -> str:
    """What it means that an untrained model is among the best on the target; else empty."""
    found = choose(inputs)
    if found.contest is None:
        return ""
    if found.picked in names:
        return (
            f": {found.picked} is the one recommended, so nothing shows that pre-training helps on "
            "these images, or the others are not loaded or fed as they should be"
        )
    near = [name for name in found.contest.near if name in names]
    if not near:
        return ""
    verb = "is" if len(near) == 1 else "are"
    return (
        f": {listed(near)} {verb} within chance of the best, so these images do not show that "
        "pre-training helps"
    )


def _transforms(inputs: Inputs) -> Iterator[Note]:
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name, entry in inputs.study.models.items():
        if parts := not_given(entry):
            lacking.setdefault(parts, []).append(name)
    if lacking:
        told = []
        for parts, names in lacking.items():
            what = "all of it" if parts == DECISIVE else listed(list(parts))
            told.append(f"{what} for {counted(len(names), 'model')} ({listed(names)})")
        yield Note(
            f"Image transform not given: {'; '.join(told)}. timm’s defaults were used, and may "
            "cost points",
            "provenance",
        )


def _trained_on_target(inputs: Inputs) -> Iterator[Note]:
    for dataset in inputs.target.datasets:
        of = {model: seen for (model, name), seen in inputs.seen.items() if name == dataset}
        itself = sorted(model for model, seen in of.items() if seen.is_of_the_data_set)
        classes = sorted(m for m, seen in of.items() if seen.is_of_labels and m not in itself)
        if itself:
            verb = "was" if len(itself) == 1 else "were"
            yield Note(f"{listed(itself)} {verb} trained on {dataset} itself", "scores-section")
        if classes:
            yield Note(
                f"{listed(classes)} saw labels of classes of {dataset} in pre-training", "labels"
            )


def _of_images(inputs: Inputs) -> Iterator[Note]:
    for dataset in inputs.target.datasets:
        if (test := inputs.tests.get(dataset)) is not None:
            for remark in test.remarks:
                yield Note(f"{dataset}: {remark}", "gaps")


def _cells(inputs: Inputs) -> Iterator[Note]:
    gap = missing_cells(inputs)
    if gap.places:
        verb = "has" if len(gap.places) == 1 else "have"
        yield Note(f"{len(gap.places):,} of {counted(gap.checked, 'cell')} {verb} no score", "gaps")


def _weights(inputs: Inputs) -> Iterator[Note]:
    if places := without_weights(inputs).places:
        cells = counted(len(places), "cell")
        yield Note(f"Weights could not be had for {cells}", "gaps")


def _undefined(inputs: Inputs) -> Iterator[Note]:
    rows = transferability(inputs)
    lacking = rows[rows["value"].isna()].groupby("label", sort=False).size()
    if len(lacking):
        words = [f"{label} ({counted(n, 'cell')})" for label, n in lacking.items()]
        yield Note(f"Cheap checks without a value: {listed(words)}", "gaps")
