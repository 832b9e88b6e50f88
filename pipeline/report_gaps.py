"""What a reader must know before trusting a number: missing cells, remarks, doubtful fits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipeline.provenance import describe_audit
from pipeline.report_answers import PROTOCOL_WORDS
from pipeline.report_inputs import Inputs


@dataclass(frozen=True)
class Gap:
    """One kind of shortcoming.

    Attributes
    ----------
    title : str
    why : str
        What it means for the numbers.
    places : tuple of str
        Where it was found; empty: nowhere.
    checked : int
        How many places were looked at.
    """

    title: str
    why: str
    places: tuple[str, ...]
    checked: int


def find_gaps(inputs: Inputs) -> list[Gap]:
    """Everything that was looked for, found or not."""
    study = inputs.study
    cells = len(study.models) * len(study.datasets)
    return [
        Gap(
            "Cells without a score",
            "The study names them and no result was there. They are never filled in: each "
            "statistic uses the models that have both scores, and says how many.",
            _missing(inputs),
            len(study.models) * len(_asked(inputs)),
        ),
        Gap(
            "Cells without provenance",
            "How their embeddings were computed, and at what cost, is not recorded.",
            tuple(
                f"{m} on {d}"
                for d in study.datasets
                for m in study.models
                if (d, m) not in inputs.provenance
            ),
            cells,
        ),
        Gap(
            "Remarks on data sets",
            "Found while indexing; not errors, but they bear on what the scores mean.",
            tuple(f"{d}: {r}" for d, test in inputs.val_splits.items() for r in test.remarks),
            len(study.datasets),
        ),
        Gap(
            "Remarks on embeddings",
            "For example, values too large for float16, kept in float32.",
            tuple(
                f"{model} on {dataset}, {split}: {remark}"
                for (dataset, model), facts in inputs.provenance.items()
                for split, part in facts["splits"].items()
                for remark in part["remarks"]
            ),
            2 * len(inputs.provenance),
        ),
        *_reduced_precision(inputs),
        *_doubtful_fits(inputs),
    ]


def _reduced_precision(inputs: Inputs) -> list[Gap]:
    """What the audits found; nothing to look for in a study that computes in float32."""
    precision = inputs.study.extraction.precision
    if precision == "float32":
        return []
    places = []
    for (dataset, model), facts in inputs.provenance.items():
        if inputs.study.models[model].weights == "imported":
            continue
        audit = facts.get("audit", {})
        found = describe_audit(audit) if audit.get("precision") == precision else "not audited"
        places.append(f"{model} on {dataset}: {found}")
    return [
        Gap(
            f"Embeddings computed in {precision}",
            "Some train images went through each network in float32, too: so much changes by the "
            "precision alone.",
            tuple(places),
            len(places),
        )
    ]


def _asked(inputs: Inputs) -> list[tuple[str, str]]:
    """Each protocol with each data set that it can score; transfer does not reach its source."""
    return [
        (protocol, dataset)
        for protocol in inputs.headline
        for dataset in inputs.study.datasets
        if protocol != "transfer" or inputs.hits[protocol, dataset].models
    ]


def _missing(inputs: Inputs) -> tuple[str, ...]:
    return tuple(
        f"{PROTOCOL_WORDS.get(protocol, protocol)} of {model} on {dataset}"
        for protocol, dataset in _asked(inputs)
        for model in inputs.study.models
        if model not in inputs.hits[protocol, dataset].models
    )


def _doubtful_fits(inputs: Inputs) -> list[Gap]:
    unfinished, at_edge, seen = [], [], 0
    rows = inputs.scores.drop_duplicates(["model", "dataset", "protocol", "variant"])
    for row in rows[rows["protocol"] == "linear"].to_dict("records"):
        details: dict[str, Any] = json.loads(row["details"])
        seen += 1
        place = f"{row['model']} on {row['dataset']} ({row['variant'].replace('_', ' ')})"
        if not details.get("converged", True):
            unfinished.append(f"{place}: stopped after {details.get('iterations')} iterations")
        if details.get("C_at_edge_of_grid", False):
            at_edge.append(f"{place}: C = {details.get('C'):g}")
    return [
        Gap(
            "Linear fits that did not converge",
            "They stopped at `linear.max_iterations`; their scores may still move.",
            tuple(unfinished),
            seen,
        ),
        Gap(
            "Linear fits whose best C is at the edge of the grid",
            "A wider `linear.c` might score better.",
            tuple(at_edge),
            seen,
        ),
    ]
