"""`probeline figures` and `probeline tables`: what the report shows, as files for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pipeline.study.params import load_study
from stages._run import explain_errors, folder_option

LEGIBLE = 6
"""Points of text."""


@click.command(short_help="Write the report's figures as files, for papers.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["pdf", "svg", "png"]),
    default="pdf",
    show_default=True,
    help="pdf and svg can be scaled; png has 300 dots an inch.",
)
@folder_option("--out", "figures")
@click.option("--only", multiple=True, metavar="NAME", help="This figure alone; may be repeated.")
@click.option(
    "--width", default="", metavar="84mm", help="So wide (mm, cm, in or pt), text of 8 pt."
)
@click.option("--latex", is_flag=True, help="Write a figure environment for each, too.")
@click.pass_obj
@explain_errors
def figures(
    started_in: Path,
    /,
    kind: Literal["pdf", "svg", "png"],
    folder: Path,
    only: tuple[str, ...],
    width: str,
    latex: bool,
) -> None:
    """Write every figure of the report as a file, from the results of the last `dvc repro`.

    Beside each lies its caption, NAME.caption.txt.
    """
    from pipeline.report.figure_files import (
        write_figures,  # Vega and altair take a second to import
    )
    from pipeline.report.inputs import load_inputs

    inputs = load_inputs(load_study())
    drawings = write_figures(inputs, started_in / folder, kind, only, width, latex=latex)
    for drawing in drawings:
        click.echo(drawing.path)
    small = [f"{d.path.name} ({d.text:.1f} pt)" for d in drawings if d.text < LEGIBLE]
    if small:
        click.echo(f"note: small text at this width: {', '.join(small)}", err=True)
    if not drawings:
        click.echo("the report has no figures: too few models, or data sets, have scores")


@click.command(short_help="Write scores and trust as LaTeX tables, for papers.")
@folder_option("--out", "tables")
@click.pass_obj
@explain_errors
def tables(started_in: Path, folder: Path) -> None:
    """Write LaTeX tables from the results of the last `dvc repro`; they need booktabs.

    scores_PROTOCOL.tex holds every model's scores with intervals, trust.tex how well each cheap
    evaluation orders the models.
    """
    from pipeline.report.inputs import load_inputs
    from pipeline.report.latex_tables import write_tables

    for path in write_tables(load_inputs(load_study()), started_in / folder):
        click.echo(path)
