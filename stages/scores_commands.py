"""`probeline scores …`: scores from elsewhere, beside those that the study computes."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.study.params import load_study
from stages._run import explain_errors
from stages.table import print_table


@click.group()
def scores() -> None:
    """Import, list and remove scores from elsewhere."""


@scores.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", help="What to call them; without it, as the file.")
@click.option("--percent", is_flag=True, help="Accuracies in FILE are percentages.")
@click.option("--without-intervals", is_flag=True, help="Leave out ci_low and ci_high.")
@click.pass_obj
@explain_errors
def import_(
    started_in: Path, file: Path, name: str | None, *, percent: bool, without_intervals: bool
) -> None:
    """Check FILE, a CSV with a row for each score, and keep a copy in the folder `scores`.

    Columns: model, dataset, protocol, metric, value; if known also variant, seed, n_test, n_train,
    ci_low, ci_high, seconds, family, backbone, method, supervision, kind, parameters, dimension,
    role, cluster, shift, images, extraction_seconds, label (the variant in words). A
    results/scores.csv of another study is such a file. git tracks the copy, and `dvc repro` adds it
    to the study.
    """
    from pipeline.results.foreign_scores import import_scores, stored_path
    from pipeline.statistics.foreign_remarks import remarks

    kept = stored_path(name or file.stem)
    replaces = " in place of the former" if kept.exists() else ""
    found = import_scores(
        started_in / file,
        kept.stem,
        load_study(),
        percent=percent,
        intervals=not without_intervals,
    )
    table = found.scores
    click.echo(
        f"{len(table):,} scores of {table['model'].nunique():,} models on "
        f"{table['dataset'].nunique():,} data sets, kept as {kept}{replaces}"
    )
    if found.unused:
        click.echo(f"columns that mean nothing here: {', '.join(found.unused)}")
    for remark in remarks(table):
        click.echo(f"note: {remark}")
    click.echo("`dvc repro` adds them to the results; `git add scores` keeps them")


@scores.command("dictionary")
@explain_errors
def dictionary() -> None:
    """Say what each column of the files in results/ means."""
    from pipeline.report.dictionary import data_dictionary

    click.echo(data_dictionary(), nl=False)


@scores.command("list")
@explain_errors
def list_() -> None:
    """List the imported scores."""
    from pipeline.results.foreign_file import read_foreign
    from pipeline.results.foreign_scores import stored_files

    rows = []
    for path in stored_files():
        table = read_foreign(path).scores
        counts = [f"{table[name].nunique():,}" for name in ("model", "dataset")]
        protocols = ", ".join(dict.fromkeys(table["protocol"]))
        rows.append([path.stem, f"{len(table):,}", *counts, protocols])
    print_table(["name", "scores", "models", "data sets", "protocols"], rows)


@scores.command()
@click.argument("name")
@explain_errors
def remove(name: str) -> None:
    """Delete the imported scores called NAME; git still has them if they were committed."""
    from pipeline.results.foreign_scores import remove_scores

    click.echo(f"{remove_scores(name)} deleted; `dvc repro` takes them out of the results")
