"""All missing cells of one data set: load models in groups that fit, extract, record provenance."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict

from cache.cell import is_current
from cache.fingerprint import fingerprint
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.cells import cell_key, cell_status, needed_splits, rows_made_by, samples_of
from pipeline.embeddings.engine import extract_splits
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.jobs import Job, Sharing, Written
from pipeline.embeddings.provenance import record_audit, record_provenance, recorded_audit
from pipeline.machine.devices import Machine, this_machine
from pipeline.models.card import Card
from pipeline.models.cards import loading_part, make_card
from pipeline.models.networks import LoadedModel, load_model
from pipeline.project.paths import cell_address
from pipeline.study.schema import Study

_BYTES_PER_PARAMETER = 4
_ACTIVATIONS = 2
"""Share of the weights' memory that is set aside for activations, on top."""


def extract_models(
    study: Study, index: Index, names: list[str], sharing: Sharing | None = None
) -> tuple[list[str], int]:
    """Compute every cell that the named models miss on a data set; with others, where `sharing`.

    Returns
    -------
    models : list of str
        Those that had cells computed. A model whose card was unknown but whose cells turn
        out to be current, once its weights are loaded, is not among them.
    chunks : int
        That were written here.
    """
    machine = this_machine()
    root = dataset_root(index.name, study.datasets[index.name])
    computed: list[str] = []
    chunks = 0
    for group in _groups_that_fit(study, names, machine):
        loaded = {n: m for n, m in group.items() if cell_status(study, index, n).state != "cached"}
        test_only = "train" not in index.split_names
        splits = {
            split: None
            for name in loaded
            for split in needed_splits(study, study.models[name], test_only=test_only)
        }
        images = sum(len(index.split(samples_of(split)[0])) for split in splits)
        forwards = _share_forwards(loaded, machine, study.extraction.precision, images)
        cards = {n: make_card(n, study.models[n], model) for n, model in loaded.items()}
        if study.extraction.precision != "float32":
            with nullcontext() if sharing is None else sharing.mutex.held():
                _audit(study, index, root, loaded, forwards, cards, machine)
        jobs: dict[str, list[Job]] = {}
        for split in splits:
            for name, model in loaded.items():
                key = cell_key(study, index, split, study.models[name], cards[name])
                if not is_current(cell_address(index.name, name, split), key):
                    job = Job(name, model, forwards[name], key, samples_of(split)[1])
                    jobs.setdefault(split, []).append(job)
        record = functools.partial(_record, study, index, cards, machine)
        storage = study.extraction.storage
        chunks += extract_splits(index, jobs, root, machine, storage, record, sharing)
        computed += loaded
    return computed, chunks


def _record(
    study: Study,
    index: Index,
    cards: Mapping[str, Card],
    machine: Machine,
    split: str,
    name: str,
    cell: Written,
) -> None:
    record_provenance(
        index.name,
        name,
        study.models[name],
        cards[name],
        split=split,
        images=len(index.split(samples_of(split)[0])),
        seconds=cell.seconds,
        storage=cell.storage,
        device=machine.name,
        precision=study.extraction.precision,
        copied=cell.copied,
    )


def _audit(
    study: Study,
    index: Index,
    root: Root,
    loaded: Mapping[str, LoadedModel],
    forwards: Mapping[str, Forward],
    cards: Mapping[str, Card],
    machine: Machine,
) -> None:
    """Record what reduced precision changes, for models where that is not recorded.

    Before any cell is whole: a run that is killed in between leaves either no audit and no cell,
    and does both when resumed, or an audit that is found.
    """
    from pipeline.embeddings.audit import audit_jobs  # imports scikit-learn: seconds

    jobs = []
    for name, model in loaded.items():
        key = cell_key(study, index, index.split_names[0], study.models[name], cards[name])
        known = recorded_audit(index.name, name)
        if known.get("cell") != fingerprint(key) and known.get("rows") != rows_made_by(key):
            jobs.append(Job(name, model, forwards[name], key))
    audits = audit_jobs(index, root, jobs, machine) if jobs else {}
    for job in jobs:
        facts = {
            "cell": fingerprint(job.key),
            "rows": rows_made_by(job.key),
            "precision": study.extraction.precision,
            **asdict(audits[job.name]),
        }
        record_audit(
            index.name, job.name, study.models[job.name], cards[job.name], facts,
            device=machine.name,
        )  # fmt: skip


def _share_forwards(
    loaded: Mapping[str, LoadedModel], machine: Machine, precision: str, images: int
) -> dict[str, Forward]:
    """One `Forward` per network: models that differ only in their feature share it.

    Each network goes to the device that has the fewest parameters to run so far.
    """
    by_backbone: dict[int, Forward] = {}
    burden = dict.fromkeys(machine.devices, 0)
    for model in loaded.values():
        if id(model.backbone) not in by_backbone:
            device = min(burden, key=lambda device: burden[device])
            burden[device] += model.parameters
            by_backbone[id(model.backbone)] = Forward(
                model, machine, precision, images=images, device=device
            )
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
