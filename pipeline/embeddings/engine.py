"""Extraction: one pass over the decoded images of a data set for all models that lack cells."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from cache.cell import Cell
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.embeddings.assembling import Assembler
from pipeline.embeddings.cells import samples_of
from pipeline.embeddings.held import held_cells
from pipeline.embeddings.jobs import Job, Record, Sharing
from pipeline.embeddings.running import image_loader
from pipeline.embeddings.sampling import decide_storage
from pipeline.embeddings.writing import Opener, Writers
from pipeline.machine.devices import Machine
from pipeline.machine.progress import Progress

LOOK_SECONDS = 1.0
"""Between two looks at chunks that other shards compute."""

_log = logging.getLogger(__name__)


def extract_splits(
    index: Index,
    jobs: Mapping[str, Sequence[Job]],
    root: Root,
    machine: Machine,
    storage: str,
    record: Record,
    sharing: Sharing | None = None,
) -> int:
    """Compute and commit cells of a data set.

    Rows that other cells hold are copied. Every other image of a split is read and decoded once,
    resized once per distinct geometry, and run through every model that still misses it. Where
    nothing is copied, no batch goes beyond the border of a chunk, so that a resumed run forms the
    same batches. How rows are stored is decided before (`pipeline.embeddings.sampling`).

    Parameters
    ----------
    index : Index
    jobs : mapping of str to sequence of Job
        By split.
    root : Root
        Where the images are.
    machine : Machine
    storage : {"float16", "float32"}
        Preferred stored type.
    record : callable
        See `Record`. A cell that is whole has its record: killed in between, the next run goes on
        with both.
    sharing : Sharing, optional
        With other processes, block of images by block. Who is not patient may leave cells that
        others are to finish.

    Returns
    -------
    int
        Chunks that were written here.

    Raises
    ------
    ProbelineError
        On a bad image, a value that is not finite, a full disk, or a cell that another process
        is writing. What was committed stays and is not computed again.
    """
    held = held_cells([job.key for of_split in jobs.values() for job in of_split])
    openers = {split: Opener(index, split, storage, sharing) for split in jobs}
    if storage == "float16" and not decide_storage(
        index, jobs, openers, root, machine, held, sharing
    ):
        return 0  # other shards are at it, and there is more to do elsewhere
    parts = [jobs] if any(held.values()) else [{split: some} for split, some in jobs.items()]
    return sum(
        _together(index, part, openers, root, machine, held, record, sharing) for part in parts
    )


def _together(
    index: Index,
    jobs: Mapping[str, Sequence[Job]],
    openers: Mapping[str, Opener],
    root: Root,
    machine: Machine,
    held: Mapping[str, list[Cell]],
    record: Record,
    sharing: Sharing | None,
) -> int:
    """Splits that may copy from cells that others replace: those go when no row is missing."""
    with ExitStack() as all_open:
        splits = {
            split: all_open.enter_context(Writers(openers[split], of_split, held, sharing))
            for split, of_split in jobs.items()
        }
        left = [writer for writers in splits.values() for writer in writers]
        cells = [writer.cell for writer in left]
        waited = False
        while left:
            begun = 0
            for split, writers in splits.items():
                if any(writer.cell.missing for writer in writers):
                    begun += _one_pass(index, split, root, writers, machine)
                for cell in cells:
                    cell.refresh()
                for writer in [w for w in writers if w in left]:
                    needed = any(other.needs_cell(writer) for other in left)
                    if not (needed or writer.cell.missing) and _put_in_place(split, writer, record):
                        left.remove(writer)
            if left and sharing is not None and not begun:
                if not sharing.patient:
                    break
                if not waited:
                    _log.warning("%s: waiting for chunks that other shards compute", index.name)
                waited = True
                time.sleep(LOOK_SECONDS)
        return sum(cell.own for cell in cells)


def _put_in_place(split: str, writer: Assembler, record: Record) -> bool:
    """Record and commit a cell; False where it turns out to need float32."""
    with writer.cell.in_turn():
        if writer.cell.missing:
            return False
        if not writer.cell.finished:  # else another process has recorded it
            record(split, writer.job.name, writer.written)
        return writer.cell.commit()


def _one_pass(index: Index, split: str, root: Root, writers: Writers, machine: Machine) -> int:
    """Compute what is missing, and is not claimed by others; the chunks that were begun."""
    loader = image_loader(
        index,
        samples_of(split)[0],
        root,
        [writer.job.pixels for writer in writers],
        machine,
    )
    for writer in writers:
        writer.begin_pass()
    with Progress(f"extract {index.name} {split}", writers.rows_left(), "images") as progress:
        for batch, pixels in loader.batches(writers.batches(machine.batch_size)):
            writers.take(batch, pixels)
            progress.advance(len(batch))
    writers.wait()
    return sum(writer.begun for writer in writers)
