"""Stage extract: run the models that miss a cell -> data/embeddings/<data set>/<model>.zarr."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import click

from cache.cell import Cell
from cache.errors import ProbelineError
from cache.removal import clear_beside
from cache.shared_writer import clear_mutex, is_all_claimed, mutex_of
from pipeline.datasets.former_cells import seal_former_cells
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import cell_status, needed_splits
from pipeline.embeddings.digests import record_cells
from pipeline.embeddings.provenance import copied_rows, describe_audit, recorded_audit
from pipeline.embeddings.unavailable import reason, record_unavailable
from pipeline.machine.shards import Shard
from pipeline.project.paths import EMBEDDINGS, cell_address
from pipeline.study.params import load_study
from pipeline.study.schema import Study
from stages._run import Tally, explain_errors, say
from stages.of_dataset import named_dataset
from stages.of_shards import as_shard, shard_option


@click.command(help=__doc__)
@click.argument("datasets", metavar="[DATASET]...", nargs=-1)
@shard_option("it computes the chunks (of all data sets where none is named)")
@explain_errors
def main(datasets: tuple[str, ...], shard: str | None) -> None:
    """Extract what data sets miss."""
    with as_shard(shard) as part:
        study = load_study()
        if part is None:
            for dataset in datasets or (named_dataset(study, "extract", None),):
                _extract(study, named_dataset(study, "extract", dataset), None)
            return
        names = [named_dataset(study, "extract", name) for name in datasets or study.datasets]
        # Who is through with a data set goes to the next, and only then waits for the others.
        turns = [(name, False) for name in names[:-1]] + [(name, True) for name in names[-1:]]
        for name, patient in [*turns, *((name, True) for name in names[:-1])]:
            _extract(study, name, Turn(part, patient))


@dataclass(frozen=True)
class Turn:
    """A shard's turn at a data set, and whether it stays until all cells are whole."""

    shard: Shard
    patient: bool


def _extract(study: Study, dataset: str, turn: Turn | None) -> None:
    stage = f"extract {dataset}" if turn is None else f"extract {dataset}, shard {turn.shard}"
    tally = Tally(stage)
    index = read_index(dataset)
    mutex = mutex_of(EMBEDDINGS / dataset)
    with nullcontext() if turn is None else mutex.held():  # the first shard begins for all
        to_run, absent = _begin(study, index, stage, tally, sharing=turn is not None)
    if turn is not None and not turn.patient:
        to_run = [name for name in to_run if not _is_in_other_hands(study, index, name)]
    chunks = 0
    if to_run:
        # Only now: a stage that has nothing to do must not spend seconds on importing torch.
        from pipeline.embeddings.jobs import Sharing
        from pipeline.embeddings.missing import extract_models

        sharing = None if turn is None else Sharing(turn.shard, mutex, turn.patient)
        computed, chunks = extract_models(study, index, to_run, sharing)
        tally.computed += len(computed)
        if turn is None or turn.patient:
            _say_copied(dataset, computed)
            _say_audits(dataset, computed)
            _say_storage(index, computed)
    if turn is not None:
        say(stage, f"{chunks:,} chunks written here")
    if turn is None or turn.patient:  # else others are at work there
        _clear_left_overs(study, index, absent)
        clear_mutex(EMBEDDINGS / dataset)
        record_unavailable(dataset, absent)
        record_cells(study, index)
        tally.cached = len(study.models) - tally.computed - len(absent)
        tally.close()
    if absent:
        say(stage, f"{len(absent)} without weights: {', '.join(absent)}")


