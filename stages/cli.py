"""The command line: look at a study, its data, its models and its cache.

The stages themselves run through ``dvc repro``, or one by one as ``python -m stages.NAME``;
a protocol as ``python -m stages.protocol NAME``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.project.paths import PARAMS, STUDIES
from pipeline.study.params import parse_study, upgrade_study
from stages._run import explain_errors
from stages.cache_commands import cache
from stages.datasets_commands import datasets
from stages.figures_commands import figures, tables
from stages.models_commands import models
from stages.plan_command import plan
from stages.power_command import power
from stages.scores_commands import scores
from stages.status_command import status
from stages.take_commands import predict, take


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="probeline")
@explain_errors
def main() -> None:
    """Evaluate pre-trained vision models on your images, from cached embeddings.

    The study is params.yaml; `dvc repro` runs it.
    """
    _enter_project()
    click.get_current_context().obj = _started_in


main.add_command(cache)
main.add_command(scores)
main.add_command(models)
main.add_command(datasets)
main.add_command(plan)
main.add_command(power)
main.add_command(status)
main.add_command(figures)
main.add_command(tables)
main.add_command(take)
main.add_command(predict)


@main.command(short_help="Give an old study the words of today, its comments kept.")
@click.argument("study", type=click.Path(path_type=Path), default=PARAMS)
@explain_errors
def upgrade(study: Path) -> None:
    """Give STUDY (default: params.yaml) the words of today; comments and layout stay."""
    if (_started_in / study).is_file():
        study = Path(os.path.relpath(_started_in / study))
    text, changes = upgrade_study(study)
    if changes:
        write_durably(study, text.encode())
    for line in changes:
        click.echo(f"{study}, {line}")
    click.echo(f"{study}: " + (f"{len(changes)} changed" if changes else "nothing to change"))


@main.command(short_help="Make STUDY the study that `dvc repro` runs.")
@click.argument("study", type=click.Path(path_type=Path))
@explain_errors
def use(study: Path) -> None:
    """Make STUDY (e.g. studies/pacs.yaml) the study that `dvc repro` runs."""
    if (_started_in / study).is_file():
        study = Path(os.path.relpath(_started_in / study))
    try:
        text = study.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProbelineError(
            str(study),
            "can't be read as a study",
            expected=f"one of {', '.join(map(str, sorted(STUDIES.glob('*.yaml'))))}",
            found=str(error),
            remedy="name one of these, or your own file",
        ) from None
    parse_study(text, study)
    replaced = _describe_current(text)
    write_durably(PARAMS, text.encode())
    click.echo(f"params.yaml is now {study}{replaced}; run `dvc repro`")


def _describe_current(new: str) -> str:
    """Say what `use` replaces; a study that lies nowhere else is kept."""
    if not PARAMS.exists():
        return ""
    old = PARAMS.read_text(encoding="utf-8", errors="replace")
    if old == new:
        return " (as before)"
    for path in sorted(STUDIES.glob("*.yaml")):
        if path.read_text(encoding="utf-8", errors="replace") == old:
            return f" (it was {path})"
    kept = PARAMS.with_suffix(".previous.yaml")
    number = 1
    while kept.exists() and kept.read_text(encoding="utf-8", errors="replace") not in (old, new):
        number += 1
        kept = PARAMS.with_suffix(f".previous{number}.yaml")
    write_durably(kept, old.encode())
    return f" (your former study is kept as {kept})"


_started_in = Path()
"""Where the user is; paths on the command line start there."""


def _enter_project() -> None:
    """Work in the nearest folder, from here upwards, that holds the pipeline."""
    global _started_in
    _started_in = Path.cwd()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "dvc.yaml").is_file():
            os.chdir(folder)
            return
    raise ProbelineError(
        str(Path.cwd()),
        "is not inside a Probeline project",
        expected="a folder with dvc.yaml and params.yaml, or one inside it",
        remedy="change into the project's folder",
    )


if __name__ == "__main__":
    sys.exit(main())
