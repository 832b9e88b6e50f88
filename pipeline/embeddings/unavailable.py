"""Cells that are missing because a model's weights can't be had now: which, and why.

`extract` runs the models that it can and records the others beside their provenance, as
``MODEL.missing.json``. Later stages leave those out; they are gaps of the report. Once the weights
are here, the record goes, so that the output is no longer what DVC knows, and `dvc repro` runs
`extract` again. Nothing in it is of this machine: DVC hashes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from cache.errors import ProbelineError, printable
from cache.files import write_durably
from cache.fingerprint import load_json
from pipeline.project.paths import PROVENANCE, provenance_path
from pipeline.study.schema import Study

_SUFFIX = ".missing.json"
_LONGEST = 400
"""Characters of a reason."""


def unavailable(dataset: str, model: str) -> str:
    """Why a model has no cells on a data set; "" where its weights are not the reason."""
    try:
        return str(load_json(_path(dataset, model).read_bytes())["reason"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):
        return "its weights could not be fetched"


def available(study: Study, dataset: str) -> list[str]:
    """The study's models that have, or can have, cells on a data set."""
    return [model for model in study.models if not _path(dataset, model).exists()]


def record_unavailable(dataset: str, models: dict[str, ProbelineError]) -> None:
    """Record which models have no cells on a data set, and forget all others there."""
    for path in _records(dataset):
        if path.name.removesuffix(_SUFFIX) not in models:
            path.unlink()
    for model, error in models.items():
        text = json.dumps({"reason": reason(error)}, indent=1)
        write_durably(_path(dataset, model), f"{text}\n".encode())


def forget_unavailable(models: Iterable[str]) -> set[str]:
    """Forget models whose weights are here now; the data sets whose cells can be computed."""
    there = {model: sorted(PROVENANCE.glob(f"*/{model}{_SUFFIX}")) for model in models}
    for path in (paths := [path for of in there.values() for path in of]):
        path.unlink()
    return {path.parent.name for path in paths}


def reason(error: ProbelineError) -> str:
    """An error in one line, without what differs from one try to the next."""
    found = re.sub(r"\s*\(Request ID: [^)]*\)", "", f": {error.found}" if error.found else "")
    return printable(re.sub(r"\s+", " ", f"{error.problem}{found}"))[:_LONGEST]


def _path(dataset: str, model: str) -> Path:
    return provenance_path(dataset, model).with_suffix(_SUFFIX)


def _records(dataset: str) -> list[Path]:
    return sorted(provenance_path(dataset, "_").parent.glob(f"*{_SUFFIX}"))