def _begin(
    study: Study, index: Index, stage: str, tally: Tally, *, sharing: bool
) -> tuple[list[str], dict[str, ProbelineError]]:
    """What needs no forward pass; then the models to run, fetched, and those without weights."""
    dataset = index.name
    seal_former_cells(index)
    missing = _missing(study, index)
    imported = [name for name in missing if study.models[name].weights == "imported"]
    for name in imported:
        from pipeline.embeddings.imported_cells import write_imported_cells

        write_imported_cells(study, index, name)
    to_run = [name for name in missing if name not in imported]
    if to_run and not study.datasets[dataset].has_images:
        raise ProbelineError(
            f"data set {dataset}",
            "has imported embeddings only, no images to run a model on",
            found=f"models that are not imported: {', '.join(to_run)}",
            remedy="import their embeddings too, or keep them in another study",
        )
    tally.computed = len(imported)
    if not to_run:
        return [], {}
    from pipeline.embeddings.reuse import reseal_models

    copied = reseal_models(study, index, to_run, sharing=sharing)
    for name, rows in copied.items():
        say(stage, f"{name}: all {rows:,} rows were held already, copied")
    to_run = [name for name in to_run if name not in copied]
    if not to_run:
        return [], {}
    from pipeline.models.fetching import fetch_models, together

    absent = fetch_models({name: study.models[name] for name in to_run})
    if absent and len(absent) == len(study.models):
        raise together(absent, "can't be fetched, and the study has no others")
    _warn(stage, absent)
    return [name for name in to_run if name not in absent], absent


def _is_in_other_hands(study: Study, index: Index, model: str) -> bool:
    """Whether other shards are at all that a model misses: its network is not even loaded."""
    splits = needed_splits(study, study.models[model], test_only="train" not in index.split_names)
    cells = [cell_address(index.name, model, split) for split in splits]
    begun = [cell for cell in cells if cell.partial.is_dir() or not cell.path.is_dir()]
    return bool(begun) and all(is_all_claimed(cell) for cell in begun)


def _clear_left_overs(study: Study, index: Index, absent: Mapping[str, ProbelineError]) -> None:
    """Of runs that were stopped in their last moment; the cells are whole."""
    test_only = "train" not in index.split_names
    for name, entry in study.models.items():
        for split in needed_splits(study, entry, test_only=test_only):
            if name not in absent:
                clear_beside(cell_address(index.name, name, split))


def _missing(study: Study, index: Index) -> list[str]:
    """Models without a current cell; what is damaged is set aside, so that sound chunks stay."""
    missing = []
    for name in study.models:
        status = cell_status(study, index, name, strictly=True)
        if status.state == "cached":
            continue
        missing.append(name)
        if status.state in ("stale", "damaged"):
            say(f"extract {index.name}", f"{name} is {status.state}, made again: {status.detail}")
        if status.state == "damaged":
            from pipeline.embeddings.mending import set_aside

            set_aside(study, index, name)
    return missing


def _warn(stage: str, absent: Mapping[str, ProbelineError]) -> None:
    """All that could not be fetched, together, before anything runs; the rest goes on."""
    if not absent:
        return
    click.echo(
        f"warning: {stage}: the weights of {len(absent)} "
        f"model{'s' * (len(absent) != 1)} can't be fetched; the others go on", err=True
    )  # fmt: skip
    for name, error in absent.items():
        click.echo(f"  {name}: {reason(error)}\n    to mend: {error.remedy}", err=True)
    click.echo("  then: `probeline models fetch`, and `dvc repro`", err=True)


def _say_copied(dataset: str, models: list[str]) -> None:
    """How many rows other cells held already, a line for each model that had some."""
    for name in models:
        copied, rows = copied_rows(dataset, name)
        if copied:
            words = f"{copied:,} of {rows:,} rows were held already, copied"
            say(f"extract {dataset}", f"{name}: {words}")


def _say_storage(index: Index, models: list[str]) -> None:
    """Which models' rows are stored in float32, though float16 was asked for, and why."""
    for name in models:
        reasons: dict[str, list[str]] = {}
        for split in index.split_names:
            manifest = Cell.open(cell_address(index.name, name, split)).manifest
            if manifest.generation:
                for remark in manifest.remarks:
                    reasons.setdefault(remark, []).append(split)
        for remark, splits in reasons.items():
            say(f"extract {index.name}", f"{name}, {' and '.join(splits)}: {remark}")


def _say_audits(dataset: str, models: list[str]) -> None:
    """What reduced precision changed, a line for each model; nothing for float32."""
    for name in models:
        if audit := recorded_audit(dataset, name):
            say(f"extract {dataset}", f"{name}: {describe_audit(audit)}")


if __name__ == "__main__":
    main()
