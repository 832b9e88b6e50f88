"""What a reader must know before trusting a number: missing cells, remarks, doubtful fits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.records import read_record
from pipeline.embeddings.provenance import describe_audit
from pipeline.embeddings.unavailable import unavailable
from pipeline.finetuning.cells import not_run
from pipeline.neighbors.data_checks import checks_path
from pipeline.pretraining.chance import remarks_on
from pipeline.pretraining.entries import read_training
from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.report.seen import places, seen_statements, unsaid
from pipeline.statistics.written import counted
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.finetune import FINETUNE
from pipeline.study.linear import LINEAR
from pipeline.study.predictors import PREDICTORS
from pipeline.study.protocol_list import protocol_label
from pipeline.study.records import is_asked
from pipeline.study.transfer import TRANSFER


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
        How many units were looked at.
    unit : str
        What these are; a list may have several places in one, or one line for many.
    concerned : int or None
        Units in which something was found; None: each place is one.
    """

    title: str
    why: str
    places: tuple[str, ...]
    checked: int
    unit: str = "cell"
    concerned: int | None = None

    @property
    def tally(self) -> str:
        """In how many of the units that were looked at something was found."""
        found = len(self.places) if self.concerned is None else self.concerned
        return f"{found:,} of {counted(self.checked, self.unit)}"

    @property
    def nowhere(self) -> str:
        """How many units were looked at in vain."""
        return f"none in {counted(self.checked, self.unit)}"


@dataclass(frozen=True)
class Gaps:
    """What was looked for, and statistics that have nothing to say of this study, with why."""

    looked_for: list[Gap]
    silent: list[tuple[str, str]]
    withheld: str = ""


def section(inputs: Inputs) -> Gaps:
    """Shortcomings, and statistics that have nothing to say."""
    return Gaps(find_gaps(inputs), withheld_statistics(inputs))


def find_gaps(inputs: Inputs) -> list[Gap]:
    """Everything that was looked for where there was something to look at, found or not."""
    study = inputs.study
    cells = len(study.models) * len(study.datasets)
    splits = [part for facts in inputs.provenance.values() for part in facts["splits"].values()]
    found = [
        missing_cells(inputs),
        without_weights(inputs),
        Gap(
            "Cells that are not fine-tuned",
            "The study does not ask for them, in its section `finetune`: they are not run, and no "
            "gap. Statistics on fine-tuning are of the other cells.",
            tuple(not_run(study)),
            cells,
            concerned=sum(
                not is_asked(study, FINETUNE.name, d, m)
                for d in study.datasets
                for m in study.models
            ),
        ),
        *undefined_predictors(inputs),
        *_test_images_only(inputs),
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
            tuple(f"{d}: {r}" for d, test in inputs.tests.items() for r in test.remarks),
            len(study.datasets),
            "data set",
            sum(bool(test.remarks) for test in inputs.tests.values()),
        ),
        Gap(
            "Files left out, and scales of grey",
            "What lies in the data sets' folders and is no image of theirs, and what `filter` and "
            "`limit_per_class` leave out, by kind; and which brightness is white in grey images of "
            "more than 8 bits.",
            tuple(f"{d}: {n}" for d, test in inputs.tests.items() for n in test.notes),
            len(study.datasets),
            "data set",
            sum(bool(test.notes) for test in inputs.tests.values()),
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
            len(splits),
            "split",
            sum(bool(split["remarks"]) for split in splits),
        ),
        *_seen(inputs),
        *_pretraining(inputs),
        *_data_checks(inputs),
        *_reduced_precision(inputs),
        *_doubtful_fits(inputs),
    ]
    return [gap for gap in found if gap.checked]


@once
def missing_cells(inputs: Inputs) -> Gap:
    """Cells of which the study asks for a score that is not there."""
    asked = sum(_models_asked(inputs, *place).sum() for place in _asked(inputs))
    return Gap(
        "Cells without a score",
        "The study names them and no result was there. They are never filled in: each "
        "statistic uses the models that have both scores, and says how many.",
        _missing(inputs),
        int(asked),
    )


