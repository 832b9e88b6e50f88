"""Stage folders: what other stages read is there, even where a study names no data set.

A study of imported scores alone has nothing to index and to extract, and DVC runs no stage whose
dependency does not exist.
"""

from __future__ import annotations

import click

from pipeline.paths import EMBEDDINGS, INDEX, PROVENANCE
from stages._run import explain_errors, keep_folder


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Keep each folder."""
    for folder in (INDEX, EMBEDDINGS, PROVENANCE):
        keep_folder(folder)


if __name__ == "__main__":
    main()
