"""Stage study: params.yaml is checked whole, before any other stage acts on a name in it.

It also keeps the folders that other stages read, also where a study names no data set: a study of
imported scores alone has nothing to index and to extract, and DVC runs no stage whose dependency
does not exist.
"""

from __future__ import annotations

import click

from pipeline.project.paths import EMBEDDINGS, INDEX, PROVENANCE
from pipeline.study.params import load_study
from stages._run import explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Check the study, then keep each folder."""
    study = load_study()
    for folder in (INDEX, EMBEDDINGS, PROVENANCE):
        keep_folder(folder)
    say("study", f"{len(study.models)} models, {len(study.datasets)} data sets")


if __name__ == "__main__":
    main()
