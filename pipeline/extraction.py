"""All missing cells of one data set: load models in groups that fit, extract, record provenance."""

from __future__ import annotations

from collections.abc import Iterator

from cache.cell import is_current
from cache.fingerprint import fingerprint
from pipeline.cards import loading_part, make_card
from pipeline.cells import cell_key, cell_status, needed_splits, samples_of
from pipeline.devices import Machine, this_machine
from pipeline.engine import Job, extract_split
from pipeline.forward import Forward
from pipeline.index import Index
from pipeline.models import LoadedModel, load_model
from pipeline.paths import cell_address
from pipeline.provenance import record_provenance
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
        cards = {n: make_card(n, study.models[n], model) for n, model in loaded.items()}
        splits = {s: None for name in loaded for s in needed_splits(study, study.models[name])}
        for split in splits:
            jobs = []
            for name, model in loaded.items():
                key = cell_key(study, index, split, study.models[name], cards[name])
                if not is_current(cell_address(index.name, name, split), key):
                    jobs.append(Job(name, model, forwards[name], key, samples_of(split)[1]))
            done = extract_split(index, split, root, jobs, machine, study.extraction.storage)
            for name, cell in done.items():
                record_provenance(
                    index.name,
                    name,
                    study.models[name],
                    cards[name],
                    split=split,
                    images=len(index.split(samples_of(split)[0])),
                    seconds=cell.seconds,
                    remarks=cell.remarks,
                    device=machine.name,
                    precision=study.extraction.precision,
                )
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
