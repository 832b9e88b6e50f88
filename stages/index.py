"""Stage index: list, read and check a data set's images -> data/index/<data set>.parquet."""

from __future__ import annotations

import time
from collections import Counter

import click

from cache.files import write_durably
from pipeline.datasets.former_cells import seal_former_cells
from pipeline.datasets.index import former_index, write_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.splits import KEPT
from pipeline.datasets.watching import remember, see
from pipeline.project.paths import SPLITS, name_path
from pipeline.study.params import load_study
from stages._run import explain_errors, say
from stages.of_dataset import named_dataset


@click.command(help=__doc__)
@click.argument("dataset", required=False)
@click.option("--resplit", is_flag=True, help="Split anew what an earlier version split.")
@explain_errors
def main(dataset: str | None, *, resplit: bool) -> None:
    """Index one data set of the study."""
    start = time.monotonic()
    study = load_study()
    dataset = named_dataset(study, "index", dataset)
    entry = study.datasets[dataset]
    former = former_index(dataset)
    seen = see(dataset, entry)
    index = build_index(dataset, entry, former, resplit=resplit)
    if former is not None and any(
        former.samples_digest(split) != index.samples_digest(split) for split in SPLITS
    ):
        seal_former_cells(former)  # what their rows were made of, nobody knows after this
    write_index(index)
    remember(index, entry, seen)
    write_durably(name_path(dataset), f"{dataset}\n".encode())
    counts = Counter(index.table["split"])
    for note in index.warnings:
        say(f"index {dataset}", f"warning: {note}")
    for note in index.notes:
        say(f"index {dataset}", note)
    if index.splitting.get("rule") == KEPT:
        say(
            f"index {dataset}",
            "images that the former index knows stay in its split; to split by the present rule: "
            f"python -m stages.index {dataset} --resplit",
        )
    say(
        f"index {dataset}",
        f"{counts['train']:,} train and {counts['val']:,} val images of {len(index.classes)} "
        f"classes, {time.monotonic() - start:.1f} s",
    )


if __name__ == "__main__":
    main()
