"""Stage neighbors: the nearest train images of every image -> data/neighbors/<data set>/<model>."""

from __future__ import annotations

from functools import partial

import click

from pipeline.machine.shards import until_done
from pipeline.neighbors.neighbors import compute_neighbors
from pipeline.probes.knn_variants import left_out
from pipeline.project.paths import NEIGHBORS
from pipeline.study.params import load_study
from stages._run import Tally, explain_errors, keep_folder, say
from stages.of_shards import as_shard, shard_option


@click.command(help=__doc__)
@shard_option("it searches the cells")
@explain_errors
def main(shard: str | None) -> None:
    """Search what the study misses."""
    with as_shard(shard):
        _search()


def _search() -> None:
    tally = Tally("neighbors")
    study = load_study()
    keep_folder(NEIGHBORS)
    list(left_out(study))  # refuses what the votes could not use
    tally.cached, tally.computed = until_done(
        partial(compute_neighbors, study, partial(say, "neighbors"))
    )
    tally.close()


if __name__ == "__main__":
    main()