def undefined_predictors(inputs: Inputs) -> list[Gap]:
    """Transferability metrics that were computed and have no value; nothing to say without any."""
    rows = inputs.scores
    if "protocol" not in rows:
        return []
    rows = rows[(rows["protocol"] == PREDICTORS.name) & (rows["metric"] == "promise")]
    if rows.empty:
        return []
    places = [
        f"{row['label']} of {row['model']} on {row['dataset']}"
        + (f": {reason}" if (reason := json.loads(row["details"] or "{}").get("reason")) else "")
        for row in rows[rows["value"].isna()].to_dict("records")
    ]
    return [
        Gap(
            "Transferability metrics without a value",
            "They were computed and are undefined for these models: they count as missing, and "
            "what is said of such a predictor is of the other models.",
            tuple(places),
            len(rows),
            "value",
        )
    ]


def without_weights(inputs: Inputs) -> Gap:
    """Models that were left out, because their weights were not to be had."""
    cells = [(d, m) for d in inputs.study.datasets for m in inputs.study.models]
    return Gap(
        "Models without weights",
        "Their weights could not be fetched when the study ran, so they have no embeddings and no "
        "score there. `probeline models fetch`, then `dvc repro`, mends that.",
        tuple(f"{m} on {d}: {reason}" for d, m in cells if (reason := unavailable(d, m))),
        len(cells),
    )


def _test_images_only(inputs: Inputs) -> list[Gap]:
    """Data sets on which nothing is trained; nothing to say of a study without any."""
    only = [name for name, entry in inputs.study.datasets.items() if entry.test_only]
    reached = inputs.scored_datasets(TRANSFER.name) if TRANSFER.name in inputs.headline else []
    places = [
        name
        if name in reached
        else f"{name} (not scored: `transfer.sources` has no data set with "
        "classes of the same names)"
        for name in only
    ]
    why = (
        "They have no train images: only transfer from another data set scores them. All else is "
        "not run there, and no gap."
    )
    return [
        Gap(
            "Data sets with test images only",
            why,
            tuple(places),
            len(inputs.study.datasets),
            "data set",
        )
    ] if only else []  # fmt: skip


def _pretraining(inputs: Inputs) -> list[Gap]:
    """Models of the study's own that have learnt little; nothing to look for without any."""
    trained = inputs.study.pretrain
    if not trained:
        return []
    remarks = {name: remarks_on(read_training(name) or {}) for name in trained}
    places = [f"{name} {remark}" for name, of in remarks.items() for remark in of]
    why = (
        "Their loss tells, or the rank of their features, and no score. They stay in the study, as "
        "leaving them out would be choosing by result; what is said of their methods says little "
        "of these methods."
    )
    return [
        Gap(
            "Remarks on the pre-training",
            why,
            tuple(places),
            len(trained),
            "model",
            sum(map(bool, remarks.values())),
        )
    ]


def _seen(inputs: Inputs) -> list[Gap]:
    """Data sets that models were trained on, and models of which that is not said."""
    why = " ".join(seen_statements(inputs)) or (
        "In domain means what the models were trained on. Scores of supervised models with few "
        "labels are not compared with others where they had the labels of these classes."
    )
    found = [
        Gap(
            "Data sets that models were trained on",
            why,
            places(inputs.seen),
            len(inputs.models) * len(inputs.datasets()),
        )
    ]
    if inputs.study.models:
        found.append(
            Gap(
                "Models of which it is not said what they were trained on",
                "Whether they saw a data set is not known; `trained_on` says so.",
                tuple(unsaid(inputs)),
                len(inputs.study.models),
                "model",
            )
        )
    return found


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
        for dataset in (
            inputs.scored_datasets(protocol) if protocol == TRANSFER.name else inputs.datasets()
        )
    ]


