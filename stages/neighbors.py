"""Stage neighbors: the nearest train images of every image -> data/neighbors/<data set>/<model>."""

from __future__ import annotations

from functools import partial

import click

from pipeline.neighbors.neighbors import compute_neighbors
from pipeline.probes.knn_variants import left_out
from pipeline.project.paths import NEIGHBORS
from pipeline.study.params import load_study
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Search what the study misses."""
    tally = Tally("neighbors")
    study = load_study()
    keep_folder(NEIGHBORS)
    list(left_out(study))  # refuses what the votes could not use
    tally.cached, tally.computed = compute_neighbors(study, partial(say, "neighbors"))
    tally.close()


if __name__ == "__main__":
    main()
