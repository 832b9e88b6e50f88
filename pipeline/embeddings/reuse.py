"""Rows that the project holds already: cells that are made of them alone need no forward pass.

A corrected label, a renamed folder, another grouping, a limit, a subset of another data set: all
images are known, and neither weights nor torch are needed. What holds new images, too, goes to
`pipeline.embeddings.missing`, which computes those and takes the rest from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from cache.cell import Cell, is_current
from cache.errors import CellLockedError
from cache.rows import copy_rows, make_plan, planned
from cache.writer import CellWriter
from pipeline.datasets.former_cells import digests_of
from pipeline.datasets.index import Index
from pipeline.embeddings.cells import (
    cell_key,
    known_card,
    needed_splits,
    rows_made_by,
    samples_of,
)
from pipeline.embeddings.held import candidates, held_cells
from pipeline.embeddings.provenance import kept_path, record_provenance
from pipeline.embeddings.storage import Wanted, follows, inherited, known_storages
from pipeline.machine.environment import wait_seconds
from pipeline.models.card import Card
from pipeline.project.paths import cell_address
from pipeline.study.schema import Study


def reseal_models(
    study: Study, index: Index, names: Sequence[str], *, sharing: bool = False
) -> dict[str, int]:
    """Make the cells of models whose every image the project holds, without a forward pass.

    Parameters
    ----------
    study : Study
    index : Index
    names : sequence of str
        Of models whose cells are missing or stale.
    sharing : bool
        Whether cells that other processes build are left to them, instead of refused.

    Returns
    -------
    dict of str to int
        Rows that were copied, by the models that are whole now.
    """
    cards = {n: card for n in names if (card := known_card(study, index, n)) is not None}
    keys = {name: _stale_keys(study, index, name, card) for name, card in cards.items()}
    held = held_cells([key for of_model in keys.values() for key in of_model.values()])
    done = {}
    for name, of_model in keys.items():
        if of_model and all(held.get(rows_made_by(key) or "") for key in of_model.values()):
            try:
                done[name] = _reseal(study, index, name, cards[name], of_model, held)
            except CellLockedError:
                if not sharing:
                    raise
    return {name: rows for name, rows in done.items() if rows}


def _stale_keys(study: Study, index: Index, name: str, card: Card) -> dict[str, dict[str, Any]]:
    """The keys of a model's cells that are missing or stale, by split."""
    entry = study.models[name]
    splits = needed_splits(study, entry, test_only="train" not in index.split_names)
    keys = {split: cell_key(study, index, split, entry, card) for split in splits}
    return {s: k for s, k in keys.items() if not is_current(cell_address(index.name, name, s), k)}


def _reseal(
    study: Study,
    index: Index,
    name: str,
    card: Card,
    keys: Mapping[str, dict[str, Any]],
    held: Mapping[str, list[Cell]],
) -> int:
    """Rows that were copied; 0 where some are missing, and then nothing was put in place."""
    digests = {split: digests_of(index, samples_of(split)[0]) for split in keys}
    wanted = {
        split: Wanted(cell_address(index.name, name, split), key, digests[split], card.columns)
        for split, key in keys.items()
    }
    storage = None
    if study.extraction.storage == "float16":
        known = known_storages()
        storage = inherited(list(wanted.values()), held, known)
        storage = storage or follows(None, "float16", "without images: all rows were held")
    dtype = storage.dtype if storage else study.extraction.storage
    if not all(cell.begun or _is_held(cell, dtype, held) for cell in wanted.values()):
        return 0  # and nothing is begun: new rows may decide otherwise how all are stored
    with ExitStack() as open_cells:
        plans = {}
        for split in keys:
            address = wanted[split].address
            writer = open_cells.enter_context(
                CellWriter(
                    address,
                    key=keys[split],
                    ids=index.split(samples_of(split)[0])["path"].tolist(),
                    labels=index.labels(samples_of(split)[0]),
                    columns=card.columns,
                    dtype=study.extraction.storage,
                    wait=wait_seconds(),
                    digests=digests[split],
                    storage=storage,
                )
            )
            plan = planned(writer, candidates(held, keys[split], address))
            if any(plan.computed[writer.rows_of(chunk)].any() for chunk in writer.missing):
                return 0
            if writer.computed and not kept_path(address).exists():
                return 0  # by a run that was stopped: what did it, only a loaded model tells
            plans[split] = writer, plan
        # All are filled before the first is put in place: it may replace what another copies.
        for writer, plan in plans.values():
            if not copy_rows(writer, plan):
                return 0
        for split, (writer, _) in plans.items():
            record_provenance(
                index.name,
                name,
                study.models[name],
                card,
                split=split,
                images=writer.rows,
                seconds=writer.seconds,
                storage=writer.storage,
                device="",
                precision=study.extraction.precision,
                copied=writer.copied,
            )
            if not writer.commit():
                return 0
        return sum(sum(writer.copied.values()) for writer, _ in plans.values())


def _is_held(cell: Wanted, dtype: str, held: Mapping[str, list[Cell]]) -> bool:
    """Whether every row can be copied into a cell of that type."""
    if cell.digests is None:
        return False
    around = candidates(held, cell.key, cell.address)
    return not make_plan(cell.digests, dtype, around, cell.columns).computed.any()
