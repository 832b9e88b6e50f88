"""All missing cells of one data set: load models in groups that fit, extract, record provenance."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cache.cell import is_current
from cache.files import write_durably
from cache.fingerprint import fingerprint
from pipeline.cards import find_card, loading_part, make_card
from pipeline.cells import cell_key, cell_status, needed_splits, samples_of
from pipeline.devices import Machine, this_machine
from pipeline.engine import Job, Written, extract_split
from pipeline.forward import Forward
from pipeline.index import Index
from pipeline.models import LoadedModel, load_model
from pipeline.paths import cell_address, provenance_path
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
        loaded = {n: m for n, m in group.items() if cell_status(study, index, n).state != "cached"}
        forwards = _share_forwards(loaded, machine, study.extraction.precision)
        for split in needed_splits(study) if loaded else ():
            jobs = []
            for name, model in loaded.items():
                card = find_card(name, study.models[name])
                assert card is not None  # made when the model was loaded
                key = cell_key(study, index, split, study.models[name], card)
                if not is_current(cell_address(index.name, name, split), key):
                    jobs.append(Job(name, model, forwards[name], key, samples_of(split)[1]))
            done = extract_split(index, split, root, jobs, machine, study.extraction.storage)
            for name, cell in done.items():
                _write_provenance(study, index, name, loaded[name], machine, split, cell)
        computed += loaded
    return computed


def _share_forwards(
    loaded: dict[str, LoadedModel], machine: Machine, precision: str
) -> dict[str, Forward]:
    """One `Forward` per network: models that differ only in their feature share it."""
    by_backbone: dict[int, Forward] = {}
    for model in loaded.values():
        if id(model.backbone) not in by_backbone:
            by_backbone[id(model.backbone)] = Forward(model, machine, precision)
    return {name: by_backbone[id(model.backbone)] for name, model in loaded.items()}


def _groups_that_fit(
    study: Study, names: list[str], machine: Machine
) -> Iterator[dict[str, LoadedModel]]:
    """Models loaded together, as many as the device's memory holds."""
    group: dict[str, LoadedModel] = {}
    networks: dict[str, LoadedModel] = {}
    used = 0
    for name in names:
        entry = study.models[name]
        network = fingerprint(loading_part(entry, without_feature=True))
        if network in networks:
            model = networks[network].with_feature(entry.feature, f"params.yaml: models.{name}")
        else:
            model = load_model(name, entry)
            needs = model.parameters * _BYTES_PER_PARAMETER * _ACTIVATIONS
            if group and used + needs > machine.memory:
                yield group
                group, networks, used = {}, {}, 0
            networks[network] = model
            used += needs
        make_card(name, entry, model)
        group[name] = model
    if group:
        yield group


def _write_provenance(
    study: Study,
    index: Index,
    name: str,
    model: LoadedModel,
    machine: Machine,
    split: str,
    written: Written,
) -> None:
    """Beside the key: what computed the cell and what it cost. No dates: DVC hashes this."""
    path = provenance_path(index.name, name)
    splits = _recorded_splits(path, model.weights_digest)
    splits[split] = {
        "images": len(index.split(samples_of(split)[0])),
        "seconds": round(written.seconds, 3),
        "remarks": list(written.remarks),
    }
    facts: dict[str, Any] = {
        "parameters": model.parameters,
        "weights": model.weights_digest,
        "transform": model.transform.to_dict(),
        "device": machine.name,
        "processor": platform.processor() or platform.machine(),
        "versions": {p: version(p) for p in ("torch", "timm", "pillow", "numpy", "zarr")},
        "python": platform.python_version(),
        "precision": study.extraction.precision,
        "splits": splits,
    }
    write_durably(path, json.dumps(facts, indent=1).encode())


def _recorded_splits(path: Path, weights: str) -> dict[str, Any]:
    """What is recorded of the model's other splits, as far as it is of these weights."""
    try:
        facts = json.loads(path.read_bytes())
        return dict(facts["splits"]) if facts["weights"] == weights else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
