"""Stage study: params.yaml is checked whole, before any other stage acts on a name in it.

It also keeps the folders that other stages read, also where a study names no data set: a study of
imported scores alone has nothing to index and to extract, and DVC runs no stage whose dependency
does not exist. The indexes of data sets that have left the study are put aside. The sections of
params.yaml become files, by which DVC sees that they change.
"""

from __future__ import annotations

import click

from cache.files import write_durably
from cache.fingerprint import canonical_json
from pipeline.datasets.left_indexes import sort_indexes
from pipeline.project.paths import (
    CELLS,
    EMBEDDINGS,
    INDEX,
    PROVENANCE,
    SECTIONS,
    dataset_section_path,
    section_path,
)
from pipeline.study.params import load_study
from pipeline.study.schema import Study
from pipeline.study.target import check_target
from stages._run import explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Check the study, then keep each folder."""
    study = load_study()
    check_target(study)
    left = sort_indexes(study.datasets)
    for folder in (INDEX, EMBEDDINGS, CELLS, PROVENANCE):
        keep_folder(folder)
    write_sections(study)
    models, datasets = len(study.models), len(study.datasets)
    said = f"{models} model{'s' * (models != 1)}, {datasets} data set{'s' * (datasets != 1)}"
    say("study", said)
    if left:
        say("study", f"the index of {', '.join(left)} is kept aside, until a study names it again")


def write_sections(study: Study) -> None:
    """Write a file for each section: equal sections are equal files, however they are spelled.

    And one for each data set, of which there are many; those of others are removed.
    """
    sections = study.model_dump(mode="json")
    parts = {section_path(name): section for name, section in sections.items()}
    parts |= {dataset_section_path(name): of for name, of in sections["datasets"].items()}
    for path, part in parts.items():
        write_durably(path, f"{canonical_json(part)}\n".encode())
    for path in SECTIONS.rglob("*.json"):
        if path not in parts:
            path.unlink()


if __name__ == "__main__":
    main()
