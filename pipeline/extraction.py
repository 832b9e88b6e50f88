"""All missing cells of one data set: load models in groups that fit, extract, record provenance."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from cache.files import write_durably
from pipeline.cards import find_card, make_card
from pipeline.cells import cell_key, cell_status
from pipeline.devices import Machine, this_machine
from pipeline.engine import Job, Written, extract_split
from pipeline.forward import Forward
from pipeline.index import Index
from pipeline.models import LoadedModel, load_model
from pipeline.paths import SPLITS, provenance_path
from pipeline.sources import dataset_root
from pipeline.study import Study

_BYTES_PER_PARAMETER = 4
_ACTIVATIONS = 2
"""Share of the weights' memory that is set aside for activations, on top."""


def extract_models(study: Study, index: Index, names: list[str]) -> list[str]:
    """Compute every cell that the named models miss on a data set.

    Returns
    -------
    list of str
        The models that had cells computed. A model whose card was unknown but whose cells turn
        out to be current, once its weights are loaded, is not among them.
    """
    machine = this_machine()
    root = dataset_root(index.name, study.datasets[index.name])
    computed: list[str] = []
    for group in _groups_that_fit(study, names, machine):
        missing = [n for n in group if cell_status(study, index, n).state != "cached"]
        loaded = {name: group[name] for name in missing}
        forwards = {
            name: Forward(model, machine, study.extraction.precision)
            for name, model in loaded.items()
        }
        written: dict[str, dict[str, Written]] = {name: {} for name in loaded}
        for split in SPLITS if loaded else ():
            jobs = []
            for name, model in loaded.items():
                card = find_card(name, study.models[name])
                assert card is not None  # made when the model was loaded
                key = cell_key(study, index, split, study.models[name], card)
                jobs.append(Job(name, model, forwards[name], key))
            done = extract_split(index, split, root, jobs, machine, study.extraction.storage)
            for name, cell in done.items():
                written[name][split] = cell
        for name in loaded:
            _write_provenance(study, index, name, loaded[name], machine, written[name])
        computed += missing
    return computed


def _groups_that_fit(
    study: Study, names: list[str], machine: Machine
) -> Iterator[dict[str, LoadedModel]]:
    """Models loaded together, as many as the device's memory holds."""
    group: dict[str, LoadedModel] = {}
    used = 0
    for name in names:
        model = load_model(name, study.models[name])
        make_card(name, study.models[name], model)
        needs = model.parameters * _BYTES_PER_PARAMETER * _ACTIVATIONS
        if group and used + needs > machine.memory:
            yield group
            group, used = {}, 0
        group[name] = model
        used += needs
    if group:
        yield group


def _write_provenance(
    study: Study,
    index: Index,
    name: str,
    model: LoadedModel,
    machine: Machine,
    written: dict[str, Written],
) -> None:
    """Beside the key: what computed the cell and what it cost. No dates: DVC hashes this."""
    facts: dict[str, Any] = {
        "parameters": model.parameters,
        "weights": model.weights_digest,
        "transform": model.transform.to_dict(),
        "device": machine.name,
        "processor": platform.processor() or platform.machine(),
        "versions": {p: version(p) for p in ("torch", "timm", "pillow", "numpy", "zarr")},
        "python": platform.python_version(),
        "precision": study.extraction.precision,
        "splits": {
            split: {
                "images": len(index.split(split)),
                "seconds": round(cell.seconds, 3),
                "remarks": list(cell.remarks),
            }
            for split, cell in written.items()
        },
    }
    path = provenance_path(index.name, name)
    write_durably(path, json.dumps(facts, indent=1).encode())
