"""A small study with made-up outcomes, stored as the stages before `report` would."""

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from made_evidence import all_statistics

from cache.files import write_durably
from cache.fingerprint import fingerprint
from cache.records import write_record
from pipeline.datasets.index import Index, index_rows, write_index
from pipeline.embeddings.cells import cell_key
from pipeline.embeddings.provenance import origin, recorded_card
from pipeline.machine.netcdf import write_netcdf
from pipeline.probes.scoring import make_outcome, outcome_table, score_rows
from pipeline.project.paths import (
    CORRELATION_NC,
    PARAMS,
    SCORES_CSV,
    SCORES_NC,
    SPLITS,
    provenance_path,
    record_path,
)
from pipeline.results.cube import to_cube
from pipeline.results.gathering import gather
from pipeline.results.score_table import to_csv
from pipeline.statistics import registry
from pipeline.statistics.analysis import analyse
from pipeline.statistics.evidence import gather_evidence
from pipeline.study.records import record_key
from pipeline.study.schema import Study

CLASSES = 3
NOT_TRAINED = {"weights": "random(0)", "method": "random", "supervision": "none"}


def make_study(models=6, inside=1, outside=2, variants=1, words=None, title="Report"):
    """A study; `words` are added to every model's entry."""
    names = [f"in{i}" for i in range(inside)] + [f"out{i}" for i in range(outside)]
    return Study.model_validate(
        {
            "datasets": {
                name: {
                    "source": "builtin:digits",
                    "role": "in_domain" if name.startswith("in") else "out_of_domain",
                }
                for name in names
            },
            "models": {
                f"model{i}": {
                    "architecture": "resnet18",
                    "weights": "pretrained",
                    "family": f"family{i}",
                    "backbone": "resnet18",
                    "supervision": "supervised",
                }
                | (words or {})
                for i in range(models)
            },
            "extraction": {},
            "neighbors": {"metric": ["euclidean"], "normalization": ["none"]},
            "knn": {"k": list(range(1, variants + 1))},
            "linear": {"c": [0.1, 1.0]},
            "fewshot": {},
            "transfer": {},
            "transferability": {},
            "correlation": {},
            "report": {"title": title},
            "pretrain": {},
            "finetune": {},
        }
    )


def store(
    study, *, missing=(), constant=False, images=40, remarks=(), details=None, statistics=True
):
    """Write everything that the report reads below the current folder.

    `missing` holds (protocol, data set, model) without a record; `statistics`: whether to compute
    them, which takes longer than all the rest.
    """
    PARAMS.write_text(json.dumps(study.model_dump()), encoding="utf-8")
    said = (missing, constant, images, remarks, details, statistics)
    if Path("scores").exists():  # imported ones are part of it
        _make(study, *said)
        return
    key = json.dumps([study.model_dump(exclude={"report"}), said, list(registry.STATISTICS)])
    if key not in _STORED:
        with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
            _make(study, *said)
            found = (path for path in Path().rglob("*") if path.is_file())
            _STORED[key] = {path: path.read_bytes() for path in found}
    for path, data in _STORED[key].items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


_STORED: dict[str, dict[Path, bytes]] = {}
"""Files by path below the current folder, by what was asked for: statistics take seconds."""


def _make(study, missing, constant, images, remarks, details, statistics):
    variants = {
        "knn": [f"k{k}_euclidean_distance_none" for k in study.knn.k],
        "linear": ["logistic_none"],
    }
    labels = np.arange(images) % CLASSES
    for d, dataset in enumerate(study.datasets):
        index = _index(dataset, labels, remarks)
        write_index(index)
        for m, (model, entry) in enumerate(study.models.items()):
            _write_provenance(dataset, model, entry)
            card = recorded_card(dataset, model, entry)
            cells = {s: fingerprint(cell_key(study, index, s, entry, card)) for s in SPLITS}
            cells |= index.beside_cells
            for p, (protocol, names) in enumerate(variants.items()):
                if (protocol, dataset, model) in missing:
                    continue
                rng = np.random.default_rng([d, m, p])
                right = 0.5 if constant else 0.4 + 0.5 * m / len(study.models)
                outcomes = [_outcome(v, labels, right, constant, rng, details) for v in names]
                rows = [r for o in outcomes for r in score_rows(o, labels, CLASSES, images)]
                write_record(
                    record_path(protocol, dataset, model),
                    key=record_key(study, protocol, dataset, lambda _, cells=cells: cells),
                    scores=rows,
                    outcomes=outcome_table(outcomes),
                )
    scores, _ = gather(study)
    write_durably(SCORES_CSV, to_csv(scores).encode())
    cube = to_cube(study, scores)
    write_netcdf(cube, SCORES_NC)
    found = all_statistics(gather_evidence(study, cube)) if statistics else {}
    write_netcdf(analyse(cube, study.correlation), CORRELATION_NC, found)


def _outcome(variant, labels, right, constant, rng, details):
    draw = np.arange(len(labels)) / len(labels) if constant else rng.random(len(labels))
    predicted = np.where(draw < right, labels, (labels + 1) % CLASSES)
    return make_outcome(
        variant,
        np.eye(CLASSES)[predicted],
        labels,
        seconds=0.5,
        backend="sklearn",
        details=(details or {}) if variant.startswith("logistic") else {},
    )


def _index(name, labels, remarks):
    rows = [
        {
            "path": f"{split}/{i:03}.png", "offset": 0, "bytes": 1, "sha256": "0" * 64,
            "class": str(label), "label": label, "split": split, "group": None, "label_set": None,
        }
        for split in ("train", "val")
        for i, label in enumerate(labels)
    ]  # fmt: skip
    return Index(
        name, tuple(map(str, range(CLASSES))), tuple(remarks), index_rows(pd.DataFrame(rows))
    )


def _write_provenance(dataset, model, entry):
    facts = {
        **origin(model, entry),
        "parameters": 1234567,
        "weights": "abcdef0123456789" * 4,
        "transform": {"size": 32, "crop": 1.0, "interpolation": "bicubic", "mean": [], "std": []},
        "device": "cpu",
        "processor": "x86_64",
        "versions": {"torch": "2", "timm": "1", "numpy": "2"},
        "python": "3.11",
        "precision": "float32",
        "splits": {
            split: {"images": 40, "seconds": 1.5, "remarks": []} for split in ("train", "val")
        },
    }
    write_durably(provenance_path(dataset, model), json.dumps(facts).encode())
