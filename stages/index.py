"""Stage index: list, read and check a data set's images -> data/index/<data set>.parquet."""

from __future__ import annotations

import time
from collections import Counter

import click

from cache.files import write_durably
from pipeline.datasets.index import write_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.watching import remember, see
from pipeline.project.paths import name_path
from pipeline.study.params import load_study
from stages._run import explain_errors, say
from stages.of_dataset import named_dataset


@click.command(help=__doc__)
@click.argument("dataset", required=False)
@explain_errors
def main(dataset: str | None) -> None:
    """Index one data set of the study."""
    start = time.monotonic()
    study = load_study()
    dataset = named_dataset(study, "index", dataset)
    entry = study.datasets[dataset]
    seen = see(dataset, entry)
    index = build_index(dataset, entry)
    write_index(index)
    remember(index, entry, seen)
    write_durably(name_path(dataset), f"{dataset}\n".encode())
    counts = Counter(index.table["split"])
    for note in index.warnings:
        say(f"index {dataset}", f"warning: {note}")
    for note in index.notes:
        say(f"index {dataset}", note)
    say(
        f"index {dataset}",
        f"{counts['train']:,} train and {counts['val']:,} val images of {len(index.classes)} "
        f"classes, {time.monotonic() - start:.1f} s",
    )


if __name__ == "__main__":
    main()
