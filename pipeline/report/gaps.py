"""What a reader must know before trusting a number: missing cells, remarks, doubtful fits."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.gap import Gap
from pipeline.report.gaps_data import data_checks, files_left_out, remarks_on_data
from pipeline.report.gaps_fits import doubtful_fits
from pipeline.report.gaps_models import (
    reduced_precision,
    remarks_on_embeddings,
    remarks_on_pretraining,
    trained_on,
    without_provenance,
)
from pipeline.report.gaps_scores import (
    missing_cells,
    not_fine_tuned,
    only_test_images,
    undefined_predictors,
    without_weights,
)
from pipeline.report.inputs import Inputs

SILENT = "Statistics that have nothing to say here"


@dataclass(frozen=True)
class Gaps:
    """What was looked for, and statistics that have nothing to say of this study, with why."""

    looked_for: list[Gap]
    silent: list[tuple[str, str]]
    silent_heading: str = SILENT
    withheld: str = ""


def section(inputs: Inputs) -> Gaps:
    """Shortcomings, and statistics that have nothing to say."""
    return Gaps(find_gaps(inputs), withheld_statistics(inputs))


def find_gaps(inputs: Inputs) -> list[Gap]:
    """Everything that was looked for where there was something to look at, found or not."""
    found = [
        missing_cells(inputs),
        without_weights(inputs),
        not_fine_tuned(inputs),
        undefined_predictors(inputs),
        only_test_images(inputs),
        without_provenance(inputs),
        remarks_on_data(inputs),
        files_left_out(inputs),
        remarks_on_embeddings(inputs),
        *trained_on(inputs),
        remarks_on_pretraining(inputs),
        *data_checks(inputs),
        reduced_precision(inputs),
        *doubtful_fits(inputs),
    ]
    return [gap for gap in found if gap.checked]


def withheld_statistics(inputs: Inputs) -> list[tuple[str, str]]:
    """Statistics that have nothing to say of this study, and why, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, found in inputs.statistics.items():
        if not found.data_vars and (reason := str(found.attrs.get("withheld", ""))):
            by_reason.setdefault(reason, []).append(name.replace("_", " "))
    return [(", ".join(names), reason) for reason, names in by_reason.items()]
