"""Stage similarity: how alike models place the same test images -> results/similarity.nc."""

from __future__ import annotations

import click

from pipeline.study.params import load_study
from stages._run import Tally, explain_errors


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Compare models on every data set where a cell is new."""
    from pipeline.probes.similarity_maps import update_maps

    tally = Tally("similarity")
    tally.cached, tally.computed = update_maps(load_study())
    tally.close()


if __name__ == "__main__":
    main()
