"""The dozen numbers that ``dvc metrics`` tracks: of the target, with the answer in words."""

from __future__ import annotations

import math

import numpy as np

from pipeline.report import checks_words, choice_words
from pipeline.report.checks import OPEN, trust_in
from pipeline.report.choice import choose
from pipeline.report.inputs import Inputs
from pipeline.statistics.analysis import missing_count
from pipeline.study import metrics

Value = str | int | float


def headline_numbers(inputs: Inputs) -> dict[str, Value]:
    """Numbers by name; what is not known is left out. All others are in results/statistics/.

    Parameters
    ----------
    inputs : Inputs
        The report's, as far as the stage `correlate` has them.
    """
    chosen = choose(inputs)
    trusted = trust_in(inputs, chosen)
    of = metrics.metric_named(inputs.metric)
    found: dict[str, Value] = {
        "target": chosen.target.words,
        "metric": of.goodness_of(of.name),
        "model": chosen.picked,
        "verdict": chosen.verdict,
        "accuracy": chosen.score,
        "accuracy_low": chosen.low,
        "accuracy_high": chosen.high,
        "test_images": chosen.images,
        "tied_models": chosen.tied,
        "images_needed": choice_words.images_needed(chosen),
        "check_verdict": trusted.state,
        "check": trusted.use,
        "models_needed": checks_words.models_wanted(trusted) if trusted.state == OPEN else 0,
        "score_count": int(np.isfinite(inputs.cube["value"]).sum()),
        "missing_cells": missing_count(inputs.cube, inputs.metric),
        "says": " ".join(choice_words.statements(chosen, inputs.metric)),
        "check_says": " ".join(checks_words.statements(trusted, chosen)),
    }
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in found.items()
        if value != "" and not (isinstance(value, float) and math.isnan(value))
    }
