"""Stage study: params.yaml is checked whole, before any other stage acts on a name in it.

It also keeps the folders that other stages read, also where a study names no data set: a study of
imported scores alone has nothing to index and to extract, and DVC runs no stage whose dependency
does not exist. The indexes of data sets that have left the study are put aside.
"""

from __future__ import annotations

import click

from pipeline.datasets.left_indexes import sort_indexes
from pipeline.project.paths import EMBEDDINGS, INDEX, PROVENANCE
from pipeline.study.params import load_study
from pipeline.study.target import check_target
from stages._run import explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Check the study, then keep each folder."""
    study = load_study()
    check_target(study)
    left = sort_indexes(study.datasets)
    for folder in (INDEX, EMBEDDINGS, PROVENANCE):
        keep_folder(folder)
    models, datasets = len(study.models), len(study.datasets)
    said = f"{models} model{'s' * (models != 1)}, {datasets} data set{'s' * (datasets != 1)}"
    say("study", said)
    if left:
        say("study", f"the index of {', '.join(left)} is kept aside, until a study names it again")


if __name__ == "__main__":
    main()
