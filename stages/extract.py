"""Stage extract: run the models that miss a cell -> data/embeddings/<data set>/<model>.zarr."""

from __future__ import annotations

import click

from pipeline.cells import cell_status
from pipeline.index import read_index
from pipeline.params import load_study
from stages._run import Tally, explain_errors, say
from stages.index import require_dataset


@click.command(help=__doc__)
@click.argument("dataset")
@explain_errors
def main(dataset: str) -> None:
    """Extract what one data set misses."""
    tally = Tally(f"extract {dataset}")
    study = load_study()
    require_dataset(study, dataset)
    index = read_index(dataset)
    missing = []
    for name in study.models:
        status = cell_status(study, index, name)
        if status.state == "cached":
            continue
        missing.append(name)
        if status.state in ("stale", "damaged"):
            say(f"extract {dataset}", f"{name} is {status.state}, computed again: {status.detail}")
    if missing:
        # Only now: a stage that has nothing to do must not spend seconds on importing torch.
        from pipeline.extraction import extract_models

        tally.computed = len(extract_models(study, index, missing))
    tally.cached = len(study.models) - tally.computed
    tally.close()


if __name__ == "__main__":
    main()
