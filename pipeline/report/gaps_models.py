"""What is doubtful in the models, and in how their embeddings were computed."""

from __future__ import annotations

from pipeline.embeddings.provenance import describe_audit
from pipeline.pretraining.chance import remarks_on
from pipeline.pretraining.entries import read_training
from pipeline.report.gap import Gap
from pipeline.report.inputs import Inputs
from pipeline.report.seen import HEADING, places, seen_statements, unsaid


def without_provenance(inputs: Inputs) -> Gap:
    """Cells of which nobody recorded how they were computed."""
    cells = [(d, m) for d in inputs.study.datasets for m in inputs.study.models]
    return Gap(
        "Cells without provenance",
        "How their embeddings were computed, and at what cost, is not recorded.",
        tuple(f"{m} on {d}" for d, m in cells if (d, m) not in inputs.provenance),
        len(cells),
    )


def remarks_on_embeddings(inputs: Inputs) -> Gap:
    """What was noticed while embeddings were computed."""
    said = {
        f"{model} on {dataset}, {split}": part["remarks"]
        for (dataset, model), facts in inputs.provenance.items()
        for split, part in facts["splits"].items()
    }
    return Gap(
        "Remarks on embeddings",
        "For example, values too large for float16, kept in float32.",
        tuple(f"{place}: {remark}" for place, remarks in said.items() for remark in remarks),
        len(said),
        "split",
        sum(map(bool, said.values())),
    )


def trained_on(inputs: Inputs) -> list[Gap]:
    """Data sets that models were trained on, and models of which that is not said."""
    why = " ".join(seen_statements(inputs)) or (
        "In domain means what the models were trained on. Scores of supervised models with few "
        "labels are not compared with others where they had the labels of these classes."
    )
    return [
        Gap(
            HEADING,
            why,
            places(inputs.seen),
            len(inputs.models) * len(inputs.datasets()),
        ),
        Gap(
            "Models of which it is not said what they were trained on",
            "Whether they saw a data set is not known; `trained_on` says so.",
            tuple(unsaid(inputs)),
            len(inputs.study.models),
            "model",
        ),
    ]


def remarks_on_pretraining(inputs: Inputs) -> Gap:
    """Models of the study's own that have learnt little."""
    said = {name: remarks_on(read_training(name) or {}) for name in inputs.study.pretrain}
    return Gap(
        "Remarks on the pre-training",
        "Their loss tells, or the rank of their features, and no score. They stay in the study, as "
        "leaving them out would be choosing by result; what is said of their methods says little "
        "of these methods.",
        tuple(f"{name} {remark}" for name, remarks in said.items() for remark in remarks),
        len(said),
        "model",
        sum(map(bool, said.values())),
    )


def reduced_precision(inputs: Inputs) -> Gap:
    """What the audits found; nothing to look for in a study that computes in float32."""
    precision = inputs.study.extraction.precision
    found = []
    for (dataset, model), facts in inputs.provenance.items():
        if precision == "float32" or inputs.study.models[model].weights == "imported":
            continue
        audit = facts.get("audit", {})
        said = describe_audit(audit) if audit.get("precision") == precision else "not audited"
        found.append(f"{model} on {dataset}: {said}")
    return Gap(
        f"Embeddings computed in {precision}",
        "Some train images went through each network in float32, too: so much changes by the "
        "precision alone.",
        tuple(found),
        len(found),
    )
