"""The study's scores as a table that others can import, and check what it is of.

The long form of scores.csv without what nobody else can use, and three columns more: what the model
was trained on, the digest of its weights, and that of the test images (of their own digests, sorted
and one a line). `probeline scores
import` reads it again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd

from cache.errors import ProbelineError
from cache.files import write_durably
from cache.seals import read_sealed_json
from pipeline.project.paths import provenance_path
from pipeline.results.current import Current
from pipeline.results.foreign_file import REQUIRED
from pipeline.results.gathering import gather
from pipeline.results.score_table import COLUMNS, MODEL_WORDS, to_csv
from pipeline.study.schema import Study

EXTRA = ("trained_on", "weights_sha256", "test_images_sha256")
"""Columns that only an exported table has; an import takes no notice of them."""


def exported(study: Study) -> pd.DataFrame:
    """All scores, with `EXTRA`; columns that nobody says anything in are left out.

    Raises
    ------
    ProbelineError
        When nothing is scored.
    """
    scores, _ = gather(study)
    if scores.empty:
        raise ProbelineError("results", "there are no scores yet", remedy="run `dvc repro`")
    current = Current(study)
    trained = {name: "; ".join(m.trained_on or ()) for name, m in study.models.items()}
    images = {name: current.index(name).images_digest("val") for name in study.datasets}
    table = scores.assign(
        trained_on=scores["model"].map(lambda name: trained.get(name, "")),
        weights_sha256=[
            _weights(dataset, model) if model in study.models and dataset in images else ""
            for model, dataset in zip(scores["model"], scores["dataset"], strict=True)
        ],
        test_images_sha256=scores["dataset"].map(lambda name: images.get(name, "")),
    )
    table = table.replace({word: {"unknown": ""} for word in MODEL_WORDS})
    says = table.notna() & ~table.isin(["", "{}"])
    kept = [name for name in (*COLUMNS, *EXTRA) if name in REQUIRED or says[name].any()]
    return table[kept]


def export_scores(study: Study, path: Path) -> pd.DataFrame:
    """Write the exported scores.

    Raises
    ------
    ProbelineError
        When nothing is scored.
    """
    table = exported(study)
    write_durably(path, to_csv(table).encode())
    return table


def _weights(dataset: str, model: str) -> str:
    try:
        facts = read_sealed_json(provenance_path(dataset, model))
    except FileNotFoundError:
        return ""
    return str(facts.get("weights", ""))
