"""A caption for each figure: what it shows, chosen how, of how many models, computed how."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.report.figure_words import shows
from pipeline.report.figures import Figure
from pipeline.report.formats import sentence
from pipeline.report.heat import COEFFICIENT_WORDS
from pipeline.report.inputs import Inputs
from pipeline.report.stated import dataset_word
from pipeline.report.words import set_word
from pipeline.statistics.written import counted
from pipeline.study.protocol_list import protocol_label

STATISTICS = {
    "correlation": "headline_pairs",
    "cheap_predictors": "predictors_given_backbone",
    "fails_classes": "class_accuracy",
    "fails_calibration": "calibration",
    "fails_coverage": "risk_coverage",
    "fails_map": "embedding_map",
}
"""What figures are drawn from, where it is not called like them."""

_CHOSEN: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "protocol": ("", protocol_label),
    "dataset": ("on ", dataset_word),
    "coefficient": ("", lambda name: COEFFICIENT_WORDS.get(name, name)),
    "head": ("", str),
    "targets": ("", set_word),
    "in_domain": ("from ", str),
    "x_set": ("across: ", dataset_word),
    "y_set": ("up: ", dataset_word),
}
"""Parameters that choose what is shown, in words."""


def caption(inputs: Inputs, name: str, figure: Figure) -> str:
    """One paragraph of plain text."""
    about = inputs.told(STATISTICS.get(name, name)).attrs
    chosen = [
        f"{before}{words(str(value))}"
        for parameter in figure.spec.get("params", ())
        if (value := parameter.get("value")) and parameter["name"] in _CHOSEN
        for before, words in [_CHOSEN[parameter["name"]]]
    ]
    models = {row["model"] for row in figure.rows if "model" in row} or inputs.models
    shown = f"Shown: {', '.join(chosen)}; {counted(len(models), 'model')}"
    parts = [
        shows(name),
        shown if chosen else f"{counted(len(models), 'model')} of {inputs.study.report.title}",
        str(about.get("definition", "")),
        f"Interval: {about['interval']}" if about.get("interval") else "",
        f"After {about['source']}" if about.get("source") else "",
    ]
    return " ".join(sentence(part) for part in parts if part)
