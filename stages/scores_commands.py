"""`probeline scores …`: scores from elsewhere, beside those that the study computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.project.words import number_of
from pipeline.study.params import load_study
from stages._run import explain_errors
from stages.import_options import layout_of, layout_options
from stages.table import print_table


@click.group()
def scores() -> None:
    """Import, list, remove and export scores."""


@scores.command("import")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--as", "name", help="What to call them; without it, as the (first) file.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="File of models, one a line, that effective robustness is measured against.",
)
@layout_options
@click.pass_obj
@explain_errors
def import_(
    started_in: Path,
    /,
    files: tuple[Path, ...],
    name: str | None,
    baseline: Path | None,
    **said: Any,
) -> None:
    """Check FILES, CSV with a row for each score, and keep a copy in the folder `scores`.

    Columns: model, dataset, protocol, metric, value; if known also variant, seed, n_test, n_train,
    ci_low, ci_high, seconds, family, backbone, method, supervision, objective, parameters,
    dimension, role, cluster, shift, images, extraction_seconds, label (the variant in words). A
    results/scores.csv of another study is such a file. Other tables come in by --wide, --value,
    --column or a --profile. git tracks the copy, and `dvc repro` adds it to the study.
    """
    from pipeline.results.exporting import EXTRA
    from pipeline.results.foreign_scores import import_scores, stored_path
    from pipeline.statistics.foreign_remarks import remarks

    kept = stored_path(name or files[0].stem)
    replaces = " in place of the former" if kept.exists() else ""
    found = import_scores(
        [started_in / file for file in files],
        kept.stem,
        load_study(),
        layout_of(said, len(files) > 1),
        None if baseline is None else started_in / baseline,
    )
    table = found.scores
    click.echo(
        f"{number_of(len(table), 'score')} of {number_of(table['model'].nunique(), 'model')} on "
        f"{number_of(table['dataset'].nunique(), 'data set')}, kept as {kept}{replaces}"
    )
    if unused := [name for name in found.unused if name not in EXTRA]:
        click.echo(f"columns that mean nothing here: {', '.join(unused)}")
    for remark in (*found.notes, *remarks(table)):
        click.echo(f"note: {remark}")
    click.echo("`dvc repro` adds them to the results; `git add scores` keeps them")


@scores.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
@explain_errors
def export(started_in: Path, file: Path) -> None:
    """Write all scores to FILE, CSV that others can import, and check what they are of.

    A row is a score: with its interval, test and train images, what is known of model and data set,
    what the model was trained on, and the SHA-256 of its weights and of the test images (of their
    own, sorted, one a line).
    """
    from pipeline.results.exporting import export_scores
    from pipeline.statistics.written import counted

    table = export_scores(load_study(), started_in / file)
    models, datasets = (counted(table[of].nunique(), word) for of, word in
                        (("model", "model"), ("dataset", "data set")))  # fmt: skip
    click.echo(
        f"{counted(len(table), 'score')} of {models} on {datasets}: {file}; "
        "`probeline scores import` reads it"
    )


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
