"""The report's tables of the study's own models: what they cost, and where embeddings come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.models.cards import loading_part
from pipeline.models.settings import Model
from pipeline.models.transform_origin import in_one_line, transform_parts
from pipeline.report.inputs import Inputs


@dataclass(frozen=True)
class ModelRows:
    """What a section says that has one row for each model of the study's own."""

    rows: list[dict[str, Any]]

    @property
    def withheld(self) -> str:
        """Why there is none."""
        if self.rows:
            return ""
        return (
            "All scores were imported: how they were computed, and at what cost, is not known here."
        )


def costs(inputs: Inputs) -> ModelRows:
    """Measured seconds per model, summed over data sets; None where nothing was recorded.

    Keys of the rows: model, parameters, gmacs, images, extraction, one per protocol (headline).
    """
    # A variant's seconds stand in the rows of all its metrics.
    scores = inputs.scores.drop_duplicates(["model", "dataset", "protocol", "variant"])
    headline = [inputs.variants[name] for name in inputs.headline.values()]
    keys = pd.MultiIndex.from_frame(scores[["protocol", "variant"]])
    first = scores[keys.isin([(variant.protocol, variant.name) for variant in headline])]
    spent = first.groupby(["model", "protocol"])["seconds"].sum()
    sizes = _gmacs(inputs)
    rows = []
    for model in inputs.study.models:
        facts = [f for (_, name), f in inputs.provenance.items() if name == model]
        splits = [s for f in facts for s in f["splits"].values()]
        row: dict[str, Any] = {
            "model": model,
            "parameters": facts[0]["parameters"] if facts else None,
            "gmacs": sizes.get(model),
            "images": sum(s["images"] for s in splits) if facts else None,
            "extraction": round(sum(s["seconds"] for s in splits), 3) if facts else None,
        }
        for protocol in inputs.headline:
            seconds = spent.get((model, protocol))
            row[protocol] = None if seconds is None else round(float(seconds), 3)
        rows.append(row)
    return ModelRows(rows)


def _gmacs(inputs: Inputs) -> dict[str, float]:
    """Billions of multiply-adds for one image, of models of which they are known."""
    if "gmacs" not in inputs.cube.coords:
        return {}
    found = zip(inputs.models, inputs.cube["gmacs"].values, strict=True)
    return {model: float(number) for model, number in found if np.isfinite(number)}


@dataclass(frozen=True)
class Provenances(ModelRows):
    """The rows of `provenance_table`, and what is the same for all models, told once.

    Attributes
    ----------
    same : tuple of (str, str)
        Heading and text.
    columns : mapping of str to str
        Headings by the rows' keys: what models differ in.
    """

    same: tuple[tuple[str, str], ...]
    columns: dict[str, str]


_ORIGINS = {
    "feature": "Feature",
    "transform": "Image transform",
    "set": "Set in the study",
    "precision": "Precision",
    "device": "Computed on",
    "versions": "Packages",
}


def provenances(inputs: Inputs) -> Provenances:
    """Where embeddings come from, by model and for all of them."""
    rows = provenance_table(inputs)
    texts = {key: {str(row[key]) for row in rows} for key in _ORIGINS}
    alike = {key for key, found in texts.items() if len(found) == 1 and len(rows) > 1}
    return Provenances(
        rows,
        tuple((heading, rows[0][key]) for key, heading in _ORIGINS.items() if key in alike),
        {key: heading for key, heading in _ORIGINS.items() if key not in alike},
    )


def provenance_table(inputs: Inputs) -> list[dict[str, Any]]:
    """What computed each model's embeddings; several values where data sets differ.

    Of the image transform, each part with who said it.
    """
    rows = []
    for name, model in inputs.study.models.items():
        facts = [f for (_, m), f in inputs.provenance.items() if m == name]
        rows.append(
            {
                "model": name,
                "architecture": model.architecture,
                "weights": model.weights,
                "digest": _distinct(f["weights"][:12] for f in facts),
                "feature": "imported" if model.weights == "imported" else model.feature,
                "set": _set(model),
                "transform": _distinct(
                    f"{PREPROCESSING[model.preprocessing]}: "
                    + in_one_line(transform_parts(model, f["transform"]))
                    for f in facts
                ),
                "precision": _distinct(f["precision"] for f in facts),
                "device": _distinct(f"{f['device']}, {f['processor']}" for f in facts),
                "versions": _distinct(
                    ", ".join(f"{p} {v}" for p, v in [*f["versions"].items()][:2])
                    + f", Python {f['python']}"
                    for f in facts
                ),
            }
        )
    return rows


PREPROCESSING = {
    "authors": "as its authors evaluate",
    "timm": "as timm records",
    "common": "common to all",
    "own": "as timm records, or as set",
}
"""Words for a model's `preprocessing`."""


def _set(model: Model) -> str:
    """What an entry says beside what has a column: every setting that changes numbers."""
    own = loading_part(model).keys() - {"architecture", "weights", "feature"}
    said = model.model_dump(include=own, exclude_defaults=True)
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in said.items()) or "–"


def _distinct(values: Any) -> str:
    return "; ".join(filter(None, dict.fromkeys(map(str, values)))) or "not recorded"
