"""Stage extract: run the models that miss a cell -> data/embeddings/<data set>/<model>.zarr."""

from __future__ import annotations

import click

from cache.errors import ProbelineError
from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import cell_status
from pipeline.embeddings.provenance import describe_audit, recorded_audit
from pipeline.study.params import load_study
from stages._run import Tally, explain_errors, say
from stages.of_dataset import named_dataset


@click.command(help=__doc__)
@click.argument("dataset", required=False)
@explain_errors
def main(dataset: str | None) -> None:
    """Extract what one data set misses."""
    study = load_study()
    dataset = named_dataset(study, "extract", dataset)
    tally = Tally(f"extract {dataset}")
    index = read_index(dataset)
    missing = []
    for name in study.models:
        status = cell_status(study, index, name, strictly=True)
        if status.state == "cached":
            continue
        missing.append(name)
        if status.state in ("stale", "damaged"):
            say(f"extract {dataset}", f"{name} is {status.state}, computed again: {status.detail}")
        if status.state == "damaged":
            from pipeline.embeddings.mending import set_aside

            set_aside(study, index, name)
    imported = [name for name in missing if study.models[name].weights == "imported"]
    for name in imported:
        from pipeline.embeddings.imported_cells import write_imported_cells

        write_imported_cells(study, index, name)
    to_run = [name for name in missing if name not in imported]
    if to_run and study.datasets[dataset].source == "imported":
        raise ProbelineError(
            f"data set {dataset}",
            "has imported embeddings only, no images to run a model on",
            found=f"models that are not imported: {', '.join(to_run)}",
            remedy="import their embeddings too, or keep them in another study",
        )
    tally.computed = len(imported)
    if to_run:
        # Only now: a stage that has nothing to do must not spend seconds on importing torch.
        from pipeline.embeddings.missing import extract_models

        computed = extract_models(study, index, to_run)
        tally.computed += len(computed)
        _say_audits(dataset, computed)
    tally.cached = len(study.models) - tally.computed
    tally.close()


def _say_audits(dataset: str, models: list[str]) -> None:
    """What reduced precision changed, a line for each model; nothing for float32."""
    for name in models:
        if audit := recorded_audit(dataset, name):
            say(f"extract {dataset}", f"{name}: {describe_audit(audit)}")


if __name__ == "__main__":
    main()
