"""Stage index: list, read and check a data set's images -> data/index/<data set>.parquet."""

from __future__ import annotations

import time
from collections import Counter

import click

from cache.errors import ProbelineError
from pipeline.datasets.index import build_index, write_index
from pipeline.params import load_study
from pipeline.study import Study
from stages._run import explain_errors, say


@click.command(help=__doc__)
@click.argument("dataset")
@explain_errors
def main(dataset: str) -> None:
    """Index one data set of the study."""
    start = time.monotonic()
    study = load_study()
    require_dataset(study, dataset)
    index = build_index(dataset, study.datasets[dataset])
    write_index(index)
    counts = Counter(index.table["split"])
    for remark in index.remarks:
        say(f"index {dataset}", f"warning: {remark}")
    say(
        f"index {dataset}",
        f"{counts['train']:,} train and {counts['val']:,} val images of {len(index.classes)} "
        f"classes, {time.monotonic() - start:.1f} s",
    )


def require_dataset(study: Study, dataset: str) -> None:
    """Refuse a data set that the study does not have.

    Raises
    ------
    ProbelineError
        Names those it has.
    """
    if dataset not in study.datasets:
        raise ProbelineError(
            f"data set {dataset}",
            "the study has no such data set",
            expected=f"one of {', '.join(study.datasets)}",
            found=dataset,
            remedy="add it to `datasets` in params.yaml",
        )


if __name__ == "__main__":
    main()