def _models_asked(inputs: Inputs, protocol: str, dataset: str) -> NDArray[np.bool_]:
    """Which models' score the study asks for, or may be imported."""
    of = inputs.cube["asked"].sel(variant=inputs.headline[protocol], dataset=dataset)
    return np.asarray(of.values == 1)


def _missing(inputs: Inputs) -> tuple[str, ...]:
    scores = inputs.scored["value"].transpose("variant", "dataset", "model")
    found = []
    for protocol, dataset in _asked(inputs):
        row = scores.sel(variant=inputs.headline[protocol], dataset=dataset).values
        found += [
            f"{protocol_label(protocol)} of {inputs.models[place]} on {dataset}"
            for place in np.flatnonzero(np.isnan(row) & _models_asked(inputs, protocol, dataset))
        ]
    return tuple(found)


def _data_checks(inputs: Inputs) -> list[Gap]:
    """What more than half of the models report of the images, where the neighbours were judged."""
    twins: list[str] = []
    doubts: list[str] = []
    with_twins, with_doubts, checked = set(), set(), 0
    for dataset in inputs.study.datasets:
        record = read_record(checks_path(dataset))
        if record is None:
            continue
        checked += 1
        table: pd.DataFrame = record.outcomes().to_pandas()
        for row in table.to_dict("records"):
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
    if not checked:
        return []
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


_FITTED = (LINEAR.name, FEWSHOT.name, TRANSFER.name)


def _doubtful_fits(inputs: Inputs) -> list[Gap]:
    found: dict[str, list[str]] = {"unfinished": [], "at_edge": [], "unsettled": []}
    rows = inputs.scores.drop_duplicates(["model", "dataset", "protocol", "variant"])
    rows = rows[rows["protocol"].isin(_FITTED)]
    rows = rows[~rows["details"].isin(("", "{}"))]  # imported scores tell of no fit
    seen = dict.fromkeys(_FITTED, 0)
    for row in rows[["model", "dataset", "protocol", "label", "details"]].to_dict("records"):
        seen[row["protocol"]] += 1
        details: dict[str, Any] = json.loads(row["details"])
        place = f"{row['model']} on {row['dataset']} ({row['label']})"
        if not details.get("converged", True):
            kind = "unsettled" if row["protocol"] == FEWSHOT.name else "unfinished"
            after = f": stopped after {steps} iterations" if (
                steps := details.get("iterations")
            ) else ""  # fmt: skip
            found[kind].append(place + after)
        if details.get("C_at_edge_of_grid", False):
            found["at_edge"].append(f"{place}: C = {details.get('C'):g}")
    gaps = [
        Gap(
            "Linear fits that did not converge",
            "They stopped at `linear.max_iterations`; their scores may still move.",
            tuple(found["unfinished"]),
            seen[LINEAR.name] + seen[TRANSFER.name],
            "fit",
        ),
        Gap(
            "Linear fits whose best C is at the edge of the grid",
            "A wider `linear.c` might score better.",
            tuple(found["at_edge"]),
            seen[LINEAR.name] + seen[TRANSFER.name],
            "fit",
        ),
    ]
    if seen[FEWSHOT.name]:
        gaps.append(
            Gap(
                "Few-shot fits that did not converge",
                "At least one draw stopped early; the mean over draws may still move.",
                tuple(found["unsettled"]),
                seen[FEWSHOT.name],
                "fit",
            )
        )
    return gaps


def withheld_statistics(inputs: Inputs) -> list[tuple[str, str]]:
    """Statistics that have nothing to say of this study, and why, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, found in inputs.statistics.items():
        if not found.data_vars and (reason := str(found.attrs.get("withheld", ""))):
            by_reason.setdefault(reason, []).append(name.replace("_", " "))
    return [(", ".join(names), reason) for reason, names in by_reason.items()]
