"""`probeline figures`: the report's figures as files for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pipeline.study.params import load_study
from stages._run import explain_errors


@click.command(short_help="Write the report's figures as files, for papers.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["pdf", "svg", "png"]),
    default="pdf",
    show_default=True,
    help="pdf and svg can be scaled; png has 300 dots an inch.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("figures"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--only", multiple=True, metavar="NAME", help="This figure alone; may be repeated.")
@click.pass_obj
@explain_errors
def figures(
    started_in: Path, kind: Literal["pdf", "svg", "png"], folder: Path, only: tuple[str, ...]
) -> None:
    """Write every figure of the report as a file, from the results of the last `dvc repro`."""
    from pipeline.report.figure_files import (
        write_figures,  # Vega and altair take a second to import
    )
    from pipeline.report.inputs import load_inputs

    paths = write_figures(load_inputs(load_study()), started_in / folder, kind, only)
    for path in paths:
        click.echo(path)
    if not paths:
        click.echo("the report has no figures: too few models, or data sets, have scores")
