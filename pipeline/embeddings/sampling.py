"""How a model's rows are stored is decided on some images, before any chunk is written.

Formerly a cell that float16 did not do for was computed a second time. So up to `IMAGES` images of
the data set, of all classes and splits, go through the networks first; whether their values fit
float16, and whether its step drowns a column, decides. The rows are kept beside the cells and are
not computed again. A value further on may still need float32: the cell then begins a generation.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from cache.ahead import Ahead, read_ahead
from cache.cell import Cell
from cache.errors import CellLockedError, ProbelineError
from cache.fingerprint import fingerprint
from cache.lock import PATIENCE, SILENT, Lock
from cache.precision import Moments, columns_drowned_in_float16, overflows_float16
from cache.rows import make_plan
from cache.shared_writer import DECIDING
from cache.storage import Storage
from cache.writer import OVERFLOWS, drowns
from pipeline.datasets.former_cells import digests_of
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.embeddings.cells import model_of_rows, samples_of
from pipeline.embeddings.held import candidates
from pipeline.embeddings.jobs import Job, Sharing
from pipeline.embeddings.running import Runner, image_loader
from pipeline.embeddings.storage import Storages, Wanted, follows, in_float32, inherited
from pipeline.embeddings.writing import Opener
from pipeline.machine.devices import Machine
from pipeline.machine.progress import Progress
from pipeline.project.paths import EMBEDDINGS, cell_address

IMAGES = 1024

KEPT_EVERY = 256
"""Images after which their rows are written to the disk."""

Jobs = Mapping[str, Sequence[Job]]
"""By split, with views of their own."""


class _Sample:
    """One model's rows of a split's sampled images, while they are computed.

    Parameters
    ----------
    cell : Wanted
    job : Job
    rows : ndarray of shape (n_images,)
        Ascending. Those that a run which was stopped has kept are not computed again.
    """

    def __init__(self, cell: Wanted, job: Job, rows: NDArray[np.int64]) -> None:
        self.job, self.rows, self._cell = job, rows, cell
        self.values = np.empty((len(rows), job.model.columns), np.float32)
        self._done = np.zeros(len(rows), bool)
        size = 0 if cell.digests is None else len(cell.digests)
        kept = read_ahead(cell.address.partial, fingerprint(cell.key), size, cell.columns)
        known = np.isin(kept.rows, rows)
        self._put(kept.rows[known], kept.values[known])
        self._seconds = kept.seconds * int(known.sum())

    @property
    def missing(self) -> NDArray[np.int64]:
        """Rows that are still to be computed."""
        return self.rows[~self._done]

    def needs(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are to be computed."""
        return np.isin(rows, self.missing)

    def take(self, rows: NDArray[np.int64], features: NDArray[np.float32], seconds: float) -> None:
        """Have some rows' features."""
        self._put(rows, features)
        self._seconds += seconds

    @property
    def ahead(self) -> Ahead:
        """Those that are there, as they are kept beside the cell."""
        count = max(1, int(self._done.sum()))
        return Ahead(self.rows[self._done], self.values[self._done], self._seconds / count)

    def keep(self) -> None:
        """Put them where the cell will be built: a killed run loses little."""
        self.ahead.write(self._cell.address.partial, fingerprint(self._cell.key))

    def _put(self, rows: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        places = np.searchsorted(self.rows, rows)
        self.values[places], self._done[places] = features, True


def decide_storage(
    index: Index,
    jobs: Jobs,
    openers: Mapping[str, Opener],
    root: Root,
    machine: Machine,
    held: Mapping[str, list[Cell]],
    sharing: Sharing | None,
) -> bool:
    """Begin the cells of all models whose storage is not decided; of shards, one does it for all.

    Parameters
    ----------
    index : Index
    jobs : mapping of str to sequence of Job
    openers : mapping of str to Opener
    root : Root
    machine : Machine
    held : mapping of str to list of Cell
        See `pipeline.embeddings.held.held_cells`.
    sharing : Sharing, optional

    Returns
    -------
    bool
        False where another shard is at it, and this one does not wait.
    """
    if not _undecided(index, jobs):
        return True
    try:
        lock = nullcontext() if sharing is None else _deciding(index, patient=sharing.patient)
    except CellLockedError:
        if sharing is None or sharing.patient:
            raise
        return False
    with lock:
        if undecided := _undecided(index, jobs):
            _decide(index, undecided, openers, root, machine, held)
    return True


def _deciding(index: Index, *, patient: bool) -> Lock:
    path = EMBEDDINGS / index.name / DECIDING
    return Lock(path, f"the storage of {index.name}", PATIENCE if patient else 0.0, silent=SILENT)


def _undecided(index: Index, jobs: Jobs) -> dict[str, dict[str, Job]]:
    """By model, then by split: jobs of models of which some cell is not begun."""
    found: dict[str, dict[str, Job]] = defaultdict(dict)
    for split, of_split in jobs.items():
        for job in of_split:
            found[job.name][split] = job
    return {
        name: of_model
        for name, of_model in found.items()
        if any(_wanted(index, split, job).begun is None for split, job in of_model.items())
    }


def _wanted(index: Index, split: str, job: Job) -> Wanted:
    address = cell_address(index.name, job.name, split)
    digests = digests_of(index, samples_of(split)[0])
    return Wanted(address, job.key, digests, job.model.columns)


def _decide(
    index: Index,
    undecided: Mapping[str, Mapping[str, Job]],
    openers: Mapping[str, Opener],
    root: Root,
    machine: Machine,
    held: Mapping[str, list[Cell]],
) -> None:
    storages = Storages()
    known = storages.look()
    decided: dict[str, Storage] = {}
    for name, of_model in undecided.items():
        wanted = [_wanted(index, split, job) for split, job in of_model.items()]
        begun = [storage for cell in wanted if (storage := cell.begun) is not None]
        storage = begun[0] if begun else inherited(wanted, held, known)
        if storage is not None:
            decided[name] = replace(storage, generation=max(1, storage.generation))
    to_sample = {name: jobs for name, jobs in undecided.items() if name not in decided}
    samples = _compute(index, to_sample, root, machine, held)
    sampled = {split for of_splits in samples.values() for split in of_splits}
    digests = {split: index.digests(samples_of(split)[0]) for split in sampled}
    with _in_turn():
        if to_sample:
            known = storages.look()  # other data sets may have decided meanwhile
        for name, of_model in undecided.items():
            of_splits = samples.get(name, {})
            if name not in decided:
                key = next(iter(of_model.values())).key
                former = known.get(model_of_rows(key) or "")
                own = _judged(digests, list(of_splits.items()), former)
                decided[name] = in_float32(known, key) or own
            for split, job in of_model.items():
                ahead = of_splits[split].ahead if split in of_splits else None
                openers[split].open(job, decided[name], ahead).close()


def _in_turn() -> Lock:
    """While it is held, no other data set decides: no image goes through a network meanwhile."""
    return Lock(EMBEDDINGS / DECIDING, "the storage of rows", PATIENCE, silent=SILENT)


def _judged(
    digests: Mapping[str, Sequence[str]],
    samples: Sequence[tuple[str, _Sample]],
    known: Storage | None,
) -> Storage:
    """What the sampled rows of a model say; digests are of all images, by split."""
    if not samples:
        return follows(known, "float16", "without images")
    drawn = [digests[split][row] for split, each in samples for row in each.rows]
    decided = f"on {len(drawn):,} images drawn over all classes ({fingerprint(drawn)[:12]})"
    values = [each.values for _, each in samples]
    if any(map(overflows_float16, values)):
        return follows(known, "float32", decided, OVERFLOWS)
    drowned = columns_drowned_in_float16(reduce(Moments.merge, map(Moments.of, values)))
    if drowned:
        return follows(known, "float32", decided, drowns(drowned, values[0].shape[1]))
    return follows(known, "float16", decided)


def _compute(
    index: Index,
    models: Mapping[str, Mapping[str, Job]],
    root: Root,
    machine: Machine,
    held: Mapping[str, list[Cell]],
) -> dict[str, dict[str, _Sample]]:
    """The rows of sampled images that no cell holds, by model and split."""
    plain = {split for jobs in models.values() for split in jobs} & set(index.split_names)
    found: dict[str, dict[str, _Sample]] = {name: {} for name in models}
    for split, rows in sampled_rows(index, sorted(plain)).items() if plain else ():
        samples = []
        for name, jobs in models.items():
            if split in jobs:
                cell = _wanted(index, split, jobs[split])
                if len(free := _not_held(cell, rows, held)):
                    found[name][split] = _Sample(cell, jobs[split], free)
                    samples.append(found[name][split])
        if samples:
            _run(index, split, root, samples, machine)
    return found


def _not_held(
    cell: Wanted, rows: NDArray[np.int64], held: Mapping[str, list[Cell]]
) -> NDArray[np.int64]:
    around = candidates(held, cell.key, cell.address)
    if cell.digests is None or not around:
        return rows
    return rows[make_plan(cell.digests, "float16", around, cell.columns).computed[rows]]


def sampled_rows(index: Index, splits: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Which images of some splits are looked at: `IMAGES` of them, or all, of every class alike.

    In turns, each class gives the image that has the smallest digest of those it has left; the last
    turn takes the smallest digests of all.

    Returns
    -------
    dict of str to ndarray of shape (n_images,)
        Ascending rows of each split.
    """
    digests = np.array([digest for split in splits for digest in index.digests(split)])
    labels = np.concatenate([index.labels(split) for split in splits])
    order = np.argsort(digests, kind="stable")
    by_class = order[np.argsort(labels[order], kind="stable")]  # in a class, by digest
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turn = np.empty(len(order), np.int64)
    turn[by_class] = np.arange(len(order)) - starts
    chosen = order[np.argsort(turn[order], kind="stable")][:IMAGES]
    ends = np.cumsum([len(index.labels(split)) for split in splits])
    parts = {
        split: np.sort(chosen[(chosen >= end - size) & (chosen < end)]) - (end - size)
        for split, end, size in zip(splits, ends, np.diff([0, *ends]), strict=True)
    }
    return {split: rows.astype(np.int64) for split, rows in parts.items() if len(rows)}


def _run(
    index: Index, split: str, root: Root, samples: Sequence[_Sample], machine: Machine
) -> None:
    """Compute what is missing of them, in batches of ascending rows."""
    rows = np.unique(np.concatenate([sample.missing for sample in samples]))
    size = machine.batch_size
    wanted = (rows[start : start + size] for start in range(0, len(rows), size))
    of = samples_of(split)[0]
    loader = image_loader(index, of, root, [sample.job.pixels for sample in samples], machine)
    runner = Runner(samples, index.split(of)["path"].tolist())
    done = 0
    try:
        with Progress(f"extract {index.name} {split}: storage", len(rows), "images") as progress:
            for batch, pixels in loader.batches(wanted):
                runner.take(batch, pixels)
                progress.advance(len(batch))
                done += len(batch)
                if done % KEPT_EVERY < len(batch):
                    _keep(samples)
        runner.finish()
    except BaseException:
        with contextlib.suppress(ProbelineError):
            _keep(samples)
        raise
    finally:
        runner.close()


def _keep(samples: Sequence[_Sample]) -> None:
    for sample in samples:
        sample.keep()
