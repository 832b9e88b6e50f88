"""`probeline status`: what is cached, missing or stale, and why; a screenful first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.project.paths import index_path
from pipeline.statistics.written import counted
from pipeline.study import protocol_list
from pipeline.study.params import load_study
from pipeline.study.schema import Study
from pipeline.study.target import check_target
from stages._run import explain_errors
from stages.table import print_table

if TYPE_CHECKING:
    from pipeline.planning.overview import DatasetOverview, Overview, ToDo

MOST_DATASETS = 30
"""Lines of the table, unless all are asked for."""

MOST_LINES = 20
"""Things to do that are named one by one, unless all are asked for."""

LOOK_SECONDS = 0.5
"""For a look at the images' files."""

EXAMPLES = 3
"""Named of each kind, where the things of one kind are only counted."""


@click.command(short_help="Say what is cached, missing or stale, and why.")
@click.option("--all", "whole", is_flag=True, help="Name every cell that is not up to date.")
@explain_errors
def status(whole: bool) -> None:
    """Say what is cached, what is missing and what is stale, and why.

    Of a large study, what is not up to date is counted by kind; --all names every cell.
    """
    from pipeline.planning import former_results
    from pipeline.planning.left_overs import describe, left_overs
    from pipeline.planning.overview import data_lines, study_overview

    study = load_study()
    check_target(study)
    overview = study_overview(study)
    models, cells = len(study.models), len(study.models) * len(study.datasets)
    cached = sum(d.cached for d in overview.datasets)
    click.echo(
        f"{counted(models, 'model')} on {counted(len(study.datasets), 'data set')}: "
        f"embeddings of {cached:,} of {counted(cells, 'cell')} are cached\n"
    )
    _print_datasets(overview, models, whole=whole)
    if stored := sum((d.stored for d in overview.datasets), Counter[str]()):
        kinds = [f"{counted(count, 'cell')} in {kind}" for kind, count in sorted(stored.items())]
        click.echo(f"stored: {'; '.join(kinds)}")
    for line in data_lines(study):
        click.echo(line)
    for protocol in protocol_list.PROTOCOLS:
        for line in protocol.not_run(study):
            click.echo(f"{protocol.label} not run: {line}")
    _print_images(study)
    if said := describe(left_overs()):
        click.echo(f"\n{said}")
    if said := former_results.describe(former_results.former_results()):
        click.echo(f"\n{said}")
    todo = [item for d in overview.datasets for item in d.todo]
    if todo:
        click.echo("\nnot up to date:")
        for line in map(str, todo) if whole or len(todo) <= MOST_LINES else _counted(todo):
            click.echo(f"  {line}")
        absent = set().union(*(d.without_weights for d in overview.datasets))
        first = f"`probeline models fetch` tries again to get {', '.join(sorted(absent))}; then "
        click.echo(f"\n{first if absent else ''}`dvc repro` computes these and nothing else.")
    else:
        click.echo(
            f"\nall {cells} cells are cached and scored; `dvc status` says whether tables and "
            "report are of them"
        )


def _print_datasets(overview: Overview, models: int, *, whole: bool) -> None:
    """The table; of many data sets, first those that lack something."""
    shown: Sequence[DatasetOverview] = overview.datasets
    if not whole and len(shown) > MOST_DATASETS:
        shown = sorted(shown, key=lambda d: not d.todo)[:MOST_DATASETS]
    header = ["data set", "embeddings", *overview.protocols]
    rows = [
        [
            d.name,
            f"{d.cached}/{models}",
            *(f"{n}/{of}" if (of := d.asked[p]) else "not run" for p, n in d.records.items()),
        ]
        for d in shown
    ]
    print_table(header, rows)
    if rest := len(overview.datasets) - len(shown):
        click.echo(f"… and {counted(rest, 'further data set')}: `probeline status --all`")


def _print_images(study: Study) -> None:
    """Data sets whose files are not as they were indexed, and what there was no time to look at."""
    from pipeline.datasets.watched_files import why_unwatched
    from pipeline.datasets.watching import look

    lines, late, elsewhere = [], [], []
    until = time.monotonic() + LOOK_SECONDS
    for name, dataset in study.datasets.items():
        if not index_path(name).exists():
            continue
        if time.monotonic() >= until:
            late.append(name)
        elif found := look(name, dataset, until):
            lines += [str(found)] if found.differs or not found.is_whole else []
        elif dataset.path is not None and why_unwatched(name, dataset):
            elsewhere.append(name)
    if late:
        lines.append(f"not looked at, for lack of time: {', '.join(late)}")
    if elsewhere:
        lines.append(f"not on this machine, not looked at: {', '.join(elsewhere)}")
    if lines:
        click.echo("\nimages:")
        for line in lines:
            click.echo(f"  {line}")


def _counted(todo: Sequence[ToDo]) -> list[str]:
    """A line for each kind: how many, and a few of them."""
    kinds: dict[str, list[ToDo]] = {}
    for item in todo:
        kinds.setdefault(item.kind, []).append(item)
    lines = []
    for kind, items in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        some = ", ".join(
            item.place + (f" ({item.why})" if item.why else "") for item in items[:EXAMPLES]
        )
        more = ", …" if len(items) > EXAMPLES else ""
        lines.append(f"{len(items):,} x {kind}: {some}{more}")
    return [*lines, "`probeline status --all` names each of them"]
