"""Stage collect: every record's scores as one table and one cube -> results/scores.csv, .nc."""

from __future__ import annotations

import time

import click

from cache.files import write_durably
from pipeline.cube import gather, to_cube, write_netcdf
from pipeline.params import load_study
from pipeline.paths import SCORES_CSV, SCORES_NC
from stages._run import explain_errors, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Collect the study's scores."""
    start = time.monotonic()
    study = load_study()
    scores, missing = gather(study)
    write_durably(SCORES_CSV, scores.to_csv(index=False).encode())
    write_netcdf(to_cube(study, scores), SCORES_NC)
    for cell in missing:
        say("collect", f"not scored: {cell.protocol} of {cell.model} on {cell.dataset}")
    say(
        "collect",
        f"{len(scores):,} scores, {len(missing)} cells missing, {time.monotonic() - start:.1f} s",
    )


if __name__ == "__main__":
    main()
